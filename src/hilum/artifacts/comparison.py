"""What `hilum compare` leaves behind: compare.json, and figures.json of each training."""

from typing import Any, ClassVar

from pydantic import Field

from hilum.artifacts.base import Artifact, Figure, Part
from hilum.artifacts.card import BestMetric
from hilum.artifacts.metrics import Shift


class MadeFrom(Part):
    """made_from.json: a digest of all cases, and the grid as it was given."""

    data_digest: str
    grid: dict[str, Any]


# -- one training --------------------------------------------------------------------------------------------


class Scores(Part):
    """Figures of `n` images, with intervals over patients: of this one network, whatever another seed gives."""

    n: int
    accuracy: Figure
    balanced_accuracy: Figure
    auroc: Figure
    average_precision: Figure
    brier: Figure
    log_loss: Figure


class TrainingResult(Artifact):
    """figures.json of a training; written last. `digest` names recipe, data and split; `held` and `test`: of
    the held-out fold, and of the declared test images where there are any; `counterfactual_auroc`: on held-out
    images in the look of the other label's devices, where the grid wants it."""

    SCHEMA: ClassVar[int] = 2
    STAGE: ClassVar[str] = "compare"
    REMEDY: ClassVar[str] = "delete it and give the same hilum compare command again"

    digest: str
    parameters: int
    seconds: float
    epochs: int
    best_epoch: int
    val: BestMetric
    device: str
    held: Scores
    test: Scores | None = None
    counterfactual_auroc: Figure | None = None


# -- paired tests --------------------------------------------------------------------------------------------


class AccuracyTest(Part):
    """The exact permutation test by patient. `only_first`, `only_second`: images that one alone classified
    correctly; `p_holm`: corrected for the number of comparisons, None where none was corrected for."""

    only_first: int
    only_second: int
    p: float
    p_holm: float | None = None


class AurocTest(Part):
    """DeLong's test, clustered by patient (Obuchowski 1997); `z` is None where it is infinite."""

    z: float | None
    p: float
    p_holm: float | None = None


class PairedDifference(Part):
    """First minus second on the same images, with intervals over patients, and the tests of both figures."""

    accuracy: Figure
    auroc: Figure
    accuracy_test: AccuracyTest
    auroc_test: AurocTest


# -- compare.json --------------------------------------------------------------------------------------------


class Spread(Part):
    """Over the trainings of a cell; `sd`: sample standard deviation, None for one training."""

    mean: float | None
    sd: float | None
    min: float | None
    max: float | None


class Pooled(Part):
    """One prediction per held-out image, the mean of the probabilities over the seeds."""

    n_cases: int
    n_patients: int
    accuracy: Figure
    auroc: Figure


class CellResult(Part):
    """What the finished trainings of a cell gave. `spread` and `test`: over the trainings, held-out and declared
    test images; `counterfactual`: AUROC over the trainings, see TrainingResult; `pooled` and `acquisition`:
    where all trainings are finished; `paired`: the cell minus
    `Comparison.against`."""

    trainings: int
    parameters: int
    epochs: float
    seconds: float
    spread: dict[str, Spread]
    test: dict[str, Spread] | None = None
    counterfactual: Spread | None = None
    pooled: Pooled | None = None
    acquisition: Shift | None = None
    paired: PairedDifference | None = None


class CellRow(Part):
    """One recipe. `changes`: from the base recipe, by key; `recipe`: all of its settings; `expected`: how many
    trainings it needs; `error`: why one failed; `result`: None before the first is finished."""

    name: str
    changes: dict[str, Any]
    recipe: dict[str, Any]
    expected: int
    error: str | None = None
    result: CellResult | None = None


class ComparedData(Part):
    """The radiographs: `given` on the command line, the reader, and a digest of all cases."""

    given: str
    source: str
    digest: str
    n_cases: int


class Folds(Part):
    """`held_out`: those of the folds `of` that were trained; `scheme`: patient, acquisition or ordered."""

    of: int
    held_out: list[int]
    scheme: str


class Comparison(Artifact):
    """compare.json: the recipes in the order of the grid. `against`: the cell that the others are compared with,
    None while it is not complete."""

    SCHEMA: ClassVar[int] = 2
    STAGE: ClassVar[str] = "compare"
    REMEDY: ClassVar[str] = "delete it and give the same hilum compare command again"

    name: str
    about: str
    grid_file: str
    task: str
    classes: list[str]
    data: ComparedData
    folds: Folds
    seeds: list[int]
    replicates: int
    against: str | None
    cells: list[CellRow] = Field(default_factory=list)

    @property
    def complete(self) -> list[CellRow]:
        """The cells with all their trainings.

        >>> cell = CellRow(name="vgg", changes={}, recipe={}, expected=3)
        >>> Comparison.model_construct(cells=[cell]).complete
        []
        """
        return [cell for cell in self.cells if cell.result is not None and cell.result.pooled is not None]
