"""Settings that parts of the explanation stage take; the stage's own are in hilum.stages.explain."""

from typing import Literal

from pydantic import Field

from hilum.config import Config

TaskName = Literal["binary", "multiclass", "findings"]


class OcclusionConfig(Config):
    """A square mask slides over the image. `mask`: its side in pixels; None: the side that covers the same
    share of the image as 90 px of 200 x 224 do. `fill`: what lies under it: black, the image's mean, a blurred
    copy of the image, or noise of the image's mean and spread. `tasks`: those whose images are covered position by
    position; None: all."""

    mask: int | None = Field(default=None, ge=1)
    stride: int = Field(default=1, ge=1)
    fill: Literal["zero", "mean", "blur", "noise"] = "zero"
    precision: Literal["fp32", "bf16"] = "fp32"
    tasks: tuple[TaskName, ...] | None = None


class SynthesisConfig(Config):
    """Images that drive a filter. `filters`: how many of the layer. `steps` and `lr`: of the plain ascent
    from an image. `clean_steps`: of the careful ascent, which has a step length of its own; 0 leaves it out. `tasks`:
    those whose network is asked; None: all. `precision`: of the network; the pixels stay fp32."""

    filters: int = Field(default=64, ge=0)
    steps: int = Field(default=1000, ge=1)
    lr: float = Field(default=10_000.0, gt=0)
    clean_steps: int = Field(default=256, ge=0)
    tasks: tuple[TaskName, ...] | None = None
    precision: Literal["fp32", "bf16"] = "fp32"


class LayersConfig(Config):
    """What filters and layers are worth, and on how many images that is measured; 0 leaves it out. `ablation`:
    filters of the layer set to their mean. `probes`: a linear probe per layer. `concepts`: named concepts, on
    phantom images."""

    ablation: int = Field(default=60, ge=0)
    probes: int = Field(default=1500, ge=0)
    concepts: int = Field(default=300, ge=0)


class FaithfulnessConfig(Config):
    """Evaluation of the methods. `images`: on how many held-out images; 0 leaves it out. `steps`: points of a
    deletion or insertion curve. `truth`: phantom images with known lesions, where the data are synthetic."""

    images: int = Field(default=12, ge=0)
    steps: int = Field(default=20, ge=2)
    truth: int = Field(default=60, ge=0)
