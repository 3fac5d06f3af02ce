"""Settings of the robustness stage and of its three further measurements."""

from typing import Annotated

from pydantic import Field

from hilum.config import ComponentConfig, Config
from hilum.training.config import PixelConfig

Severity = Annotated[int, Field(ge=1, le=5)]


class HeldOutConfig(Config):
    """Which held-out images measure. `images`: at most so many, each class in proportion; None: all.
    `replicates` of the bootstrap over patients, 0: no intervals; `seed` of the choice of images and of the
    corruptions."""

    images: int | None = Field(default=None, ge=2)
    replicates: int = Field(default=1000, ge=0)
    seed: int = Field(default=0, ge=0)


class RobustnessConfig(HeldOutConfig):
    """Held-out images with corruptions; see hilum.robustness.corruptions. `corruptions`: names of
    hilum.data.corruptions; None: all."""

    corruptions: tuple[str, ...] | None = Field(default=None, min_length=1)
    severities: tuple[Severity, ...] = Field(default=(1, 3, 5), min_length=1)
    images: int | None = Field(default=200, ge=2)


class SmallNetworkConfig(HeldOutConfig):
    """The small network that is trained several times; see hilum.robustness.small_network."""

    pixels: PixelConfig = PixelConfig(size=(48, 48))
    model: ComponentConfig = ComponentConfig(name="resnet", options={"width": 16, "embedding": 64})
    batch_size: int = Field(default=32, ge=2)


class LabelEfficiencyConfig(SmallNetworkConfig):
    """Accuracy by number of labelled patients; see hilum.robustness.label_efficiency.

    `fractions` of the train patients whose labels are known; `seeds`: how often they are drawn and trained
    on. Every fraction gets `steps` of `batch_size` images. `pretrain_*`: SimSiam on all train images.
    """

    fractions: tuple[Annotated[float, Field(gt=0, le=1)], ...] = (0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0)
    seeds: int = Field(default=3, ge=1)
    steps: int = Field(default=300, ge=1)
    pretrain_steps: int = Field(default=800, ge=1)
    pretrain_batch_size: int = Field(default=64, ge=2)


class UnseenClassConfig(SmallNetworkConfig):
    """A class that the network is not trained on; see hilum.robustness.unseen_class. `unseen`: the class;
    None: the last of the task."""

    unseen: str | None = None
    steps: int = Field(default=900, ge=1)


class CorruptionTrainingConfig(SmallNetworkConfig):
    """Training with corrupted images; see hilum.robustness.corruption_training. `share` of the images are
    corrupted in training; `corruptions` and `severities` of the held-out images, None: all."""

    corruptions: tuple[str, ...] | None = Field(default=None, min_length=1)
    severities: tuple[Severity, ...] = Field(default=(1, 2, 3, 4, 5), min_length=1)
    share: float = Field(default=0.5, gt=0, le=1)
    steps: int = Field(default=900, ge=1)
    seeds: int = Field(default=3, ge=1)
