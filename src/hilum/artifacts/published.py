"""published.json of a task: the figures of others that the report prints next to ours."""

from typing import ClassVar

from hilum.artifacts.base import Artifact, Figure, Part


class BaselineFigure(Part):
    """One published figure: `key`, a name in metrics.json; `class_name`: the class it is of, empty for all;
    `remark`: what a reader must know of it."""

    key: str
    split: str
    figure: Figure
    class_name: str = ""
    remark: str = ""


class Baseline(Artifact):
    """The published baseline of a task. `comparable`: False where this run's images are synthetic;
    `n_test`: images of the published test set; `own_figures`: False where the publication has no figure for this
    task, and `accuracy` is that of its three-class network with both abnormal classes taken as one."""

    STAGE: ClassVar[str] = "evaluate"

    weights_digest: str
    comparable: bool
    n_test: int
    own_figures: bool
    accuracy: Figure
    figures: list[BaselineFigure]

    def accuracy_on(self, split: str) -> BaselineFigure | None:
        """The published accuracy of this very task on a split.

        >>> row = BaselineFigure(key="accuracy", split="test", figure=Figure(value=0.835, k=521, n=624))
        >>> baseline = Baseline.model_construct(own_figures=True, figures=[row])
        >>> baseline.accuracy_on("test").figure.counts, baseline.accuracy_on("val")
        ('521/624', None)
        """
        if not self.own_figures:
            return None
        return next((row for row in self.figures if (row.key, row.split) == ("accuracy", split)), None)
