"""Images with missing or corrupted pixels: one small function per corruption, five severities each.

Every function takes an image as the cache holds it (uint8 "rows cols", the model's size, before mean and sd)
and a strength, and gives an image of the same size back. Chance depends on (seed, corruption, case) alone, so the
same case is corrupted in the same way at every repetition, and random holes only grow with the severity.

The severities of these come from MedMNIST-C (Di Salvo, Doerrich & Ledig 2024), which names the numbers that
suit PneumoniaMNIST: low_resolution ('pixelate'), low_dose ('shot_noise'), blur ('gaussian_blur':
kernels of 3 to 11 px have these sds in torchvision), jpeg ('jpeg_compression'), brighter and darker
('gamma_corr_down', 'gamma_corr_up'). It corrupts images of 224 px; here the image has the model's size, the sd of
the blur shrinks with it, and photons are counted and JPEG blocks are laid per pixel of that size. The others
are ours, because MedMNIST-C has no missing regions: random_pixels, block, left_gone, right_gone, crop,
collimator, rotation, text.

References
    Hendrycks D, Dietterich T. Benchmarking neural network robustness to common corruptions. ICLR (2019).
    Di Salvo F, Doerrich S, Ledig C. MedMNIST-C. arXiv:2406.17536 (2024).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from hilum.files import digest

SEVERITIES = (1, 2, 3, 4, 5)
REFERENCE = 224
"""Side in pixels of the images that MedMNIST-C corrupts."""

Generator = np.random.Generator
Apply = Callable[[np.ndarray, float, Generator], np.ndarray]


# -- missing regions -----------------------------------------------------------------------------------------


def random_pixels(image: np.ndarray, share: float, chance: Generator) -> np.ndarray:
    """Black pixels at random places, `share` of all.

    >>> int((random_pixels(np.full((10, 10), 9, np.uint8), 0.25, np.random.default_rng(0)) == 0).sum())
    25
    """
    order = chance.permutation(image.size)  # the same order at every share: holes only grow
    corrupted = image.copy().reshape(-1)
    corrupted[order[: round(share * image.size)]] = 0
    return corrupted.reshape(image.shape)


def block(image: np.ndarray, share: float, chance: Generator) -> np.ndarray:
    """One black rectangle of the image's own proportions at a random place; `share` of the area.

    >>> int((block(np.full((10, 20), 9, np.uint8), 0.25, np.random.default_rng(0)) == 0).sum())
    50
    """
    rows, cols = (round(side * share**0.5) for side in image.shape)
    place = chance.random(2)
    top, left = (
        round(u * (side - part)) for u, side, part in zip(place, image.shape, (rows, cols), strict=True)
    )
    corrupted = image.copy()
    corrupted[top : top + rows, left : left + cols] = 0
    return corrupted


def left_gone(image: np.ndarray, share: float, chance: Generator) -> np.ndarray:
    """Black from the left edge of the picture (the right side of the patient), `share` of the width.

    >>> left_gone(np.full((1, 4), 9, np.uint8), 0.5, np.random.default_rng(0)).tolist()
    [[0, 0, 9, 9]]
    """
    corrupted = image.copy()
    corrupted[:, : round(share * image.shape[1])] = 0
    return corrupted


def right_gone(image: np.ndarray, share: float, chance: Generator) -> np.ndarray:
    """Black from the right edge of the picture (the left side of the patient), `share` of the width.

    >>> right_gone(np.full((1, 4), 9, np.uint8), 0.5, np.random.default_rng(0)).tolist()
    [[9, 9, 0, 0]]
    """
    corrupted = image.copy()
    corrupted[:, image.shape[1] - round(share * image.shape[1]) :] = 0
    return corrupted


def crop(image: np.ndarray, share: float, chance: Generator) -> np.ndarray:
    """The edges are cut away: the middle, without `share` of each side's length, fills the image.

    >>> image = np.arange(16, dtype=np.uint8).reshape(4, 4)
    >>> crop(image, 0.5, np.random.default_rng(0)).tolist()[0]
    [5, 5, 6, 6]
    """
    rows, cols = (max(1, round(side * (1 - share))) for side in image.shape)
    top, left = (image.shape[0] - rows) // 2, (image.shape[1] - cols) // 2
    return _scaled(image[top : top + rows, left : left + cols], image.shape, cv2.INTER_LINEAR)


def collimator(image: np.ndarray, share: float, chance: Generator) -> np.ndarray:
    """A black frame, on each side `share` of that side's length: the shadow of narrow collimator blades.

    >>> int((collimator(np.full((10, 10), 9, np.uint8), 0.2, np.random.default_rng(0)) == 9).sum())
    36
    """
    rows, cols = (round(share * side) for side in image.shape)
    corrupted = np.zeros_like(image)
    inside = (slice(rows, image.shape[0] - rows), slice(cols, image.shape[1] - cols))
    corrupted[inside] = image[inside]
    return corrupted


# -- missing detail ------------------------------------------------------------------------------------------


def low_resolution(image: np.ndarray, factor: float, chance: Generator) -> np.ndarray:
    """As if taken at `factor` of the rows and columns, then repeated to the old size; as MedMNIST-C's 'pixelate'.

    Both steps are those of Pillow's BOX filter, pixel for pixel (`_boxes`): when shrinking, the mean of the whole
    pixels whose centres fall into the new pixel, columns first; when enlarging, the pixel below the centre.

    >>> low_resolution(np.array([[0, 20], [40, 60]], np.uint8), 0.5, np.random.default_rng(0)).tolist()
    [[30, 30], [30, 30]]
    """
    small = (max(1, int(image.shape[0] * factor)), max(1, int(image.shape[1] * factor)))
    coarse = _boxes(_boxes(image.T, small[1]).T, small[0])
    return _boxes(_boxes(coarse.T, image.shape[1]).T, image.shape[0])


def low_dose(image: np.ndarray, photons: float, chance: Generator) -> np.ndarray:
    """Poisson noise: white is a mean of `photons` counts per pixel, grey in proportion.

    >>> noisy = low_dose(np.full((50, 50), 102, np.uint8), 300, np.random.default_rng(0))
    >>> round(float(noisy.mean()))
    102
    """
    counts = chance.poisson(image.astype(np.float64) / 255 * photons)
    return _to_uint8(counts / photons * 255)


def blur(image: np.ndarray, sd: float, chance: Generator) -> np.ndarray:
    """Gaussian blur of `sd` pixels of an image with 224 columns, and in proportion on others.

    >>> dot = np.zeros((9, 224), np.uint8); dot[4, 100] = 255
    >>> blur(dot, 1.0, np.random.default_rng(0))[4, 98:103].tolist()
    [6, 25, 40, 25, 6]
    """
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sd * image.shape[1] / REFERENCE))


def jpeg(image: np.ndarray, quality: float, chance: Generator) -> np.ndarray:
    """Written and read as a JPEG of this quality (1 to 100).

    >>> jpeg(np.full((8, 8), 90, np.uint8), 50, np.random.default_rng(0)).shape
    (8, 8)
    """
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, round(quality)])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE))


# -- another exposure, another place -------------------------------------------------------------------------


def gamma(image: np.ndarray, exponent: float, chance: Generator) -> np.ndarray:
    """Grey v becomes 255 (v / 255)^exponent: below 1 brighter, above 1 darker; black and white stay.

    >>> gamma(np.array([[0, 51, 255]], np.uint8), 2.0, np.random.default_rng(0)).tolist()
    [[0, 10, 255]]
    """
    table = _to_uint8(255 * (np.arange(256) / 255) ** exponent)
    return table[image]


def rotation(image: np.ndarray, degrees: float, chance: Generator) -> np.ndarray:
    """Rotated about its middle by `degrees`, to the left or the right by chance; the corners are black.

    >>> rotation(np.full((9, 9), 9, np.uint8), 45, np.random.default_rng(0))[0, 0]
    np.uint8(0)
    """
    rows, cols = image.shape
    sign = 1 if chance.random() < 0.5 else -1
    matrix = cv2.getRotationMatrix2D(((cols - 1) / 2, (rows - 1) / 2), sign * degrees, 1.0)
    return np.asarray(cv2.warpAffine(image, matrix, (cols, rows), flags=cv2.INTER_LINEAR))


def text(image: np.ndarray, share: float, chance: Generator) -> np.ndarray:
    """White letters 'AP 12' in one of the four corners, `share` of the image's height tall.

    >>> int(text(np.zeros((100, 100), np.uint8), 0.2, np.random.default_rng(0)).max())
    255
    """
    corrupted = image.copy()
    tall = share * image.shape[0]
    scale = tall / 22  # the capital letters of this font are 22 pixels tall at scale 1
    thick = max(1, round(tall / 8))
    (wide, _), _ = cv2.getTextSize("AP 12", cv2.FONT_HERSHEY_SIMPLEX, scale, thick)
    right, below = chance.random(2) < 0.5
    x = max(0, image.shape[1] - wide - 1) if right else 1
    y = image.shape[0] - 2 if below else round(tall) + 1
    cv2.putText(corrupted, "AP 12", (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, 255, thick)
    return corrupted


# -- the table of severities ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Corruption:
    """`title` for readers; `strengths` of the severities 1 to 5 and the `source` of these numbers; `words`:
    what a strength means, with {} for it, printed as a percentage where `percent`."""

    title: str
    apply: Apply
    strengths: tuple[float, float, float, float, float]
    words: str
    source: Literal["MedMNIST-C", "hilum"]
    percent: bool = False

    def strength(self, severity: int) -> str:
        """What a severity means, in words.

        >>> CORRUPTIONS["left_gone"].strength(5)
        '50 % of the width black, from the left'
        """
        value = self.strengths[severity - 1]
        return self.words.format(f"{100 * value:g}" if self.percent else f"{value:g}")


def _ours(
    title: str,
    apply: Apply,
    strengths: tuple[float, float, float, float, float],
    words: str,
    percent: bool = True,
) -> Corruption:
    return Corruption(title, apply, strengths, words, "hilum", percent)


def _theirs(
    title: str, apply: Apply, strengths: tuple[float, float, float, float, float], words: str
) -> Corruption:
    return Corruption(title, apply, strengths, words, "MedMNIST-C")


CORRUPTIONS: dict[str, Corruption] = {
    "random_pixels": _ours(
        "Random black pixels", random_pixels, (0.05, 0.1, 0.2, 0.4, 0.6), "{} % of the pixels black"
    ),
    "block": _ours("Black block", block, (0.05, 0.1, 0.2, 0.3, 0.5), "a block of {} % of the image black"),
    "left_gone": _ours(
        "Left missing",
        left_gone,
        (0.1, 0.2, 0.3, 0.4, 0.5),
        "{} % of the width black, from the left",
    ),
    "right_gone": _ours(
        "Right missing",
        right_gone,
        (0.1, 0.2, 0.3, 0.4, 0.5),
        "{} % of the width black, from the right",
    ),
    "crop": _ours("Edges cropped", crop, (0.1, 0.2, 0.3, 0.4, 0.5), "{} % of each side cut away"),
    "collimator": _ours(
        "Collimator border", collimator, (0.03, 0.06, 0.1, 0.15, 0.2), "a black frame of {} % on each side"
    ),
    "low_resolution": _theirs(
        "Low resolution", low_resolution, (0.8, 0.7, 0.6, 0.5, 0.4), "{} of the resolution"
    ),
    "low_dose": _theirs(
        "Low dose", low_dose, (300, 200, 150, 100, 80), "Poisson noise, {} photons per white pixel"
    ),
    "blur": _theirs("Blur", blur, (0.8, 1.1, 1.4, 1.7, 2.0), "Gaussian blur of {} px (sd, at 224 px)"),
    "jpeg": _theirs("JPEG", jpeg, (50, 30, 15, 10, 7), "JPEG of quality {}"),
    "brighter": _theirs("Brighter", gamma, (0.9, 0.8, 0.7, 0.6, 0.4), "gamma {}"),
    "darker": _theirs("Darker", gamma, (1.1, 1.2, 1.3, 1.4, 1.6), "gamma {}"),
    "rotation": _ours("Rotation", rotation, (5, 10, 20, 30, 45), "a rotation by {} degrees", percent=False),
    "text": _ours("Burnt-in text", text, (0.04, 0.08, 0.12, 0.16, 0.2), "letters of {} % of the height"),
}
"""Name -> corruption, in the order of the report."""


def corrupt(image: np.ndarray, name: str, severity: int, seed: int, case_id: str) -> np.ndarray:
    """One image corrupted by one corruption; severity 0 gives the image as it is.

    `image`: uint8 "rows cols"; `severity`: 0 to 5. The same arguments give the same image, on every machine
    with the same versions of NumPy and OpenCV.

    >>> image = np.full((8, 8), 100, np.uint8)
    >>> corrupt(image, "text", 0, 0, "a") is image
    True
    >>> bool((corrupt(image, "low_dose", 3, 0, "a") == corrupt(image, "low_dose", 3, 0, "b")).all())
    False
    """
    if severity == 0:
        return image
    corruption = CORRUPTIONS[name]
    chance = np.random.default_rng([seed, int(digest(name, case_id)[:12], 16)])
    return corruption.apply(np.asarray(image), corruption.strengths[severity - 1], chance)


def _scaled(image: np.ndarray, size: tuple[int, ...], way: int) -> np.ndarray:
    return np.asarray(cv2.resize(image, (size[1], size[0]), interpolation=way))


def _boxes(image: np.ndarray, rows: int) -> np.ndarray:
    """`image` with another number of rows, by Pillow's BOX filter; uint8 "rows cols".

    A new row is the mean, halves rounded up, of the old rows whose centres lie above the start and not beyond the end
    of a window around its own, as wide as a step and one row at least; enlarging therefore repeats rows, "nearest" with
    exact centres. The order of the operations is Pillow's, so that ties fall alike.

    >>> _boxes(np.array([[0], [10], [21], [30], [40]], np.uint8), 2).ravel().tolist()
    [10, 35]
    """
    step = len(image) / rows
    width = max(step, 1.0)
    centre, old = ((np.arange(rows) + 0.5) * step)[:, None], np.arange(len(image))[None, :]
    place = (old - centre + 0.5) * (1 / width)
    start, end = np.floor(centre - width / 2 + 0.5), np.floor(centre + width / 2 + 0.5)
    member = ((old >= start) & (old < end) & (place > -0.5) & (place <= 0.5)).astype(np.float64)
    return np.floor(member @ image / member.sum(1, keepdims=True) + 0.5).astype(np.uint8)


def _to_uint8(values: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)
