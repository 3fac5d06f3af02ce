"""Folders inside a run: what each stage leaves behind, by name. hilum.run has the run itself.

Reading something that is not there yet raises RunError. Nothing here imports torch, so that a report can be drawn
on a machine without it.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hilum.artifacts.anomaly import AnomalyFigures, DetectorCard
from hilum.artifacts.card import ModelCard
from hilum.artifacts.comparison import Comparison, MadeFrom
from hilum.artifacts.counterfactual import Counterfactual
from hilum.artifacts.explanations import Explanations
from hilum.artifacts.findings import FindingsMetrics
from hilum.artifacts.leakage import Leakage
from hilum.artifacts.metrics import Metrics
from hilum.artifacts.reliability import Reliability
from hilum.artifacts.robustness import CorruptionTraining, LabelEfficiency, Robustness, UnseenClass
from hilum.errors import ModelError, RunError
from hilum.files import (
    digest,
    read_arrays,
    read_json,
    read_table,
    write_arrays,
    write_json,
)

PREDICTION_NAMES = ("case_id", "patient", "split", "label", "target", "predicted")
"""Columns of predictions.csv that are names, also where a label is a number."""


class EmbeddingFolder:
    """What the embedding stage of a task has left behind; figures.json is written last."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.vectors_file = self.path / "vectors.npz"
        self.neighbors_file = self.path / "neighbors.csv"
        self.projection_file = self.path / "projection.csv"
        self.suspects_file = self.path / "suspects.csv"
        self.duplicates_file = self.path / "duplicates.csv"
        self.figures_file = self.path / "figures.json"

    def clear(self) -> None:
        """Deletes what is made from the vectors; figures.json first, since it says that all is there.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     folder = EmbeddingFolder(Path(place))
        ...     write_json(folder.figures_file, {})
        ...     folder.clear()
        ...     folder.figures_file.exists()
        False
        """
        made = (self.neighbors_file, self.projection_file, self.suspects_file, self.duplicates_file)
        for file in (self.figures_file, *made):
            file.unlink(missing_ok=True)

    def neighbors(self) -> pd.DataFrame:
        """case_id, rank, neighbor (train case, another patient), distance, same_class; k rows per case.

        >>> EmbeddingFolder(Path("gone")).neighbors()
        Traceback (most recent call last):
        hilum.errors.RunError: gone/neighbors.csv is missing; the stage that writes it has not run
        """
        return read_table(self.neighbors_file, case_id=str, neighbor=str)

    def projection(self) -> pd.DataFrame:
        """case_id, split and <map>_x, <map>_y for each map; one row per case."""
        return read_table(self.projection_file, case_id=str, split=str)

    def suspects(self) -> pd.DataFrame:
        """Train cases whose label looks wrong, the most suspicious first."""
        return read_table(self.suspects_file, suggested=str, **dict.fromkeys(PREDICTION_NAMES, str))

    def duplicates(self) -> pd.DataFrame:
        """The closest pairs of cases, with what the pixels say about them."""
        return read_table(self.duplicates_file, case_a=str, case_b=str)


class DetectorFolder:
    """One detector of the anomaly stage; result.npz is written last."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.name = self.path.name
        self.card_file = self.path / "detector.json"
        self.result_file = self.path / "result.npz"

    def card(self) -> DetectorCard:
        """detector.json: name, options, pixels, what it was fitted on, digest of its weights."""
        return DetectorCard.load(self.card_file)


class AnomalyFolder:
    """What the anomaly stage has left behind; figures.json is written last."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.scores_file = self.path / "scores.csv"
        self.examples_file = self.path / "examples.npz"
        self.figures_file = self.path / "figures.json"

    def detector(self, row: str) -> DetectorFolder:
        """The folder of one row of the leaderboard, whether or not it is there yet.

        >>> AnomalyFolder(Path("run/anomaly")).detector("patch_memory").card_file.as_posix()
        'run/anomaly/patch_memory/detector.json'
        """
        return DetectorFolder(self.path / row)

    def figures(self) -> AnomalyFigures:
        """figures.json: roles, detectors with their figures, shortcuts, matching; see docs/anomaly.md."""
        return AnomalyFigures.load(self.figures_file)

    def scores(self) -> pd.DataFrame:
        """case_id, patient, split, label, role, and for each detector its score and <detector>_p."""
        return read_table(self.scores_file, case_id=str, patient=str, split=str, label=str, role=str)

    def examples(self) -> dict[str, np.ndarray]:
        """The chosen images with their maps: arrays named <detector>/<what>; empty when there are none.

        >>> AnomalyFolder(Path("gone")).examples()
        {}
        """
        return read_arrays(self.examples_file) if self.examples_file.exists() else {}


class AttributionFolder:
    """Explanations of a task; figures.json is written last.

    parts.json holds the finished parts of a stage that was stopped, and of the last one for the next.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.maximal_file = self.path / "maximal.npz"
        self.synthesis_file = self.path / "synthesis.npz"
        self.parts_file = self.path / "parts.json"
        self.figures_file = self.path / "figures.json"

    def map_file(self, method: str, case_id: str) -> Path:
        """The raw map of one method for one case.

        >>> AttributionFolder(Path("attributions")).map_file("grad_cam", "case-1").as_posix()
        'attributions/grad_cam/case-1.npz'
        """
        return self.path / method / f"{case_id}.npz"

    def write_arrays(self, path: Path, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> None:
        """Arrays and, as JSON text, the facts that they belong to.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     folder = AttributionFolder(Path(place))
        ...     folder.write_arrays(folder.maximal_file, {"images": np.zeros(3)}, {"weights_digest": "abc"})
        ...     sorted(read_arrays(folder.maximal_file))
        ['facts', 'images']
        """
        write_arrays(path, {**arrays, "facts": np.array(json.dumps(facts))})

    def read_arrays(self, path: Path, weights_digest: str) -> dict[str, np.ndarray]:
        """The arrays that lie there. RunError when they are missing, damaged, or made with other weights.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     folder = AttributionFolder(Path(place))
        ...     folder.write_arrays(folder.maximal_file, {"images": np.zeros(3)}, {"weights_digest": "abc"})
        ...     folder.read_arrays(folder.maximal_file, "abc")["images"].tolist()
        [0.0, 0.0, 0.0]
        """
        arrays = read_arrays(path)
        try:
            facts = json.loads(str(arrays.pop("facts")))
        except (KeyError, ValueError) as error:
            raise RunError(f"{path} is damaged ({error})", "delete it and run the stage again") from None
        if facts.get("weights_digest") != weights_digest:
            raise RunError(
                f"{path} was made with other weights than the model has",
                f"run: hilum explain {self.path.parent.parent}",
            )
        return arrays

    def figures(self) -> Explanations:
        """figures.json: images, maps and their faithfulness, filters, ablation, probes."""
        return Explanations.load(self.figures_file)


class ComparisonFolder:
    """What `hilum compare` writes; compare.json is written last of the numbers.

    cells/<cell>/seed<seed>-fold<fold>/ holds one training each: history.csv, predictions.csv, figures.json.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.facts_file = self.path / "made_from.json"
        self.table_file = self.path / "compare.csv"
        self.figures_file = self.path / "compare.json"
        self.page_file = self.path / "index.html"

    def made_from(self) -> MadeFrom | None:
        """made_from.json; None in a new folder."""
        return MadeFrom.model_validate(read_json(self.facts_file)) if self.facts_file.exists() else None

    def write_made_from(self, facts: MadeFrom) -> None:
        """Writes made_from.json."""
        write_json(self.facts_file, facts.model_dump(mode="json"))

    def figures(self) -> Comparison:
        """compare.json: the cells with their figures and paired tests; see docs/compare.md."""
        return Comparison.load(self.figures_file)


class LeakageFolder:
    """What a split by image changes; figures.json is written last.

    <way>/seed<seed>-fold<fold>/ holds one training each, as in a comparison.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.figures_file = self.path / "figures.json"
        self.page_file = self.path / "index.html"

    def way(self, name: str) -> Path:
        """The folder of one way to split.

        >>> LeakageFolder(Path("leakage")).way("patient").as_posix()
        'leakage/patient'
        """
        return self.path / name

    def figures(self) -> Leakage:
        """figures.json: ways, differences, what was shared; see docs/compare.md."""
        return Leakage.load(self.figures_file)


class TaskFolder:
    """What one task of a run has left behind. Reading something that is not there yet raises RunError."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.name = self.path.name
        self.model_folder = self.path / "model"
        self.checkpoints = self.path / "checkpoints"
        self.last_checkpoint = self.checkpoints / "last.ckpt"
        self.card_file = self.model_folder / "model.json"
        self.guard_file = self.model_folder / "guard.npz"
        self.intake_file = self.model_folder / "intake.npz"
        self.history_file = self.path / "history.csv"
        self.metrics_file = self.path / "metrics.json"
        self.predictions_file = self.path / "predictions.csv"
        self.curves_file = self.path / "curves.json"
        self.baseline_file = self.path / "published.json"
        self.counterfactual_file = self.path / "counterfactual.json"
        self.counterfactual_predictions_file = self.path / "counterfactual.csv"
        self.robustness_file = self.path / "robustness.json"
        self.label_efficiency_file = self.path / "label_efficiency.json"
        self.unseen_class_file = self.path / "unseen_class.json"
        self.corruption_training_file = self.path / "corruption_training.json"
        self.findings_file = self.path / "findings.json"
        self.reliability_file = self.path / "reliability.json"
        self.embeddings = EmbeddingFolder(self.path / "embeddings")
        self.attributions = AttributionFolder(self.path / "attributions")

    def card(self) -> ModelCard:
        """model.json: task, classes, architecture, pixels, threshold, digest, training facts."""
        return ModelCard.load(self.card_file)

    def history(self) -> pd.DataFrame:
        """One row per epoch: epoch, train_loss, learning_rate, seconds, images_per_second, val_<metric>...

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     folder = TaskFolder(Path(place))
        ...     _ = folder.history_file.write_text("epoch,train_loss\\n1,0.7\\n2,0.5\\n")
        ...     folder.history()["train_loss"].tolist()
        [0.7, 0.5]
        """
        return read_table(self.history_file)

    def metrics(self) -> Metrics:
        """metrics.json: `metrics()["test"].auroc.value`. RunError when it was made with other weights than those
        that lie beside it now."""
        return Metrics.load(self.metrics_file, self.card().weights_digest)

    def predictions(self) -> pd.DataFrame:
        """A row per case: case_id, patient, split, label, target, predicted, logit_<class>, prob_<class>.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     folder = TaskFolder(Path(place))
        ...     _ = folder.predictions_file.write_text("case_id,split,prob_normal\\n007,test,0.9\\n")
        ...     folder.predictions().values.tolist()
        [['007', 'test', 0.9]]
        """
        return read_table(self.predictions_file, **dict.fromkeys(PREDICTION_NAMES, str))

    def findings(self) -> FindingsMetrics:
        """findings.json: figures of each finding. RunError when it was made with other weights than those that lie
        beside it now."""
        return FindingsMetrics.load(self.findings_file, self.card().weights_digest)

    def counterfactual(self) -> Counterfactual:
        """counterfactual.json. RunError when it was made with other weights than those that lie beside it now."""
        return Counterfactual.load(self.counterfactual_file, self.card().weights_digest)

    def robustness(self) -> Robustness:
        """robustness.json. RunError when it was made with other weights than those that lie beside it now."""
        return Robustness.load(self.robustness_file, self.card().weights_digest)

    def label_efficiency(self) -> LabelEfficiency:
        """label_efficiency.json: of networks of its own, so that it belongs to no weights."""
        return LabelEfficiency.load(self.label_efficiency_file)

    def unseen_class(self) -> UnseenClass:
        """unseen_class.json, of a network of its own."""
        return UnseenClass.load(self.unseen_class_file)

    def corruption_training(self) -> CorruptionTraining:
        """corruption_training.json, of networks of its own."""
        return CorruptionTraining.load(self.corruption_training_file)

    def reliability(self) -> Reliability:
        """reliability.json: calibration, operating points, conformal sets, selective prediction; docs/reliability.md.

        RunError when it was made with other weights than those that lie beside it now.
        """
        return Reliability.load(self.reliability_file, self.card().weights_digest)

    @property
    def weights_digest(self) -> str:
        """Names the trained weights; empty before training."""
        return self.card().weights_digest if self.card_file.exists() else ""

    def check_weights(self) -> None:
        """ModelError when weights.safetensors is not the file that model.json was written for."""
        weights = self.model_folder / "weights.safetensors"
        if weights.exists() and digest(weights.read_bytes()) != self.weights_digest:
            raise ModelError(
                f"{weights} is not the file that model.json was written for",
                f"restore both files together, or delete {self.model_folder} to train the model again",
            )

    def load_model(self) -> Any:
        """The trained model in eval mode (imports torch)."""
        from hilum.models import load_model

        return load_model(self.model_folder)
