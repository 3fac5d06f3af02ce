"""Puts trained models into the package: python -m hilum.serving.pack RUN --task multiclass [--out FOLDER]

A classifier is stored in float16 and measured again as it is stored, beside the network that was trained. Its
model.json becomes the full card: data with attribution, recipe, figures, limits. A guard on its layers goes along
in float16. With --ordered the card of the packed model gets the figures of a run with the split `ordered`. A detector
(--task anomaly --detector ROW) keeps float32: its scores are compared with those of held-out images.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from hilum.anomaly.leaderboard import ENSEMBLE
from hilum.anomaly.saved import load_detector, save_detector
from hilum.artifacts.anomaly import DetectorCard, FittedOn, Flagged, PackagedFigures, PackagedThreshold
from hilum.artifacts.audit import JointShortcut
from hilum.artifacts.card import (
    Attribution,
    Distillation,
    MadeWith,
    ModelCard,
    PackedFigures,
    PackedGuard,
    Rounding,
    TrainingData,
)
from hilum.artifacts.metrics import HELD_OUT
from hilum.data.cache import ImageCache
from hilum.errors import DataError, RunError
from hilum.evaluation.config import ReliabilityConfig
from hilum.files import digest, replacing, write_arrays
from hilum.folders import TaskFolder
from hilum.inference.calibrate import softmax
from hilum.inference.forward import logits_of, vectors_of
from hilum.inference.guard import FILE, FeatureGuard
from hilum.inference.guard_fit import GuardImages, held_out_vectors
from hilum.inference.intake import copy_intake
from hilum.inference.rules import predicted_classes
from hilum.models import ChestModel, build, golden_images, load_model, save_model
from hilum.report.results import chosen_on_val
from hilum.run import Run
from hilum.serving.known_limits import DETECTOR_LIMITS, KERMANY, LIMITS
from hilum.serving.pack_ordered import add_ordered, in_the_other_look, trained
from hilum.serving.predictor import WEIGHTS
from hilum.serving.two_steps import two_steps
from hilum.training.distill import abnormal_together

KNOWN_RATE = 0.03
"""The share of ordinary held-out images that the packed detector may flag as out of distribution."""


def pack_task(run: Run, task: str, out: Path) -> ModelCard:
    """Writes the model of one task into `out`, in float16 with its full card and its guard; gives the card back.

    The figures in the card are those of the held-out split in metrics.json. `half_precision` and `int8_weights`
    compare them with the predictions of rounded weights, `distillation` with those of the teachers' mean, if there
    were any; `guard` compares what the guard flags before and after rounding. RunError when the task has not been
    evaluated with the weights at hand; ModelError for a teacher that is gone.

    >>> from hilum.artifacts.run import RunFacts
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     pack_task(Run.create(place, RunFacts(), {"tasks": {}}), "binary", Path("out"))
    Traceback (most recent call last):
    hilum.errors.RunError: ... has no trained task 'binary'; name another run or --task
    """
    folder = trained(run, task)
    card, facts = folder.card(), run.facts()
    split, figures = _held_out_figures(folder)
    model = folder.load_model()
    half = rounded(model, lambda tensor: tensor.half().float())
    images = _Images.of(run, task, split, model)
    guard = _halved_guard(run, task, half)
    recipe = run.recipe()["tasks"][task]
    known = card.model_copy(
        update={
            "data": _with_attribution(card.data, run),
            "recipe_in_full": _without_places(recipe, card),
            "command": f"hilum train DATA --preset {facts.preset} --task {task}, with recipe_in_full",
            "made_with": MadeWith(
                hilum=facts.hilum, commit=facts.commit, versions=facts.versions, finished=facts.finished
            ),
            "figures": PackedFigures(
                split=split, chose=chosen_on_val(card) if split == "val" else [], **figures
            ),
            "shortcuts": _shortcuts(run, task),
            "two_steps": two_steps(run, task, split) if len(model.classes) > 2 else None,
            "half_precision": images.compared(images.logits(half, "float16")),
            "int8_weights": images.compared(images.logits(rounded(model, to_int8), "int8")),
            "counterfactual": in_the_other_look(folder),
            "guard": _guard_entry(folder, guard, images, half),
            "distillation": _distilled(recipe, images),
            "known_failures": LIMITS,
        }
    )
    half.pretrained = card.pretrained
    save_model(half, out, card.architecture, known)
    packed = _store_half(out)
    copy_intake(folder.model_folder, out)
    if guard is not None:
        guard.save(out / FILE, packed.weights_digest)
    return packed


def _halved_guard(run: Run, task: str, half: ChestModel) -> FeatureGuard | None:
    """The task's guard in float16, with the distances of validation images in the layers of the rounded network;
    None where the task has none. ModelError for one of other weights."""
    folder = run.task(task)
    if not folder.guard_file.exists():
        return None
    guard = FeatureGuard.load(folder.guard_file, folder.card().weights_digest)
    predictions, cases = folder.predictions(), run.cases()
    val = predictions.loc[predictions["split"] == "val", "case_id"].tolist()
    used = cases.where(cases.table["case_id"].isin(predictions["case_id"]))
    wanted = ReliabilityConfig.model_validate(run.recipe().get("reliability") or {}).guard_other_look
    images = GuardImages.of(used, predictions, val, half.pixels, wanted)
    return guard.halved(held_out_vectors(half, guard.layers, images))


def _guard_entry(
    folder: TaskFolder, guard: FeatureGuard | None, images: "_Images", half: ChestModel
) -> PackedGuard | None:
    """How many held-out images are flagged before and after rounding, and how far a p-value moves."""
    if guard is None:
        return None
    trained = FeatureGuard.load(folder.guard_file, folder.card().weights_digest)
    before = trained.p_values(images.vectors(images.model, guard.layers))
    after = guard.p_values(images.vectors(half, guard.layers))
    return PackedGuard(
        rate=guard.rate,
        validation_images=len(guard.known),
        images=len(images.rows),
        flagged=int((after <= guard.rate).sum()),
        flagged_in_float32=int((before <= guard.rate).sum()),
        largest_difference_of_a_p_value=float(np.abs(after - before).max()),
    )


def _held_out_figures(folder: TaskFolder) -> tuple[str, dict[str, Any]]:
    """test or else val, and what its block of metrics.json holds. RunError where there is neither, or of other
    weights."""
    metrics = folder.metrics()
    split = next((name for name in HELD_OUT if name in metrics), None)
    if split is None:
        raise RunError(f"{folder.metrics_file} has figures of neither val nor test", "hilum evaluate RUN")
    return split, metrics[split].set_fields()


def rounded(model: ChestModel, round_: Callable[[Tensor], Tensor]) -> ChestModel:
    """A copy whose weights went through a smaller format and back; it computes in float32."""
    assert model.card is not None  # it was loaded
    architecture = model.card.architecture
    copy = build(architecture.name, model.classes, model.pixels, architecture.options)
    copy.load_state_dict(
        {
            name: round_(tensor) if tensor.is_floating_point() else tensor
            for name, tensor in model.state_dict().items()
        }
    )
    copy.card = model.card
    return copy.eval().requires_grad_(False)


def to_int8(tensor: Tensor) -> Tensor:
    """Weights of layers rounded to 255 even steps per output channel (symmetric, Jacob et al., CVPR 2018);
    biases and normalisation, a thousandth of all numbers, stay.

    >>> to_int8(torch.tensor([[1.27, 0.004, -0.5]])).round(decimals=4).tolist()
    [[1.27, 0.0, -0.5]]
    """
    if tensor.ndim < 2:
        return tensor
    step = tensor.abs().amax(dim=tuple(range(1, tensor.ndim)), keepdim=True).clamp(min=1e-12) / 127
    return (tensor / step).round() * step


def _store_half(folder: Path) -> ModelCard:
    """weights.safetensors in half the bytes, and its new digest in model.json."""
    path = folder / "weights.safetensors"
    tensors = load_tensors(path.read_bytes())
    data = save_tensors(
        {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    )
    with replacing(path) as temporary:
        temporary.write_bytes(data)
    card, mark = ModelCard.load(folder / "model.json"), {"weights_digest": digest(data)}
    # Calibration and quantiles were measured before rounding; half_precision says what that costs.
    fitted = {"calibration": card.calibration, "conformal": card.conformal}
    moved = {name: entry.model_copy(update=mark) for name, entry in fitted.items() if entry}
    card = card.model_copy(update={**mark, **moved})
    card.save(folder / "model.json")
    return card


def _attribution(run: Run) -> Attribution:
    source = run.facts().data.source
    return KERMANY if source in ("kaggle", "medmnist") else Attribution(title=f"data of the kind {source!r}")


def _with_attribution(data: TrainingData | None, run: Run) -> TrainingData:
    known = data or TrainingData(source=run.facts().data.source)
    return known.model_copy(update={"attribution": _attribution(run)})


def _shortcuts(run: Run, task: str) -> JointShortcut | None:
    """How well simple numbers of file and image alone predict the label: a figure to read the others by."""
    audit = run.audit()
    return audit.joint.get(task) if audit else None


@dataclass(frozen=True)
class _Images:
    """The held-out images of one split, as the network sees them, with its predictions in float32."""

    rows: pd.DataFrame
    cache: ImageCache
    task: str
    model: ChestModel

    @classmethod
    def of(cls, run: Run, task: str, split: str, model: ChestModel) -> "_Images":
        table = run.task(task).predictions()
        rows = table[table["split"] == split].reset_index(drop=True)
        cases = run.cases()
        used = cases.where(cases.table["case_id"].isin(rows["case_id"]))
        return cls(rows, ImageCache.of(used, model.pixels), task, model)

    def logits(self, model: ChestModel, words: str) -> np.ndarray:
        """ "images classes" of another network."""
        places = self.cache.rows(self.rows["case_id"].tolist())
        return logits_of(model, self.cache.images, places, f"{self.task}: {words}")

    def vectors(self, model: ChestModel, layers: Sequence[str]) -> dict[str, np.ndarray]:
        """The layers of another network, "images dim" each."""
        places = self.cache.rows(self.rows["case_id"].tolist())
        return vectors_of(model, self.cache.images, layers, places, f"{self.task}: guard")[1]

    def compared(self, logits: np.ndarray) -> Rounding:
        """How many images get the same class, and how many the correct one, before and after."""
        threshold = self.model.card.threshold_value if self.model.card else None
        predicted = predicted_classes(softmax(logits), self.model.classes, threshold)
        before = self.rows[[f"logit_{name}" for name in self.model.classes]].to_numpy(float)
        return Rounding(
            images=len(self.rows),
            same_prediction=int((predicted == self.rows["predicted"]).sum()),
            correct=int((predicted == self.rows["target"]).sum()),
            correct_in_float32=int((self.rows["predicted"] == self.rows["target"]).sum()),
            largest_difference_of_a_logit=float(np.abs(logits - before).max()),
        )


def _distilled(recipe: dict[str, Any], images: _Images) -> Distillation | None:
    """Predictions of the mean of the teachers' logits on the same images, by the student's threshold."""
    config = recipe["training"].get("distill")
    if not config:
        return None
    teachers = [load_model(place) for place in config["teachers"]]
    each = [images.logits(teacher, f"teacher {i + 1}") for i, teacher in enumerate(teachers)]
    if len(images.model.classes) == 2:
        each = [
            logits if logits.shape[1] == 2 else abnormal_together(torch.from_numpy(logits)).numpy()
            for logits in each
        ]
    together = images.compared(np.mean(each, axis=0))
    return Distillation(
        teachers=[teacher.weights_digest for teacher in teachers],
        images=together.images,
        correct_by_teachers_together=together.correct,
        correct_by_each_teacher=[images.compared(logits).correct for logits in each],
        correct=together.correct_in_float32,
    )


def _without_places(recipe: dict[str, Any], card: ModelCard) -> dict[str, Any]:
    """Teachers by the digest of their weights, not by the folder they came from."""
    config = recipe["training"].get("distill")
    if not config or card.training is None:
        return recipe
    named = {**config, "teachers": card.training.teachers}
    return {**recipe, "training": {**recipe["training"], "distill": named}}


def pack_detector(run: Run, row: str, out: Path) -> DetectorCard:
    """Writes one detector of the leaderboard into `out`, with the sorted scores of all held-out images.

    On the leaderboard a detector tells healthy lungs from others, and pneumonia should be flagged. The packed
    detector tells images of this set, healthy or not, from other images: its p-value is taken among the images of
    all labels that took no part in fitting, and `KNOWN_RATE` of those are flagged. RunError for a row that is not
    there; DataError for too few held-out images.
    """
    figures = run.anomaly.figures()
    if row not in figures.detectors or row == ENSEMBLE:
        raise RunError(f"{run.anomaly.path} has no detector {row!r}", "see: hilum anomaly RUN")
    folder = run.anomaly.detector(row)
    detector = load_detector(folder.path)
    scores = run.anomaly.scores()
    held_out = scores[scores["role"].isin(["calibrate", "measure"])]
    known = np.sort(held_out[row].to_numpy(float))
    if len(known) < 1 / KNOWN_RATE:
        raise DataError(f"{len(known)} held-out images are too few for a rate of {KNOWN_RATE}", "use more")
    limit = float(known[int(np.ceil((len(known) + 1) * (1 - KNOWN_RATE))) - 1])
    card = folder.card()
    packed = save_detector(
        detector,
        out,
        fit_seconds=card.fit_seconds,
        seed=card.seed,
        images=card.images,
        patients=card.patients,
        data=FittedOn(attribution=_attribution(run), patients=card.patients or 0, images=card.images or 0),
        recipe_in_full=run.recipe()["anomaly"],
        command=f"hilum anomaly RUN --detector {row}, with recipe_in_full",
        threshold=PackagedThreshold(value=limit, rate=KNOWN_RATE, images=len(known)),
        figures=PackagedFigures(
            flagged_ood_images=_flagged_ood(folder.result_file, limit),
            flagged_held_out_images={
                str(label): _flagged(some[row].to_numpy(), limit) for label, some in held_out.groupby("label")
            },
            healthy_vs_abnormal=figures.detectors[row].parts["measure"],
        ),
        known_failures=DETECTOR_LIMITS,
        intended_use=LIMITS[-1],
    )
    images = golden_images(detector.pixels)
    golden = detector.score(torch.from_numpy(detector.pixels.normalize(images))[:, None]).score.numpy()
    write_arrays(out / "golden.npz", {"images": images, "scores": golden, "known": known.astype(np.float32)})
    return packed


def _flagged(scores: np.ndarray, limit: float) -> Flagged:
    return Flagged(k=int((scores > limit).sum()), n=len(scores))


def _flagged_ood(result_file: Path, limit: float) -> dict[str, Flagged]:
    """How many OOD images of each kind are flagged; the anomaly stage keeps their scores beside the detector."""
    with np.load(result_file, allow_pickle=False) as result:
        kinds = [name for name in result.files if name.startswith("ood/")]
        return {name.removeprefix("ood/"): _flagged(result[name], limit) for name in kinds}


def main() -> None:
    """The command: packs what the command line names, and prints the folder and its size in MB."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--task", default="multiclass", choices=("binary", "multiclass", "anomaly"))
    parser.add_argument("--detector", default="variational_autoencoder", help="row of the leaderboard")
    parser.add_argument("--out", type=Path, help="default: the package's own folder of that task")
    parser.add_argument(
        "--ordered",
        action="store_true",
        help="RUN has the split `ordered`: add its figures to the packed card",
    )
    options = parser.parse_args()
    out = options.out or WEIGHTS / options.task
    run = Run(options.run)
    if options.task == "anomaly":
        pack_detector(run, options.detector, out)
    elif options.ordered:
        add_ordered(run, options.task, out)
    else:
        pack_task(run, options.task, out)
    size = sum(file.stat().st_size for file in out.iterdir())
    print(f"{out}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
