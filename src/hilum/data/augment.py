"""Augmentation for radiographs: what may differ between two images of the same chest.

Each field is a strength; 0 (or None) turns it off. There is no left-right flip by default: the heart
would change side. The generator is passed in, so that the same generator gives the same image.
"""

import cv2
import numpy as np
from pydantic import Field

from hilum.config import Config
from hilum.data.corruptions import CORRUPTIONS

Generator = np.random.Generator


class Augment(Config):
    """Strength of each change; the actual change is uniform up to the strength, new for every image and epoch.

    >>> image = np.full((8, 8), 128, np.uint8)
    >>> changed = Augment(brightness=0.2)(image, np.random.default_rng(0))
    >>> changed.shape, 0.3 <= float(changed.min()) <= 0.71
    ((8, 8), True)
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
    jpeg: float = Field(default=0.0, ge=0, lt=1, description="JPEG of quality 100 down to 100 (1 - this)")
    cutout: float = Field(default=0.0, ge=0, lt=1, description="black square of up to this share of a side")
    corrupt: float = Field(
        default=0.0, ge=0, le=1, description="probability of one of hilum.data.corruptions"
    )
    flip: float = Field(default=0.0, ge=0, le=1, description="probability of a left-right flip")

    @property
    def is_off(self) -> bool:
        """True when nothing would change."""
        return self == Augment()

    def __call__(self, image: np.ndarray, chance: Generator) -> np.ndarray:
        """uint8 "rows cols" -> float32 of the same shape, in 0..1."""
        image = image.astype(np.float32) / np.float32(255)
        if self.is_off:
            return image
        image = self._place(image, chance)
        image = self._expose(image, chance)
        image = self._focus(image, chance)
        if self.jpeg:
            image = _as_jpeg(image, self.jpeg, chance)
        if self.cutout:
            image = _cut_out(image, self.cutout, chance)
        image = np.clip(image, 0.0, 1.0)
        if self.corrupt and chance.random() < self.corrupt:
            image = _corrupted(image, chance)
        return image

    def _place(self, image: np.ndarray, chance: Generator) -> np.ndarray:
        """Rotation, shift, scale, aspect, crop and flip as one affine map, so pixels are interpolated once."""
        if not any((self.rotate, self.translate, self.scale, self.aspect, self.crop, self.flip)):
            return image
        rows, cols = image.shape
        angle = np.deg2rad(chance.uniform(-self.rotate, self.rotate))
        size = 1 + chance.uniform(-self.scale, self.scale)
        widen = np.sqrt(1 + chance.uniform(-self.aspect, self.aspect))
        shift = chance.uniform(-self.translate, self.translate, 2) * (cols, rows)
        kept = np.sqrt(1 - chance.uniform(0, self.crop))  # side of the kept window, as a share
        shift = shift + chance.uniform(-1, 1, 2) * (1 - kept) / 2 * (cols, rows)
        mirror = -1.0 if chance.random() < self.flip else 1.0
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        linear = turn @ np.diag([mirror * size * widen / kept, size / widen / kept])
        centre = np.array([(cols - 1) / 2, (rows - 1) / 2])
        matrix = np.column_stack([linear, centre + shift - linear @ centre])
        return np.asarray(cv2.warpAffine(image, matrix, (cols, rows), flags=cv2.INTER_LINEAR))

    def _expose(self, image: np.ndarray, chance: Generator) -> np.ndarray:
        if self.gamma:
            image = np.power(
                np.maximum(image, 0), np.float32(np.exp(chance.uniform(-self.gamma, self.gamma)))
            )
        if self.contrast:
            stretch = np.float32(1 + chance.uniform(-self.contrast, self.contrast))
            mean = image.mean(dtype=np.float32)
            image = (image - mean) * stretch + mean
        if self.brightness:
            image = image + np.float32(chance.uniform(-self.brightness, self.brightness))
        return image

    def _focus(self, image: np.ndarray, chance: Generator) -> np.ndarray:
        """Blur or sharpen (both would cancel), then noise, which a detector adds after the optics."""
        sharpen = self.sharpen and (not self.blur or chance.random() < 0.5)
        if sharpen:
            soft = cv2.GaussianBlur(image, (0, 0), 1.0)
            image = image + np.float32(chance.uniform(0, self.sharpen)) * (image - soft)
        elif self.blur:
            sd = chance.uniform(0, self.blur)
            if sd > 0.1:  # below, the kernel is a single pixel
                image = np.asarray(cv2.GaussianBlur(image, (0, 0), sd))
        if self.noise:
            sd = np.float32(chance.uniform(0, self.noise))
            image = image + sd * chance.standard_normal(image.shape, dtype=np.float32)
        return image


def _corrupted(image: np.ndarray, chance: Generator) -> np.ndarray:
    """One corruption at one severity, each as likely as the others."""
    corruption = CORRUPTIONS[list(CORRUPTIONS)[chance.integers(len(CORRUPTIONS))]]
    grey = np.rint(255 * image).astype(np.uint8)
    return corruption.apply(grey, chance.choice(corruption.strengths), chance).astype(
        np.float32
    ) / np.float32(255)


def _as_jpeg(image: np.ndarray, share: float, chance: Generator) -> np.ndarray:
    """The image as it comes back from a JPEG file: 8 bits, with the blocks of that quality."""
    quality = round(100 * (1 - chance.uniform(0, share)))
    grey = np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)
    data = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, max(quality, 1)])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)).astype(np.float32) / np.float32(255)


def _cut_out(image: np.ndarray, share: float, chance: Generator) -> np.ndarray:
    """A black square at a random place (DeVries & Taylor 2017), at most `share` of the shorter side."""
    rows, cols = image.shape
    side = round(chance.uniform(0, share) * min(rows, cols))
    top = int(chance.integers(0, rows - side + 1))
    left = int(chance.integers(0, cols - side + 1))
    image = image.copy()
    image[top : top + side, left : left + side] = 0.0
    return image
