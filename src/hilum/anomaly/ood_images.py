"""Out-of-distribution (OOD) images: altered radiographs and synthetic pictures that a detector should flag.

Each kind is made from held-out healthy images, or synthesised without any. All are uint8 "rows cols" of the size that
the detector sees, so file size and format play no part.
"""

from collections.abc import Callable

import cv2
import numpy as np

Make = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def rotated(radiograph: np.ndarray, quarters: int) -> np.ndarray:
    """Rotated by quarters of a circle, resized to its own rows and columns.

    >>> rotated(np.array([[1, 2], [3, 4]], np.uint8), 2).tolist()
    [[4, 3], [2, 1]]
    """
    image = np.ascontiguousarray(np.rot90(radiograph, quarters))
    return _resized(image, radiograph.shape)


def inverted(image: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """Black and white inverted, as some archives store images.

    >>> inverted(np.array([[0, 200]], np.uint8), np.random.default_rng(0)).tolist()
    [[255, 55]]
    """
    return 255 - image


def cropped(image: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """The middle half of each side, enlarged.

    >>> image = np.zeros((8, 8), np.uint8)
    >>> image[2:6, 2:6] = 9
    >>> np.unique(cropped(image, np.random.default_rng(0))).tolist()
    [9]
    """
    rows, cols = image.shape
    return _resized(image[rows // 4 : rows - rows // 4, cols // 4 : cols - cols // 4], image.shape)


def blurred(image: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """A Gaussian blur with a standard deviation of 3 % of the shorter side, like motion.

    >>> image = np.zeros((64, 64), np.uint8)
    >>> image[32, 32] = 255
    >>> blurred(image, np.random.default_rng(0))[32, 30:35].tolist()
    [7, 10, 11, 10, 7]
    """
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 0.03 * min(image.shape)))


def noise(image: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """Uniform noise, independent in each pixel.

    >>> image = noise(np.zeros((64, 64), np.uint8), np.random.default_rng(0))
    >>> image.shape, bool(120 < image.mean() < 135)
    ((64, 64), True)
    """
    return chance.integers(0, 256, image.shape, dtype=np.uint8)


def photograph(radiograph: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """A synthetic texture with the 1 / frequency spectrum of photographs (Field, J Opt Soc Am A 4, 1987) and a few
    overlapping uniform shapes.

    >>> image = photograph(np.zeros((32, 40), np.uint8), np.random.default_rng(0))
    >>> image.shape, int(image.min()), int(image.max())
    ((32, 40), 0, 255)
    """
    rows, cols = radiograph.shape
    image = _spectrum(rows, cols, chance)
    for _ in range(6):
        middle = (int(chance.integers(cols)), int(chance.integers(rows)))
        axes = (
            int(chance.integers(cols // 12 + 1, cols // 3 + 2)),
            int(chance.integers(rows // 12 + 1, rows // 3 + 2)),
        )
        shape = np.zeros((rows, cols), np.uint8)
        cv2.ellipse(shape, middle, axes, float(chance.uniform(0, 180)), 0, 360, 1, -1)
        image = np.where(shape > 0, 0.5 * image + 1.5 * chance.standard_normal(), image)
    return _stretched(image)


def limb(image: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """A synthetic forearm or lower leg: soft tissue with two long bones on black.

    >>> image = limb(np.zeros((32, 40), np.uint8), np.random.default_rng(0))
    >>> bool(image[:, :4].mean() < 10 < image[:, 15:25].mean())     # black beside it, tissue in the middle
    True
    """
    rows, cols = image.shape
    middle, lean = cols * chance.uniform(0.4, 0.6), cols * chance.uniform(-0.12, 0.12)
    ends = np.array([[middle - lean, -0.1 * rows], [middle + lean, 1.1 * rows]])
    absorbed = np.zeros((rows, cols), np.float32)
    absorbed += 0.45 * _stroke(absorbed.shape, ends, cols * chance.uniform(0.3, 0.45))
    for side, wide in ((-1, chance.uniform(0.09, 0.12)), (1, chance.uniform(0.05, 0.08))):
        shift = np.array([side * cols * 0.085, 0.0])
        absorbed += 0.35 * _stroke(absorbed.shape, ends + shift, cols * wide)
        absorbed -= 0.12 * _stroke(absorbed.shape, ends + shift, cols * wide * 0.45)  # the marrow
    absorbed = cv2.GaussianBlur(absorbed, (0, 0), 0.01 * cols)
    grain = 0.015 * chance.standard_normal((rows, cols))
    return np.clip(255 * (absorbed + grain), 0, 255).astype(np.uint8)


UNALTERED, UNALTERED_TITLE = "unaltered", "the same images unaltered"
"""The images that the kinds are made from."""

KINDS: dict[str, tuple[str, Make]] = {
    "rotated_90": ("rotated by 90 degrees", lambda image, chance: rotated(image, 1)),
    "rotated_180": ("rotated by 180 degrees", lambda image, chance: rotated(image, 2)),
    "inverted": ("black and white inverted", inverted),
    "cropped": ("middle half of each side, enlarged", cropped),
    "blurred": ("blurred (3 % of the side)", blurred),
    "noise": ("noise", noise),
    "photograph": ("synthetic photograph-like texture", photograph),
    "limb": ("synthetic image of a limb", limb),
}
"""Name -> title and how it is made from a healthy image."""


def ood_images(images: np.ndarray, kind: str, seed: int) -> np.ndarray:
    """uint8 "images rows cols" -> the same number of OOD images of one kind and the same size.

    >>> ood_images(np.zeros((2, 8, 8), np.uint8), "inverted", seed=0).min()
    np.uint8(255)
    """
    make = KINDS[kind][1]
    place = list(KINDS).index(kind)
    return np.stack(
        [make(image, np.random.default_rng([seed, place, number])) for number, image in enumerate(images)]
    )


def _resized(image: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if image.shape == shape:
        return image
    return np.asarray(cv2.resize(image, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR))


def _spectrum(rows: int, cols: int, chance: np.random.Generator) -> np.ndarray:
    """Gaussian noise whose amplitude falls as 1 / frequency, mean 0 and standard deviation 1."""
    frequency = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(cols)[None])
    frequency[0, 0] = np.inf
    waves = np.fft.rfft2(chance.standard_normal((rows, cols))) / frequency
    image = np.fft.irfft2(waves, (rows, cols))
    return image / max(float(image.std()), 1e-12)


def _stroke(shape: tuple[int, ...], line: np.ndarray, width: float) -> np.ndarray:
    """1 inside a straight band of this width, 0 outside, float32."""
    canvas = np.zeros(shape, np.float32)
    first, last = (tuple(round(value) for value in end) for end in line)
    cv2.line(canvas, first, last, 1.0, max(1, round(width)))
    return canvas


def _stretched(image: np.ndarray) -> np.ndarray:
    low, high = np.percentile(image, (1, 99))
    return np.clip(255 * (image - low) / max(high - low, 1e-12), 0, 255).astype(np.uint8)
