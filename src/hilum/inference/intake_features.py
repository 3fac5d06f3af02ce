"""What the intake check measures: the grey levels of a small copy of an image, and changed copies of radiographs.

The copy has 64 x 64 pixels, without an even frame around the image. Its description has two parts: the pattern at
32 x 32, each image with mean 0 and variance 1, and statistics of its grey levels: mean, contrast, quantiles, shares of
black and white, and the strength of detail of four sizes.
"""

from collections.abc import Callable

import cv2
import numpy as np

from hilum.data.images import Pixels

SIDE, COARSE = 64, 32
"""Rows and columns of the copy, and of its pattern."""

PIXELS = Pixels(size=(SIDE, SIDE), fit="squeeze")
"""How the intake's copy is made. What follows normalisation is not used."""

QUANTILES = (0.02, 0.25, 0.5, 0.75, 0.98)
DETAIL = (0.7, 1.4, 2.8, 5.6)
"""Standard deviations of the blurs between which the strength of detail is measured, pixels of the pattern."""

RARE = 0.05
"""Added to a share before its logarithm: what lies far below it is all the same."""

Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def patterns(images: np.ndarray) -> np.ndarray:
    """float32 "images 1024": 32 x 32 grey levels, each image with mean 0 and variance 1; a blank image stays 0.

    `images`: uint8 "images 64 64".

    >>> patterns(np.zeros((2, 64, 64), np.uint8)).shape
    (2, 1024)
    """
    coarse = _coarse(images)
    means, contrasts = coarse.mean((1, 2), keepdims=True), coarse.std((1, 2), keepdims=True)
    return ((coarse - means) / (contrasts + 1)).reshape(len(images), COARSE * COARSE)


def statistics(images: np.ndarray) -> np.ndarray:
    """float32 "images 13" of uint8 "images 64 64": mean, log contrast, five quantiles, log shares of black and of
    white, log strength of detail of four sizes.

    >>> statistics(np.zeros((2, 64, 64), np.uint8)).shape
    (2, 13)
    """
    coarse = _coarse(images)
    means, contrasts = coarse.mean((1, 2)), coarse.std((1, 2))
    flat = coarse.reshape(len(images), -1)
    quantiles = (np.quantile(flat, QUANTILES, axis=1) - means) / (contrasts + 1)
    ends = np.log([(flat < 8).mean(1) + RARE, (flat > 247).mean(1) + RARE])
    detail = np.array([_detail(image) for image in patterns(images).reshape(coarse.shape)])
    return np.column_stack([means, np.log(contrasts + 0.5), quantiles.T, ends.T, detail]).astype(np.float32)


def _coarse(images: np.ndarray) -> np.ndarray:
    """float32 "images 32 32"."""
    shape = len(images), COARSE, SIDE // COARSE, COARSE, SIDE // COARSE
    return images.reshape(shape).mean((2, 4), dtype=np.float32)


def _detail(image: np.ndarray) -> list[float]:
    strengths, sharper = [], image
    for sd in DETAIL:
        softer = np.asarray(cv2.GaussianBlur(image, (0, 0), sd))
        strengths.append(float(np.log((sharper - softer).std() + 1e-3)))
        sharper = softer
    return strengths


# -- radiographs that are changed ----------------------------------------------------------------------------


def stretched(images: np.ndarray) -> np.ndarray:
    """uint8 "images rows cols" brought to 64 x 64.

    >>> stretched(np.zeros((2, 64, 32), np.uint8)).shape
    (2, 64, 64)
    """
    return np.stack(
        [np.asarray(cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)) for image in images]
    )


def tiled(down: int, across: int) -> Change:
    """Several radiographs in one picture.

    >>> tiled(1, 2)(np.zeros((3, 64, 64), np.uint8), np.random.default_rng(0)).shape
    (3, 64, 64)
    """

    def change(images: np.ndarray, chance: np.random.Generator) -> np.ndarray:
        chosen = images[chance.integers(0, len(images), (len(images), down, across))]
        joined = chosen.transpose(0, 1, 3, 2, 4).reshape(len(images), down * SIDE, across * SIDE)
        return stretched(joined)

    return change


def part(rows: slice, cols: slice) -> Change:
    """A part of the image alone, stretched: what is left when an even half is cut off as a frame.

    >>> part(slice(0, 32), slice(None))(np.zeros((3, 64, 64), np.uint8), np.random.default_rng(0)).shape
    (3, 64, 64)
    """
    return lambda images, _: stretched(images[:, rows, cols])


def missing(rows: slice, cols: slice) -> Change:
    """A part of the image black.

    >>> white = np.full((1, 64, 64), 255, np.uint8)
    >>> float(missing(slice(0, 32), slice(None))(white, np.random.default_rng(0)).mean())
    127.5
    """

    def change(images: np.ndarray, _: np.random.Generator) -> np.ndarray:
        changed = images.copy()
        changed[:, rows, cols] = 0
        return changed

    return change


def cut(images: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """A piece of 20 to 60 % of each side, from anywhere, stretched.

    >>> cut(np.zeros((2, 64, 64), np.uint8), np.random.default_rng(0)).shape
    (2, 64, 64)
    """
    pieces = []
    for image in images:
        high, wide = (SIDE * chance.uniform(0.2, 0.6, 2)).astype(int)
        top, left = chance.integers(0, SIDE - high), chance.integers(0, SIDE - wide)
        pieces.append(stretched(image[None, top : top + high, left : left + wide])[0])
    return np.stack(pieces)


_FIRST, _SECOND, _ALL = slice(0, SIDE // 2), slice(SIDE // 2, SIDE), slice(None)

CHANGES: dict[str, tuple[str, Change]] = {
    "left": ("a radiograph on its side", lambda images, _: np.rot90(images, 1, (1, 2))),
    "right": ("a radiograph on its side", lambda images, _: np.rot90(images, 3, (1, 2))),
    "turned": ("a radiograph upside down", lambda images, _: np.rot90(images, 2, (1, 2))),
    "mirrored": ("a radiograph upside down", lambda images, _: images[:, ::-1]),
    "inverted": ("a radiograph with black and white inverted", lambda images, _: 255 - images),
    "beside": ("several radiographs in one picture", tiled(1, 2)),
    "below": ("several radiographs in one picture", tiled(2, 1)),
    "four": ("several radiographs in one picture", tiled(2, 2)),
    "six": ("several radiographs in one picture", tiled(2, 3)),
    "cut": ("a small piece of a radiograph", cut),
    "upper": ("one half of a radiograph", part(_FIRST, _ALL)),
    "lower": ("one half of a radiograph", part(_SECOND, _ALL)),
    "first": ("one half of a radiograph", part(_ALL, _FIRST)),
    "second": ("one half of a radiograph", part(_ALL, _SECOND)),
    "no_upper": ("a radiograph of which one half is missing", missing(_FIRST, _ALL)),
    "no_lower": ("a radiograph of which one half is missing", missing(_SECOND, _ALL)),
    "no_first": ("a radiograph of which one half is missing", missing(_ALL, _FIRST)),
    "no_second": ("a radiograph of which one half is missing", missing(_ALL, _SECOND)),
}
"""How radiographs are changed: what the picture then looks like, in words, and the change itself, of uint8
"images 64 64" in upright order."""
