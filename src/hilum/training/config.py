"""Settings of a task: split, pixel contract, model, augmentation, training, operating point."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from hilum.config import ComponentConfig, Config
from hilum.data.augment import Augment
from hilum.data.finding_options import Uncertain
from hilum.data.pixel_options import Fit, Standardize

if TYPE_CHECKING:
    from hilum.data.images import Pixels


class SplitConfig(Config):
    """How cases are divided; see hilum.data.split for what each scheme does."""

    scheme: Literal["patient", "official", "image", "acquisition", "ordered", "seed-1a", "seed-1b"] = (
        "patient"
    )
    val_fraction: float = Field(default=0.15, gt=0, lt=1)
    test_fraction: float | None = Field(default=None, gt=0, lt=1)
    folds: int | None = Field(default=None, ge=2)
    fold: int | None = Field(default=None, ge=0)
    seed: int = Field(default=0, ge=0)


class PixelConfig(Config):
    """The pixel contract without mean and sd, which are measured on the training cases; see
    hilum.data.images.Pixels."""

    size: tuple[int, int] = (224, 224)
    fit: Fit = "squeeze"
    standardize: Standardize = "dataset"
    trim: bool = Field(default=True, description="cut off an even frame around the image")

    @model_validator(mode="after")
    def _size_is_sensible(self) -> "PixelConfig":
        if not all(16 <= side <= 2048 for side in self.size):
            raise ValueError(f"size {self.size[0]} x {self.size[1]} is outside 16..2048 px")
        return self

    def contract(self, mean: float, sd: float) -> "Pixels":
        """The full contract, once mean and sd of the training cases are known.

        >>> PixelConfig(size=(64, 64)).contract(0.48123456, 0.2).mean
        0.481235
        """
        from hilum.data.images import Pixels

        return Pixels(
            self.size,
            self.fit,
            self.standardize,
            round(mean, 6),
            round(sd, 6),
            trim=self.trim,
        )


class Optimizer(Config):
    """Adam (Kingma & Ba 2015), AdamW (Loshchilov & Hutter 2019) or SGD with Nesterov momentum 0.9."""

    name: Literal["adam", "adamw", "sgd"] = "adamw"
    lr: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)


class Schedule(Config):
    """'plateau' lowers the rate when val_loss stalls; 'warmup_cosine' rises linearly over `warmup_steps`
    optimiser steps, then falls to zero along half a cosine."""

    name: Literal["constant", "plateau", "warmup_cosine"] = "constant"
    warmup_steps: int = Field(default=0, ge=0)
    factor: float = Field(default=0.3, gt=0, lt=1, description="plateau: new rate / old rate")
    patience: int = Field(default=2, ge=0, description="plateau: epochs without a better val_loss")


class Distill(Config):
    """Learning from the outputs of trained models (Hinton, Vinyals & Dean 2015); see training/distill.py.

    `teachers`: task folders of runs, or model folders. `alpha`: weight of their soft outputs; the labels get
    the rest. `temperature`: both sides' logits are divided by it.
    """

    teachers: tuple[str, ...] = Field(min_length=1)
    alpha: float = Field(default=0.7, ge=0, le=1)
    temperature: float = Field(default=2.0, gt=0)


class Training(Config):
    """Epochs, loss, optimiser and what belongs to them.

    `monitor`: the validation figure of the best epoch; `counterfactual_auroc` is measured on validation images in the
    look of the other label's devices.
    """

    epochs: int = Field(ge=1)
    batch_size: int = Field(default=32, ge=1)
    loss: Literal["cross_entropy", "binary_cross_entropy"] = "cross_entropy"
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    balance: Literal["none", "undersample", "weights", "sampler"] = "none"
    distill: Distill | None = None
    consistency: float = Field(
        default=0.0,
        ge=0,
        le=100,
        description="weight of the divergence between the answers to two augmented views of each image; 0: one view",
    )
    ema: float | None = Field(default=None, gt=0, lt=1, description="decay of averaged weights")
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    monitor: str = "val_accuracy"
    seed: int = Field(default=0, ge=0)


class TaskRecipe(Config):
    """All settings of one task."""

    split: SplitConfig = SplitConfig()
    pixels: PixelConfig = PixelConfig()
    model: ComponentConfig
    augment: Augment = Augment()
    training: Training
    threshold: str = Field(default="youden", description="rule for the operating point")
    threshold_on: Literal["val", "counterfactual"] = Field(
        default="val",
        description="what the rule is applied to: validation images as they are, or each in the look in which it "
        "is harder, its own or that of the other label's devices",
    )
    uncertain: Uncertain = Field(
        default="not_stated", description="findings: what -1 counts as in training; it is never evaluated"
    )

    @model_validator(mode="after")
    def _views_differ(self) -> "TaskRecipe":
        if self.training.consistency and self.augment.is_off:
            raise ValueError("training.consistency compares two augmented views, and augment changes nothing")
        return self
