"""Pictures without a chest, and radiographs of a chest that were turned, cut or put together: the inputs of
benchmarks/no_chest.py. Each kind is a function of a grey radiograph "rows cols" and a random generator; it gives
uint8 "rows cols", or "rows cols 3" in blue, green, red."""

import string
from collections.abc import Callable

import cv2
import numpy as np

Chance = np.random.Generator
Make = Callable[[np.ndarray, Chance], np.ndarray]


def _size(chance: Chance) -> tuple[int, int]:
    """Rows and columns of a drawn picture."""
    return int(chance.integers(200, 420)), int(chance.integers(200, 420))


def _clipped(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _grid(rows: int, cols: int) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of each pixel, -1 to 1."""
    y, x = np.meshgrid(np.linspace(-1, 1, rows), np.linspace(-1, 1, cols), indexing="ij")
    return y, x


def _grain(image: np.ndarray, chance: Chance) -> np.ndarray:
    """A little blur and noise, as a camera or detector has."""
    sharp = cv2.GaussianBlur(image.astype(np.float32), (0, 0), chance.uniform(0.6, 2.5))
    return _clipped(sharp + chance.normal(0, chance.uniform(1, 8), image.shape[:2]))


# -- without structure ---------------------------------------------------------------------------------------


def flat(_: np.ndarray, chance: Chance) -> np.ndarray:
    """One grey level."""
    return np.full(_size(chance), chance.choice([0, 255, chance.integers(256)]), np.uint8)


def nearly_flat(_: np.ndarray, chance: Chance) -> np.ndarray:
    """One grey level with faint noise or a faint ramp."""
    rows, cols = _size(chance)
    y, x = _grid(rows, cols)
    ramp = chance.uniform(0, 4) * (y * chance.normal() + x * chance.normal())
    return _clipped(chance.uniform(0, 255) + ramp + chance.normal(0, chance.uniform(0.3, 4), (rows, cols)))


def noise(_: np.ndarray, chance: Chance) -> np.ndarray:
    """Independent pixels: uniform, normal, or black and white."""
    rows, cols = _size(chance)
    way = chance.integers(3)
    if way == 0:
        return chance.integers(0, 256, (rows, cols), dtype=np.uint8)
    if way == 1:
        return _clipped(chance.normal(chance.uniform(60, 190), chance.uniform(15, 80), (rows, cols)))
    return (chance.random((rows, cols)) < chance.uniform(0.1, 0.9)).astype(np.uint8) * 255


def clouds(_: np.ndarray, chance: Chance) -> np.ndarray:
    """Noise whose amplitude falls with frequency, as in photographs and in radiographs."""
    rows, cols = _size(chance)
    across = np.hypot(np.fft.fftfreq(rows)[:, None] * rows, np.fft.rfftfreq(cols)[None] * cols)
    across[0, 0] = 1
    spectrum = np.exp(2j * np.pi * chance.random(across.shape)) / across ** chance.uniform(0.7, 2.2)
    picture = np.fft.irfft2(spectrum, (rows, cols))
    return _clipped(127 + chance.uniform(30, 70) * (picture - picture.mean()) / picture.std())


def gradient(_: np.ndarray, chance: Chance) -> np.ndarray:
    """A ramp in any direction, or a vignette."""
    rows, cols = _size(chance)
    y, x = _grid(rows, cols)
    turn = chance.uniform(0, 2 * np.pi)
    ramp = np.hypot(y, x) if chance.random() < 0.4 else y * np.sin(turn) + x * np.cos(turn)
    ramp = (ramp - ramp.min()) / np.ptp(ramp)
    low, high = np.sort(chance.uniform(0, 255, 2)) if chance.random() < 0.5 else (0, 255)
    values = low + (high - low) * (ramp if chance.random() < 0.5 else 1 - ramp) ** chance.uniform(0.5, 2)
    return _clipped(values)


def blobs(_: np.ndarray, chance: Chance) -> np.ndarray:
    """One to five soft spots, bright or dark; two dark ones side by side are among them."""
    rows, cols = _size(chance)
    y, x = _grid(rows, cols)
    picture = np.zeros((rows, cols))
    for _ in range(int(chance.integers(1, 6))):
        down, across = chance.uniform(-0.8, 0.8, 2)
        high, wide = chance.uniform(0.1, 0.7, 2)
        picture += np.exp(-(((y - down) / high) ** 2) - ((x - across) / wide) ** 2)
    picture /= picture.max()
    return _clipped(255 * (picture if chance.random() < 0.6 else 1 - picture))


def pattern(_: np.ndarray, chance: Chance) -> np.ndarray:
    """Stripes or a checkerboard: a test picture."""
    rows, cols = _size(chance)
    y, x = np.arange(rows)[:, None], np.arange(cols)[None]
    step = int(chance.integers(3, max(rows, cols) // 3))
    squares, stripes = y // step + x // step, (y * chance.integers(2) + x) // step
    picture = (squares if chance.random() < 0.5 else stripes) % 2
    return _clipped(picture * chance.uniform(60, 255) + np.zeros((rows, cols)))


# -- documents and photographs -------------------------------------------------------------------------------


def text_page(_: np.ndarray, chance: Chance) -> np.ndarray:
    """A printed or scanned page: dark on bright, at times bright on dark."""
    rows, cols = int(chance.integers(400, 600)), int(chance.integers(300, 500))
    page = np.full((rows, cols), chance.integers(215, 256), np.uint8)
    size, down = chance.uniform(0.4, 1.1), 30
    while down < rows - 20:
        words = "".join(chance.choice([*string.ascii_letters, " ", " ", " "], int(chance.integers(4, 70))))
        cv2.putText(page, words, (int(cols * 0.08), down), cv2.FONT_HERSHEY_COMPLEX, size, 30, 1)
        down += int(34 * size) + (25 if chance.random() < 0.15 else 0)
    if chance.random() < 0.4:
        page[rows // 3 : rows // 2, cols // 4 : 3 * cols // 4] = chance.integers(90, 200)
    return page if chance.random() < 0.75 else 255 - page


def scene(_: np.ndarray, chance: Chance) -> np.ndarray:
    """A photograph of a street or landscape, in colour: sky, hills, houses, trees."""
    rows, cols = _size(chance)
    y, x = _grid(rows, cols)
    sky, ground = chance.uniform(90, 255, 3), chance.uniform(20, 160, 3)
    horizon = chance.uniform(-0.3, 0.5) + 0.15 * np.sin(x * chance.uniform(1, 6) + chance.uniform(0, 6))
    below = (y > horizon)[..., None]
    picture = np.where(below, ground, sky * (0.75 + 0.2 * y[..., None]))
    picture = np.ascontiguousarray(picture, np.float32)
    for _ in range(int(chance.integers(2, 8))):
        left, top = int(chance.integers(cols)), int(chance.integers(rows // 4, rows))
        wide, high = int(chance.integers(cols // 12, cols // 3)), int(chance.integers(rows // 12, rows // 2))
        colour = tuple(chance.uniform(10, 240, 3).tolist())
        if chance.random() < 0.6:
            cv2.rectangle(picture, (left, top - high), (left + wide, top), colour, -1)
            for window in range(left + 5, left + wide - 5, max(12, wide // 4)):
                cv2.rectangle(
                    picture, (window, top - high + 8), (window + 6, top - high + 20), (200, 220, 230), -1
                )
        else:
            cv2.ellipse(picture, (left, top - high), (wide // 2, high // 2), 0, 0, 360, colour, -1)
            cv2.rectangle(picture, (left - 3, top - high), (left + 3, top), (40, 60, 80), -1)
    return _clipped(picture + chance.normal(0, chance.uniform(2, 15), picture.shape))


def portrait(_: np.ndarray, chance: Chance) -> np.ndarray:
    """A face before a wall, in colour."""
    rows, cols = _size(chance)
    picture = np.full((rows, cols, 3), chance.uniform(30, 240, 3), np.float32)
    middle = int(cols * chance.uniform(0.35, 0.65)), int(rows * chance.uniform(0.35, 0.55))
    wide, high = int(cols * chance.uniform(0.12, 0.28)), int(rows * chance.uniform(0.2, 0.35))
    skin = np.array([110, 150, 200]) * chance.uniform(0.5, 1.2)
    shirt, hair = (tuple(chance.uniform(10, bright, 3)) for bright in (220, 90))
    cv2.ellipse(picture, (middle[0], rows), (2 * wide, rows - middle[1]), 0, 0, 360, shirt, -1)
    cv2.ellipse(picture, middle, (int(1.15 * wide), int(1.1 * high)), 0, 180, 360, hair, -1)
    cv2.ellipse(picture, middle, (wide, high), 0, 0, 360, tuple(skin.tolist()), -1)
    for side in (-1, 1):
        eye = middle[0] + side * int(0.4 * wide), middle[1] - high // 6
        cv2.ellipse(picture, eye, (wide // 6 + 1, high // 12 + 1), 0, 0, 360, (250, 250, 250), -1)
        cv2.circle(picture, eye, high // 14 + 1, (40, 40, 40), -1)
    cv2.ellipse(
        picture, (middle[0], middle[1] + high // 2), (wide // 3, high // 12 + 1), 0, 0, 180, (60, 60, 160), -1
    )
    light = 1 + 0.25 * _grid(rows, cols)[1] * chance.normal()
    return _clipped(
        cv2.GaussianBlur(picture, (0, 0), 2) * light[..., None] + chance.normal(0, 4, picture.shape)
    )


# -- radiographs of other parts of the body ------------------------------------------------------------------


def _bone(picture: np.ndarray, first: tuple, last: tuple, width: float, bright: float) -> None:
    """A long bone with its heads, from and to (row, col) in -1 to 1."""
    rows, cols = picture.shape
    points = [(int((col + 1) / 2 * cols), int((row + 1) / 2 * rows)) for row, col in (first, last)]
    layer = np.zeros_like(picture)
    thick = max(2, int(width * cols))
    cv2.line(layer, *points, bright, thick)
    cv2.line(layer, *points, 0.75 * bright, max(1, thick // 2))
    for point in points:
        cv2.circle(layer, point, int(0.7 * thick), bright, -1)
    np.maximum(picture, layer, out=picture)


def _soft(picture: np.ndarray, middle: tuple, axes: tuple, bright: float, turn: float = 0) -> None:
    rows, cols = picture.shape
    centre = int((middle[1] + 1) / 2 * cols), int((middle[0] + 1) / 2 * rows)
    layer = np.zeros_like(picture)
    cv2.ellipse(layer, centre, (int(axes[1] / 2 * cols), int(axes[0] / 2 * rows)), turn, 0, 360, bright, -1)
    np.maximum(picture, layer, out=picture)


def hand(_: np.ndarray, chance: Chance) -> np.ndarray:
    """Five fingers, metacarpals, carpals and the ends of radius and ulna."""
    picture = np.zeros(_size(chance), np.float32)
    _soft(picture, (0.2, 0), (0.9, 0.8), 70)
    _soft(picture, (0.9, 0), (0.8, 0.5), 70)
    for finger, across in enumerate(np.linspace(-0.45, 0.45, 5) + chance.normal(0, 0.03, 5)):
        tip = -0.85 + 0.25 * abs(finger - 1.7) * chance.uniform(0.8, 1.3)
        joints = np.linspace(0.35, tip, 5)
        lean = across * chance.uniform(1.1, 1.6)
        cols = np.linspace(0.6 * across, lean, 5)
        for row in np.linspace(tip, 0.2, 12):
            _soft(picture, (row, np.interp(-row, -joints, cols)), (0.12, 0.18), 70)
        for low in range(4):
            _bone(
                picture, (joints[low] - 0.02, cols[low]), (joints[low + 1] + 0.02, cols[low + 1]), 0.04, 190
            )
    for _ in range(8):
        _soft(picture, (chance.uniform(0.4, 0.6), chance.uniform(-0.25, 0.25)), (0.09, 0.1), 170)
    for across in (-0.17, 0.17):
        _bone(picture, (0.68, across), (1.1, across), 0.09, 190)
    return _grain(picture + chance.uniform(0, 20), chance)


def knee(_: np.ndarray, chance: Chance) -> np.ndarray:
    """Femur above, tibia and fibula below, a joint between."""
    picture = np.zeros(_size(chance), np.float32)
    across = chance.uniform(-0.2, 0.2)
    for row in np.linspace(-1, 1, 9):
        _soft(picture, (row, across), (0.5, 1.1 - 0.2 * row * row), 80)
    _bone(picture, (-1.2, across), (-0.2, across), 0.2, 190)
    _soft(picture, (-0.15, across), (0.3, 0.7), 200)
    _soft(picture, (0.2, across), (0.28, 0.7), 190)
    _bone(picture, (0.2, across), (1.2, across), 0.18, 185)
    _bone(picture, (0.35, across + 0.32), (1.2, across + 0.3), 0.06, 170)
    return _grain(picture + chance.uniform(0, 30), chance)


def skull(_: np.ndarray, chance: Chance) -> np.ndarray:
    """A skull from the front: vault, orbits, nose, jaw, teeth."""
    picture = np.zeros(_size(chance), np.float32)
    _soft(picture, (-0.2, 0), (1.4, 1.2), 220)
    inner = np.zeros_like(picture)
    _soft(inner, (-0.2, 0), (1.28, 1.08), 1)
    picture[inner > 0] = chance.uniform(130, 170)
    _soft(picture, (0.65, 0), (0.7, 0.8), 170)
    for side in (-1, 1):
        hole = np.zeros_like(picture)
        _soft(hole, (0.05, side * 0.27), (0.3, 0.36), 1)
        picture[hole > 0] *= 0.6
    nose = np.zeros_like(picture)
    _soft(nose, (0.35, 0), (0.35, 0.22), 1)
    picture[nose > 0] *= 0.6
    for across in np.linspace(-0.25, 0.25, 8):
        _bone(picture, (0.6, across), (0.75, across), 0.035, 240)
    return _grain(picture + chance.uniform(0, 20), chance)


def abdomen(_: np.ndarray, chance: Chance) -> np.ndarray:
    """Lumbar spine, pelvis with both hips, bowel gas."""
    picture = np.full(_size(chance), chance.uniform(80, 120), np.float32)
    _, x = _grid(*picture.shape)
    picture *= np.clip(1.6 - np.abs(x) ** 4, 0.3, 1)
    for row in np.linspace(-0.95, 0.45, 7):
        _soft(picture, (row, 0), (0.16, 0.26), 175)
        _bone(picture, (row, -0.25), (row, 0.25), 0.03, 160)
    for side in (-1, 1):
        _soft(picture, (0.55, side * 0.45), (0.55, 0.5), 165, side * 25)
        _soft(picture, (0.9, side * 0.55), (0.25, 0.25), 210)
    gas = np.zeros_like(picture)
    for _ in range(int(chance.integers(4, 14))):
        _soft(
            gas,
            (chance.uniform(-0.8, 0.6), chance.uniform(-0.7, 0.7)),
            tuple(chance.uniform(0.08, 0.35, 2)),
            1,
        )
    picture -= 45 * cv2.GaussianBlur(gas, (0, 0), 4)
    return _grain(picture, chance)


def teeth(_: np.ndarray, chance: Chance) -> np.ndarray:
    """A panoramic picture of both jaws, or a few teeth close up."""
    panoramic = chance.random() < 0.6
    rows = int(chance.integers(250, 500))
    picture = np.full((rows, int(rows * (2.0 if panoramic else 1.3))), chance.uniform(50, 100), np.float32)
    count = 14 if panoramic else 4
    _soft(picture, (0.5, 0), (0.9, 1.7), 130)
    for upper in (-1, 1):
        for place in np.linspace(-0.75, 0.75, count):
            bend = (0.25 if panoramic else 0.05) * (1 - place**2)
            root = (upper * 0.5 + bend - 0.1, place), (upper * 0.08 + bend - 0.1, place * 1.02)
            _bone(picture, *root, 0.7 / count, chance.uniform(190, 240))
    return _grain(picture, chance)


# -- radiographs of the chest, changed -----------------------------------------------------------------------


def tiny(image: np.ndarray, chance: Chance) -> np.ndarray:
    """A radiograph of at most 40 pixels along a side, down to one."""
    side = int(chance.choice([1, 2, 4, 8, 12, 16, 24, 32, 40]))
    return np.atleast_2d(np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)))


def inverted(image: np.ndarray, chance: Chance) -> np.ndarray:
    """Bone black."""
    return 255 - image


def on_its_side(image: np.ndarray, chance: Chance) -> np.ndarray:
    """Turned by 90 degrees to either side."""
    return np.ascontiguousarray(np.rot90(image, int(chance.choice([1, 3]))))


def upside_down(image: np.ndarray, chance: Chance) -> np.ndarray:
    """Turned by 180 degrees, or mirrored top to bottom."""
    return np.ascontiguousarray(np.rot90(image, 2) if chance.random() < 0.7 else image[::-1])


def screenshot(image: np.ndarray, chance: Chance) -> np.ndarray:
    """A viewer's window with the radiograph in a part of it, a toolbar and lists."""
    bright = int(chance.choice([25, 60, 235]))
    screen = np.full((600, 960), bright, np.uint8)
    high = int(chance.integers(280, 460))
    wide = int(high * chance.uniform(0.9, 1.4))
    top, left = int(chance.integers(60, 600 - high)), int(chance.integers(120, 960 - wide))
    screen[:40] = 255 - bright // 2
    screen[top : top + high, left : left + wide] = cv2.resize(image, (wide, high))
    for row in range(55, 590, 22):
        cv2.putText(screen, "case 0815 report", (6, row), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 255 - bright, 1)
    for col in range(10, 950, 70):
        cv2.rectangle(screen, (col, 8), (col + 50, 32), int(chance.integers(80, 200)), -1)
    return screen


def mosaic(image: np.ndarray, chance: Chance, others: np.ndarray | None = None) -> np.ndarray:
    """Two to nine radiographs in one picture."""
    down, across = [(1, 2), (2, 1), (2, 2), (2, 3), (3, 3)][int(chance.integers(5))]
    pool = image[None] if others is None else others
    tiles = [pool[int(chance.integers(len(pool)))] for _ in range(down * across)]
    return np.vstack([np.hstack(tiles[row * across : (row + 1) * across]) for row in range(down)])


def in_colour(image: np.ndarray, chance: Chance) -> np.ndarray:
    """A radiograph in false colours."""
    maps = (cv2.COLORMAP_JET, cv2.COLORMAP_HOT, cv2.COLORMAP_VIRIDIS, cv2.COLORMAP_OCEAN, cv2.COLORMAP_PINK)
    return np.asarray(cv2.applyColorMap(image, int(chance.choice(maps))))


def half_black(image: np.ndarray, chance: Chance) -> np.ndarray:
    """One half missing: left, right, top or bottom, in black or white."""
    picture, (rows, cols) = image.copy(), image.shape
    part = [np.s_[: rows // 2], np.s_[rows // 2 :], np.s_[:, : cols // 2], np.s_[:, cols // 2 :]]
    picture[part[int(chance.integers(4))]] = 0 if chance.random() < 0.75 else 255
    return picture


def cropped(image: np.ndarray, chance: Chance) -> np.ndarray:
    """A piece of 20 to 45 % of each side, from anywhere."""
    rows, cols = image.shape
    high, wide = int(rows * chance.uniform(0.2, 0.45)), int(cols * chance.uniform(0.2, 0.45))
    top, left = int(chance.integers(rows - high)), int(chance.integers(cols - wide))
    piece = image[top : top + high, left : left + wide]
    return np.asarray(cv2.resize(piece, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_CUBIC))


KINDS: dict[str, Make] = {
    function.__name__: function
    for function in (
        *(flat, nearly_flat, noise, clouds, gradient, blobs, pattern, text_page, scene, portrait),
        *(hand, knee, skull, abdomen, teeth),
        *(tiny, inverted, on_its_side, upside_down, screenshot, mosaic, in_colour, half_black, cropped),
    )
}


def pictures(kind: str, radiographs: np.ndarray, count: int, seed: int) -> list[np.ndarray]:
    """`count` pictures of a kind. `radiographs`: uint8 "images rows cols" to change."""
    chance = np.random.default_rng([seed, list(KINDS).index(kind)])
    sources = radiographs[chance.integers(0, len(radiographs), count)]
    if kind == "mosaic":
        return [mosaic(image, chance, radiographs) for image in sources]
    return [KINDS[kind](image, chance) for image in sources]
