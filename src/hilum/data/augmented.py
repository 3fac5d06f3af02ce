"""One image, changed as the settings of an augmentation say."""

import cv2
import numpy as np

from hilum.data.augment import Augment
from hilum.data.corruptions import CORRUPTIONS
from hilum.data.random_markers import with_random_markers
from hilum.data.tone import specified

Generator = np.random.Generator


def augmented(
    settings: Augment, image: np.ndarray, chance: Generator, donor: np.ndarray | None = None
) -> np.ndarray:
    """uint8 "rows cols" -> float32 of the same shape, in 0..1. `donor`: another image, uint8, whose tone may be
    taken over (`settings.tone`).

    >>> image = np.full((8, 8), 128, np.uint8)
    >>> changed = augmented(Augment(brightness=0.2), image, np.random.default_rng(0))
    >>> changed.shape, 0.3 <= float(changed.min()) <= 0.71
    ((8, 8), True)
    """
    if settings.markers and chance.random() < settings.markers:
        image = with_random_markers(image, chance)
    toned = image.astype(np.float32) if donor is None else _toned(settings, image, chance, donor)
    image = toned / np.float32(255)
    if settings.is_off:
        return image
    image = _place(settings, image, chance)
    image = _expose(settings, image, chance)
    image = _focus(settings, image, chance)
    if settings.cutout:
        image = _cut_out(image, settings.cutout, chance)
    image = np.clip(image, 0.0, 1.0)
    if settings.corrupt and chance.random() < settings.corrupt:
        image = _corrupted(image, chance)
    return image


def _toned(settings: Augment, image: np.ndarray, chance: Generator, donor: np.ndarray) -> np.ndarray:
    """The tone of the donor, half of the time in full and otherwise in part, so that the curve of one camera says
    nothing about the label; float32, 0 to 255."""
    own = image.astype(np.float32)
    if chance.random() >= settings.tone:
        return own
    share = np.float32(min(1.0, 2 * chance.random()))
    return own + share * (specified(image, donor) - own)


def _place(settings: Augment, image: np.ndarray, chance: Generator) -> np.ndarray:
    """Rotation, shift, scale, aspect, crop and flip as one affine map, so pixels are interpolated once."""
    if not any(
        (settings.rotate, settings.translate, settings.scale, settings.aspect, settings.crop, settings.flip)
    ):
        return image
    rows, cols = image.shape
    angle = np.deg2rad(chance.uniform(-settings.rotate, settings.rotate))
    size = 1 + chance.uniform(-settings.scale, settings.scale)
    widen = np.sqrt(1 + chance.uniform(-settings.aspect, settings.aspect))
    shift = chance.uniform(-settings.translate, settings.translate, 2) * (cols, rows)
    kept = np.sqrt(1 - chance.uniform(0, settings.crop))  # side of the kept window, as a share
    shift = shift + chance.uniform(-1, 1, 2) * (1 - kept) / 2 * (cols, rows)
    mirror = -1.0 if chance.random() < settings.flip else 1.0
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ np.diag([mirror * size * widen / kept, size / widen / kept])
    centre = np.array([(cols - 1) / 2, (rows - 1) / 2])
    matrix = np.column_stack([linear, centre + shift - linear @ centre])
    way, outside = cv2.INTER_LINEAR, cv2.BORDER_REFLECT_101  # no black edge: see hilum.data.place
    return np.asarray(cv2.warpAffine(image, matrix, (cols, rows), flags=way, borderMode=outside))


def _expose(settings: Augment, image: np.ndarray, chance: Generator) -> np.ndarray:
    if settings.gamma:
        image = np.power(
            np.maximum(image, 0), np.float32(np.exp(chance.uniform(-settings.gamma, settings.gamma)))
        )
    if settings.contrast:
        stretch = np.float32(1 + chance.uniform(-settings.contrast, settings.contrast))
        mean = image.mean(dtype=np.float32)
        image = (image - mean) * stretch + mean
    if settings.brightness:
        image = image + np.float32(chance.uniform(-settings.brightness, settings.brightness))
    return image


def _focus(settings: Augment, image: np.ndarray, chance: Generator) -> np.ndarray:
    """Blur or sharpen (both would cancel), then noise, which a detector adds after the optics."""
    sharpen = settings.sharpen and (not settings.blur or chance.random() < 0.5)
    if sharpen:
        soft = cv2.GaussianBlur(image, (0, 0), 1.0)
        image = image + np.float32(chance.uniform(0, settings.sharpen)) * (image - soft)
    elif settings.blur:
        sd = chance.uniform(0, settings.blur)
        if sd > 0.1:  # below, the kernel is a single pixel
            image = np.asarray(cv2.GaussianBlur(image, (0, 0), sd))
    if settings.noise:
        sd = np.float32(chance.uniform(0, settings.noise))
        image = image + sd * chance.standard_normal(image.shape, dtype=np.float32)
    return image


def _corrupted(image: np.ndarray, chance: Generator) -> np.ndarray:
    """One corruption at one severity, each as likely as the others."""
    corruption = CORRUPTIONS[list(CORRUPTIONS)[chance.integers(len(CORRUPTIONS))]]
    grey = np.rint(255 * image).astype(np.uint8)
    return corruption.apply(grey, chance.choice(corruption.strengths).item(), chance).astype(
        np.float32
    ) / np.float32(255)


def _cut_out(image: np.ndarray, share: float, chance: Generator) -> np.ndarray:
    """A square of the image's mean at a random place (DeVries & Taylor 2017), at most `share` of the shorter side."""
    rows, cols = image.shape
    side = round(chance.uniform(0, share) * min(rows, cols))
    top = int(chance.integers(0, rows - side + 1))
    left = int(chance.integers(0, cols - side + 1))
    image = image.copy()
    image[top : top + side, left : left + side] = image.mean(dtype=np.float32)
    return image
