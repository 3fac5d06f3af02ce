"""Leakage: short trainings with patients apart, and with images split without regard to patients."""

from pydantic import Field

from hilum.config import ComponentConfig
from hilum.config import Config as Base
from hilum.errors import DataError
from hilum.stages.contract import Context, Stage
from hilum.training.config import Optimizer, PixelConfig, Schedule, TaskRecipe, Training


class Config(Base):
    """One short training per way and half of the patients, of the last task; see hilum.comparison.leakage. No
    augmentation: what a network remembers of a patient should be seen."""

    size: tuple[int, int] = (48, 48)
    model: ComponentConfig = ComponentConfig(
        name="resnet", options={"width": 16, "stages": [1, 1, 1], "embedding": 64}
    )
    epochs: int = Field(default=4, ge=1)
    batch_size: int = Field(default=32, ge=1)
    lr: float = Field(default=2e-3, gt=0)

    def recipe(self) -> TaskRecipe:
        """The task recipe of the short trainings.

        >>> Config(epochs=2).recipe().training.epochs
        2
        """
        return TaskRecipe(
            pixels=PixelConfig(size=self.size),
            model=self.model,
            training=Training(
                epochs=self.epochs,
                batch_size=self.batch_size,
                optimizer=Optimizer(lr=self.lr, weight_decay=0.01),
                schedule=Schedule(name="warmup_cosine", warmup_steps=10),
            ),
        )


def run(context: Context, config: Config) -> None:
    """Writes leakage/figures.json of the run. DataError when no patient has two images."""
    from hilum.comparison.leakage import measure_leakage

    if not context.class_tasks:
        raise DataError("leakage is measured for a task of one class per image, and there is none")
    task = context.class_tasks[-1]
    measure_leakage(
        context.run.leakage, context.cases, task, config.recipe(), replicates=context.recipe.replicates
    )


STAGE = Stage(
    name="leakage",
    about="What a split by image instead of by patient changes.",
    config=Config,
    run=run,
    needs=("prepare",),
    per_task=False,
    artifacts=("leakage/figures.json",),
    version=3,
)
