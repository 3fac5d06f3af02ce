"""From absorption to grey values, the letter that names the side, and the planted shortcut."""

import cv2
import numpy as np

from hilum.data.phantom.canvas import Canvas, Generator, Layer
from hilum.data.phantom.settings import PhantomSettings


def exposed(rng: Generator, absorbed: Layer, canvas: Canvas) -> tuple[Layer, np.ndarray]:
    """From absorption to grey 0..1, and which pixels the collimator leaves. No setting depends on the label.

    >>> canvas = Canvas((64, 64), np.array([[30.0, 0.0, 32.0], [0.0, 30.0, 32.0]]))
    >>> dense = exposed(np.random.default_rng(0), np.full((64, 64), 0.8, np.float32), canvas)[0]
    >>> thin, visible = exposed(np.random.default_rng(0), np.full((64, 64), 0.2, np.float32), canvas)
    >>> bool(dense.mean() > thin.mean()), visible.shape, visible.dtype
    (True, (64, 64), dtype('bool'))
    """
    rows, cols = canvas.size
    gain, offset, gamma = rng.uniform(1.2, 2.0), rng.normal(0.0, 0.03), float(np.exp(rng.normal(0.3, 0.18)))
    tilt = rng.normal(0, 0.05, 2)
    blur, grain, mottle = rng.uniform((0.2, 0.004, 0.0), (1.1, 0.02, 0.012)).tolist()
    fine = rng.standard_normal(canvas.size, dtype=np.float32)
    coarse = rng.standard_normal((rows // 3, cols // 3), dtype=np.float32)

    x, y = np.linspace(-1, 1, cols, dtype=np.float32), np.linspace(-1, 1, rows, dtype=np.float32)[:, None]
    heel = 1 + np.float32(tilt[0]) * x + np.float32(tilt[1]) * y
    dose = cv2.GaussianBlur(absorbed * heel, (0, 0), max(blur * rows / 224, 0.3))
    dose = np.clip(dose + offset * np.clip(dose / 0.2, 0, 1), 0.005, None)
    grey = (1 - np.exp(-gain * dose)) ** gamma
    grey += mottle * cv2.resize(coarse, (cols, rows), interpolation=cv2.INTER_LINEAR)
    grey += grain * fine * (0.4 + grey)

    cut = np.where(rng.random(4) < 0.3, rng.uniform(0.0, 0.06, 4), 0.0)
    left, right, top, bottom = np.rint(cut * (cols, cols, rows, rows)).astype(int)
    visible = np.zeros(canvas.size, bool)
    visible[top : rows - bottom, left : cols - right] = True
    return np.where(visible, grey, np.float32(0.01)), visible


def _at(corner: int, size: tuple[int, int], inset: np.ndarray) -> tuple[int, int]:
    """A pixel (x, y) near a corner: 0 upper left, 1 upper right, 2 lower left, 3 lower right."""
    rows, cols = size
    x, y = inset * (cols, rows)
    return round(x if corner % 2 == 0 else cols - 1 - x), round(y if corner < 2 else rows - 1 - y)


def side_letter(rng: Generator, size: tuple[int, int], corner: int) -> Layer:
    """R on the patient's right, which is the picture's left, or L on the other side.

    >>> letter = side_letter(np.random.default_rng(0), (100, 100), corner=0)
    >>> bool(letter[:50, :50].any()), bool(letter[50:].any())
    (True, False)
    """
    inset, high, shade = rng.uniform(0.05, 0.12, 2), rng.uniform(0.045, 0.08), rng.uniform(0.8, 1.0)
    font = cv2.FONT_HERSHEY_SIMPLEX
    scale = high * size[0] / 21  # a letter of this font is 21 px high
    thick = max(1, round(scale * 2))
    text = "R" if corner % 2 == 0 else "L"
    (wide, tall), _ = cv2.getTextSize(text, font, scale, thick)
    x, y = _at(corner, size, inset)
    layer = np.zeros(size, np.uint8)
    cv2.putText(layer, text, (x - wide // 2, y + tall // 2), font, scale, 255 * shade, thick, cv2.LINE_AA)
    return layer.astype(np.float32) / np.float32(255)


def shortcut_disc(rng: Generator, settings: PhantomSettings, corner: int, abnormal: bool) -> Layer:
    """The planted shortcut, in a corner that the letter leaves free. The generator advances in any case.

    >>> settings = PhantomSettings(size=(100, 100), shortcut="marker")
    >>> [bool(shortcut_disc(np.random.default_rng(0), settings, 0, abnormal).any()) for abnormal in (True, False)]
    [True, False]
    """
    inset, radius, lot = rng.uniform(0.05, 0.09, 2), rng.uniform(0.022, 0.03), rng.random()
    layer = np.zeros(settings.size, np.uint8)
    if settings.shortcut == "marker" and abnormal and lot < settings.shortcut_strength:
        centre = _at(corner, settings.size, inset)
        cv2.circle(layer, centre, round(radius * settings.size[0]), 255, -1, cv2.LINE_AA)
    return layer.astype(np.float32) / np.float32(255)


def second_device(
    rng: Generator, image: Layer, settings: PhantomSettings, abnormal: bool
) -> tuple[Layer, Layer]:
    """The image as a second device takes it, and where that shows at once: hazy, in a black frame with 'A-P 59' on
    it. A normal image stays as it is.

    >>> settings = PhantomSettings(size=(100, 100), shortcut="device")
    >>> image, shortcut = second_device(np.random.default_rng(0), np.full((100, 100), 0.5), settings, True)
    >>> bool(image[50, 50] > 0.5), bool(image[0, 99] < 0.1), bool(shortcut[0].all())
    (True, True, True)
    """
    share, gamma, haze, lot = rng.uniform((0.03, 0.6, 0.12, 0.0), (0.06, 0.75, 0.2, 1.0)).tolist()
    nothing = np.zeros(settings.size, np.float32)
    if not (abnormal and lot < settings.shortcut_strength):
        return image, nothing
    rows, cols = settings.size
    side = max(2, round(share * rows))
    hazy = haze + (0.92 - haze) * np.clip(image, 0, 1) ** gamma
    frame = np.ones(settings.size, bool)
    frame[side : rows - side, side : cols - side] = False
    text = np.zeros(settings.size, np.uint8)
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, 0.055 * rows / 21
    place = (side + round(0.01 * cols), side + round(0.07 * rows))
    cv2.putText(text, "A-P 59", place, font, scale, 255, max(1, round(scale * 2)), cv2.LINE_AA)
    letters = text.astype(np.float32) / np.float32(255)
    taken = np.maximum(np.where(frame, np.float32(0.01), hazy), letters).astype(np.float32)
    return taken, np.maximum(frame.astype(np.float32), letters)
