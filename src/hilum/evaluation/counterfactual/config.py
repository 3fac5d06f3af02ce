"""Settings of the stage `counterfactual`."""

from typing import Annotated, Literal

from pydantic import Field

from hilum.config import Config

Part = Literal["tone", "aspect", "crop", "sharpness", "markers", "frame"]


class CounterfactualConfig(Config):
    """Held-out images in the look of another label's devices; see docs/shift.md.

    `split`: the part that is measured, the other one where it is empty; `images`: at most so many, each class in
    proportion, null: all; `parts`: which are also measured alone; `fixed`: the specificity at which the sensitivity
    is given, and the other way round; `shown`: images of the contact sheet per label; `seed`: of donors and
    choice of images; `replicates` of the bootstrap over patients.
    """

    split: Literal["val", "test"] = "val"
    images: Annotated[int, Field(ge=2)] | None = None
    parts: tuple[Part, ...] = ("tone", "aspect", "crop", "sharpness", "markers", "frame")
    fixed: float = Field(default=0.9, gt=0, lt=1)
    shown: int = Field(default=6, ge=0, le=50)
    seed: int = Field(default=0, ge=0)
    replicates: int = Field(default=1000, ge=0)
