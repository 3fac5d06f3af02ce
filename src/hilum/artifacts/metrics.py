"""metrics.json of a task: how good its model is, a block per split."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pydantic import ConfigDict, Field

from hilum.artifacts.base import Artifact, Figure, Part
from hilum.errors import RunError
from hilum.files import read_json, write_json

FIGURES = (
    "accuracy",
    "balanced_accuracy",
    "auroc",
    "average_precision",
    "sensitivity",
    "specificity",
    "precision",
    "npv",
    "f1",
    "mcc",
    "brier",
    "log_loss",
    "accuracy_at_half",
)
"""The figures of a block, in the order in which they are printed."""

HELD_OUT = ("test", "val")
"""The splits that a model was not trained on, the one to report first."""


class Threshold(Part):
    """An image is classified as `positive_class` when its probability is at least `value`."""

    model_config = ConfigDict(extra="forbid", serialize_by_alias=True)

    positive_class: str = Field(alias="class")
    value: float


class Subgroup(Part):
    """The figures of one subgroup of the images; `about`: where its limits lie."""

    name: str
    about: str
    n_cases: int
    n_patients: int
    accuracy: Figure
    auroc: Figure


class Gap(Part):
    """Accuracy of the best subgroup less that of the worst; `p`: of all subgroups being equally accurate; `p_holm`:
    corrected for the number of kinds."""

    value: float
    low: float | None = None
    high: float | None = None
    best: str
    worst: str
    p: float
    p_holm: float | None = None


class Subgroups(Part):
    """The subgroups of one kind (hilum.evaluation.subgroups)."""

    groups: list[Subgroup]
    gap: Gap


class AcquisitionGroup(Part):
    """Images chosen by what gives a label away without a look at the lungs (hilum.evaluation.shift)."""

    kind: str
    name: str
    accuracy: Figure
    auroc: Figure | None
    healthy: int
    abnormal: int
    patients: int


class WorstGroup(Figure):
    """The accuracy of the acquisition group where it is lowest."""

    kind: str
    name: str


class Shift(Part):
    """Figures by acquisition group; `note`: why groups are absent."""

    groups: list[AcquisitionGroup]
    worst_group: WorstGroup | None
    note: str = ""

    @property
    def matched(self) -> AcquisitionGroup | None:
        """The shortcut-matched pairs, where there are any.

        >>> group = AcquisitionGroup(kind="matched", name="shortcut-matched pairs", accuracy=Figure(value=0.9),
        ...     auroc=None, healthy=10, abnormal=10, patients=20)
        >>> Shift(groups=[group], worst_group=None).matched.accuracy.value
        0.9
        """
        return next((group for group in self.groups if group.kind == "matched"), None)


class SplitMetrics(Artifact):
    """The figures of one split, see hilum.evaluation.evaluate. A figure that the number of classes does not
    allow is None. `confusion`: rows true, columns predicted."""

    SCHEMA: ClassVar[int] = 2
    STAGE: ClassVar[str] = "evaluate"

    weights_digest: str
    classes: list[str]
    n_cases: int
    n_patients: int
    threshold: Threshold | None
    confusion: list[list[int]]
    replicates: int
    replicates_dropped: int
    seed: int
    accuracy: Figure
    balanced_accuracy: Figure
    auroc: Figure
    average_precision: Figure
    sensitivity: Figure
    specificity: Figure
    f1: Figure
    mcc: Figure
    brier: Figure
    log_loss: Figure
    precision: Figure | None = None
    npv: Figure | None = None
    accuracy_at_half: Figure | None = None
    per_class: dict[str, dict[str, Figure]] = Field(default_factory=dict)
    normal_vs_abnormal: dict[str, Figure] | None = None
    subgroups: dict[str, Subgroups] = Field(default_factory=dict)
    shift: Shift | None = None

    @property
    def figures(self) -> dict[str, Figure]:
        """The figures that exist, by name, in the order of FIGURES.

        >>> absent = dict.fromkeys(FIGURES)
        >>> list(SplitMetrics.model_construct(**{**absent, "auroc": Figure(value=0.98)}).figures)
        ['auroc']
        """
        return {name: figure for name in FIGURES if (figure := getattr(self, name)) is not None}

    def of_class(self, name: str, key: str) -> Figure | None:
        """A figure of one class: of two classes the split's own, of more that of the class against the rest.

        >>> block = SplitMetrics.model_construct(
        ...     classes=["normal", "bacteria", "virus"], per_class={"virus": {"auroc": Figure(value=0.9)}})
        >>> block.of_class("virus", "auroc").value, block.of_class("virus", "f1")
        (0.9, None)
        """
        if len(self.classes) == 2:
            return getattr(self, key)
        return self.per_class.get(name, {}).get(key)


@dataclass(frozen=True)
class Metrics:
    """metrics.json: a block per split that has cases; `metrics["test"]` is the block of a split."""

    splits: Mapping[str, SplitMetrics]

    def __getitem__(self, split: str) -> SplitMetrics:
        """The block of one split. RunError where there is none."""
        if split not in self.splits:
            raise RunError(
                f"there are no figures of split {split!r}", f"the splits are {', '.join(self.splits)}"
            )
        return self.splits[split]

    def __contains__(self, split: object) -> bool:
        return split in self.splits

    @property
    def reported(self) -> str:
        """The split that is reported first: test, else validation, else the first there is.

        >>> Metrics(dict.fromkeys(("train", "val", "test"), SplitMetrics.model_construct())).reported
        'test'
        """
        return next((name for name in HELD_OUT if name in self.splits), next(iter(self.splits)))

    def save(self, path: Path) -> None:
        """Writes {split: block}, all or nothing; what a block does not have is left out.

        >>> import tempfile
        >>> block = SplitMetrics.model_construct({"n_cases"}, n_cases=10)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Metrics({"test": block}).save(Path(folder) / "metrics.json")
        ...     read_json(Path(folder) / "metrics.json")
        {'test': {'n_cases': 10}}
        """
        blocks = {
            name: block.model_dump(mode="json", exclude_unset=True) for name, block in self.splits.items()
        }
        write_json(path, blocks)

    @classmethod
    def load(cls, path: Path, weights_digest: str | None = None) -> "Metrics":
        """Reads the file. RunError when it is missing, damaged, of another schema version, or made with other
        weights than `weights_digest`.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_json(Path(folder) / "metrics.json", {})
        ...     Metrics.load(Path(folder) / "metrics.json")
        Traceback (most recent call last):
        hilum.errors.RunError: ...metrics.json holds no splits; run: hilum evaluate RUN --force
        """
        values = read_json(path)
        if not isinstance(values, dict) or not values:
            raise RunError(f"{path} holds no splits", "run: hilum evaluate RUN --force")
        return cls({name: SplitMetrics.read(block, path, weights_digest) for name, block in values.items()})
