"""Augmentation for radiographs: what may differ between two images of the same chest. These are the settings;
hilum.data.augmented changes the image.

Each field is a strength; 0 (or None) turns it off. There is no left-right flip by default: the heart
would change side. The generator is passed in, so that the same generator gives the same image.
"""

from pydantic import Field

from hilum.config import Config


class Augment(Config):
    """Strength of each change; the actual change is uniform up to the strength, new for every image and epoch.

    >>> Augment(brightness=0.2).is_off, Augment().is_off
    (False, True)
    """

    rotate: float = Field(default=0.0, ge=0, le=180, description="degrees, both ways")
    translate: float = Field(default=0.0, ge=0, le=0.5, description="share of the side, both ways")
    scale: float = Field(default=0.0, ge=0, lt=1, description="enlarge or shrink by up to this share")
    aspect: float = Field(default=0.0, ge=0, lt=1, description="widen or narrow by up to this share")
    crop: float = Field(default=0.0, ge=0, lt=1, description="cut away up to this share of the area")
    brightness: float = Field(default=0.0, ge=0, le=1, description="add up to this, in units of 0..1")
    contrast: float = Field(default=0.0, ge=0, lt=1, description="stretch around the mean by this share")
    gamma: float = Field(default=0.0, ge=0, le=2, description="exponent exp(u), u up to this, both ways")
    blur: float = Field(default=0.0, ge=0, le=10, description="Gaussian blur of up to this many pixels (sd)")
    sharpen: float = Field(default=0.0, ge=0, le=5, description="unsharp mask of up to this amount")
    noise: float = Field(default=0.0, ge=0, le=1, description="noise of up to this sd, in units of 0..1")
    cutout: float = Field(default=0.0, ge=0, lt=1, description="even square of up to this share of a side")
    corrupt: float = Field(
        default=0.0, ge=0, le=1, description="probability of one of hilum.data.corruptions"
    )
    tone: float = Field(
        default=0.0, ge=0, le=1, description="probability of the tone of another training image"
    )
    markers: float = Field(
        default=0.0, ge=0, le=1, description="probability of letters and numbers at the margin"
    )
    flip: float = Field(default=0.0, ge=0, le=1, description="probability of a left-right flip")

    @property
    def is_off(self) -> bool:
        """True when nothing would change."""
        return self == Augment()
