"""Settings of the anomaly stage."""

from string import ascii_letters, digits
from typing import Any, Self

from pydantic import Field, model_validator

from hilum.config import Config
from hilum.training.config import PixelConfig, SplitConfig

_ROW = set(ascii_letters + digits + "_.-@")


class AnomalyConfig(Config):
    """Detectors that are fitted on healthy images alone; see hilum.anomaly.

    `detectors`: row of the leaderboard -> options of its build(). The row is a detector's name; "name@variant"
    gives one detector several rows. `calibrate_fraction`: the share of the healthy val images that fixes the
    threshold; the others, and the abnormal ones, measure. `ood_images`: how many held-back healthy images are
    turned, inverted and so on. `own_ranking`: in how many parts the images to fit on are divided to see which
    of them are strange to the others; 0 leaves that out, and each part costs one more fit.
    """

    detectors: dict[str, dict[str, Any]] = Field(default_factory=lambda: {"autoencoder": {}}, min_length=1)
    pixels: PixelConfig = PixelConfig(size=(96, 96))
    split: SplitConfig = SplitConfig(val_fraction=0.3)
    false_alarm_rate: float = Field(default=0.05, gt=0, lt=1)
    calibrate_fraction: float = Field(default=0.5, gt=0, lt=1)
    ensemble: bool = True
    ood_images: int = Field(default=100, ge=0)
    own_ranking: int = Field(default=2, ge=0)
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _rows_are_names(self) -> Self:
        for row in self.detectors:
            if row == "ensemble" or not row or not set(row) <= _ROW:
                raise ValueError(f"{row!r} can't name a detector: use letters, digits, '_', '.', '-' and '@'")
        if self.own_ranking == 1:
            raise ValueError("own_ranking needs two parts or more, or 0 for none")
        return self
