"""Settings of the leakage stage."""

from pydantic import Field

from hilum.config import ComponentConfig, Config
from hilum.training.config import Optimizer, PixelConfig, Schedule, TaskRecipe, Training


class LeakageConfig(Config):
    """The leakage: short trainings with patients apart, and with images drawn by image; see
    hilum.comparison.leakage. `task`: default the last of the recipe that the labels allow. `folds`: each image is
    held out once, so that is the number of trainings per way. No augmentation: what a network remembers of a
    patient should be seen."""

    task: str | None = None
    size: tuple[int, int] = (48, 48)
    model: ComponentConfig = ComponentConfig(
        name="resnet", options={"width": 16, "stages": [1, 1, 1], "embedding": 64}
    )
    folds: int = Field(default=2, ge=2)
    epochs: int = Field(default=4, ge=1)
    batch_size: int = Field(default=32, ge=1)
    lr: float = Field(default=2e-3, gt=0)
    seed: int = Field(default=0, ge=0)

    def recipe(self) -> "TaskRecipe":
        """The task recipe of the short trainings."""
        return TaskRecipe(
            pixels=PixelConfig(size=self.size),
            model=self.model,
            training=Training(
                epochs=self.epochs,
                batch_size=self.batch_size,
                optimizer=Optimizer(lr=self.lr, weight_decay=0.01),
                schedule=Schedule(name="warmup_cosine", warmup_steps=10),
                seed=self.seed,
            ),
        )
