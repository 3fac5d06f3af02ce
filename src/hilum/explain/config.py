"""Settings of the explanation stage."""

from typing import Any, Literal

from pydantic import Field, field_validator

from hilum.config import Config

METHODS = (
    "occlusion",
    "grad_cam",
    "layer_cam",
    "integrated_gradients",
    "smooth_grad",
    "deep_lift",
    "rise",
    "saliency",
)
"""What is asked by default; the first of each kind stands in the report's rows of pictures."""


class OcclusionConfig(Config):
    """A square mask slides over the image. `mask`: its side in pixels; None: the side that covers the same
    share of the image as 90 px of 200 x 224 do. `fill`: what lies under it: black, the image's mean, a blurred
    copy of the image, or noise of the image's mean and spread."""

    mask: int | None = Field(default=None, ge=1)
    stride: int = Field(default=1, ge=1)
    fill: Literal["zero", "mean", "blur", "noise"] = "zero"
    precision: Literal["fp32", "bf16"] = "fp32"


class SynthesisConfig(Config):
    """Images that drive a filter. `filters`: how many of the layer. `steps` and `lr`: of the plain ascent
    from an image. `clean_steps`: of the careful ascent, which has a step length of its own; 0 leaves it out."""

    filters: int = Field(default=64, ge=0)
    steps: int = Field(default=1000, ge=1)
    lr: float = Field(default=10_000.0, gt=0)
    clean_steps: int = Field(default=256, ge=0)


class LayersConfig(Config):
    """What the network needs inside, and on how many images that is asked; 0 leaves it out. `ablation`:
    filters of the layer set to their mean. `probes`: a linear probe per layer. `concepts`: named concepts, on
    phantom images."""

    ablation: int = Field(default=60, ge=0)
    probes: int = Field(default=1500, ge=0)
    concepts: int = Field(default=300, ge=0)


class FaithfulnessConfig(Config):
    """How far the methods may be believed. `images`: on how many held-out images; 0 leaves it out. `steps`:
    points of a deletion or insertion curve. `truth`: phantom images with lesions, where the data are drawn."""

    images: int = Field(default=12, ge=0)
    steps: int = Field(default=20, ge=2)
    truth: int = Field(default=60, ge=0)


class ExplainConfig(Config):
    """What each task's model looks at; see hilum.explain.

    `methods`: files of hilum/explain or dotted modules, each with its options. `cases_per_class`: images shown
    for each label. `mistakes`: of each class, surest first, shown with a map. `layer`: the convolution whose
    filters are shown; None: the latest that sees at most half of the image. `filters` x `images`: the grid of
    strongest activations. `scan`: how many images, drawn at random, are looked through for them; None: all.
    """

    methods: dict[str, dict[str, Any]] = Field(default_factory=lambda: {name: {} for name in METHODS})
    cases_per_class: int = Field(default=1, ge=1)
    mistakes: int = Field(default=5, ge=0)
    occlusion: OcclusionConfig = OcclusionConfig()
    layer: str | None = None
    filters: int = Field(default=5, ge=1)
    images: int = Field(default=10, ge=1)
    scan: int | None = Field(default=None, ge=1)
    synthesis: SynthesisConfig = SynthesisConfig()
    faithfulness: FaithfulnessConfig = FaithfulnessConfig()
    layers: LayersConfig = LayersConfig()
    seed: int = Field(default=0, ge=0)

    @field_validator("methods", mode="before")
    @classmethod
    def _names_alone_will_do(cls, given: Any) -> Any:
        if isinstance(given, list | tuple) and all(isinstance(name, str) for name in given):
            return {name: {} for name in given}
        if isinstance(given, dict):
            return {name: options or {} for name, options in given.items()}
        return given
