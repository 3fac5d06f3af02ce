"""Settings of the robustness stage."""

from typing import Annotated

from pydantic import Field

from hilum.config import ComponentConfig, Config
from hilum.data.augment import Augment
from hilum.training.config import PixelConfig


class LabelsConfig(Config):
    """Accuracy against the number of labelled patients; see hilum.evaluation.missing_labels.

    `fractions` of the train patients whose labels are known; `seeds`: how often they are drawn and trained
    on. Every fraction gets `steps` of `batch_size` images. `pretrain_*`: SimSiam on all train images. `k`:
    neighbours.
    """

    fractions: tuple[Annotated[float, Field(gt=0, le=1)], ...] = (0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0)
    seeds: int = Field(default=3, ge=1)
    pixels: PixelConfig = PixelConfig(size=(48, 48))
    model: ComponentConfig = ComponentConfig(name="resnet", options={"width": 16, "embedding": 64})
    augment: Augment = Augment(rotate=7, translate=0.05, scale=0.1, contrast=0.2, brightness=0.1)
    steps: int = Field(default=300, ge=1)
    batch_size: int = Field(default=32, ge=2)
    lr: float = Field(default=2e-3, gt=0)
    pretrain_steps: int = Field(default=800, ge=1)
    pretrain_batch_size: int = Field(default=64, ge=2)
    pretrain_lr: float = Field(default=2e-3, gt=0)
    k: int = Field(default=20, ge=1)


class ClassesConfig(Config):
    """A label that the network never saw; see hilum.evaluation.missing_classes.

    `without`: the class; None: the last of the task. The network, its pixels and batches are those of
    `missing.labels`, its `steps` its own.
    """

    without: str | None = None
    steps: int = Field(default=900, ge=1)
    seed: int = Field(default=0, ge=0)


class CorruptedConfig(Config):
    """Training for corrupted images; see hilum.evaluation.missing_training.

    `share` of the images are corrupted in training. Network, pixels and batches are those of `missing.labels`.
    """

    share: float = Field(default=0.5, gt=0, le=1)
    steps: int = Field(default=900, ge=1)
    seeds: int = Field(default=3, ge=1)


class MissingConfig(Config):
    """What happens when pixels are missing; see hilum.evaluation.missing_pixels.

    `corruptions`: names of hilum.data.robustness; None: all. `images`: at most so many held-out images;
    None: all. `labels`, `classes`, `training`: what `hilum missing RUN --labels`, `--classes` and
    `--training` do; a study leaves them out.
    """

    corruptions: tuple[str, ...] | None = Field(default=None, min_length=1)
    severities: tuple[Annotated[int, Field(ge=1, le=5)], ...] = Field(default=(1, 2, 3, 4, 5), min_length=1)
    images: int | None = Field(default=None, ge=2)
    replicates: int = Field(default=1000, ge=0)
    seed: int = Field(default=0, ge=0)
    labels: LabelsConfig = LabelsConfig()
    classes: ClassesConfig = ClassesConfig()
    training: CorruptedConfig = CorruptedConfig()
