"""Synthetic opacities: the appearance of pneumonia, added to healthy images, so that a network can learn to find it
without an abnormal image.

A lung full of fluid absorbs as much of the X-rays as the heart. So a synthetic opacity moves the smooth part of the
image towards the grey of soft tissue and fades the fine part, the vessels; ribs stay. The shapes follow radiology
textbooks: lobar and segmental consolidation with a soft border, patches scattered over both
lungs, haze, streaks along the bronchi around the hila, fluid at the bottom, and one whole white lung. A
pasted piece of another position (Li et al., "CutPaste", CVPR 2021) stands for everything else.

Distractors (a letter, a wire, a disc) are added to images with and without an opacity alike: they are no disease.
"""

import math
from collections.abc import Callable

import cv2
import numpy as np

from hilum.anomaly.lungs import Layer, Lungs, soft

Generator = np.random.Generator


def lung_field(image: np.ndarray) -> np.ndarray:
    """uint8 "rows cols" of a healthy image -> bool of the same shape: the air-filled lungs.

    Lungs are darker than their surroundings, lie within the body, and are large: what is dark and joined to
    the upper or a lateral border is air around the child. On an abnormal image only the part that still holds air
    is found. All False where nothing fits.

    >>> bool(lung_field(np.full((64, 64), 90, np.uint8)).any())
    False
    """
    rows, cols = image.shape
    side = min(rows, cols)
    smooth = cv2.GaussianBlur(image.astype(np.float32) / 255, (0, 0), 0.012 * side)
    middle = smooth[rows // 4 : rows - rows // 4, cols // 4 : cols - cols // 4]
    _, parts = cv2.connectedComponents((smooth < 0.6 * np.median(middle)).astype(np.uint8))
    touching = np.unique(np.concatenate([parts[0], parts[:, 0], parts[:, -1]]))
    outside = np.isin(parts, touching[touching > 0])
    body = (~outside).astype(np.float32)
    reach = 0.14 * side
    around = cv2.GaussianBlur(smooth * body, (0, 0), reach) / np.maximum(
        cv2.GaussianBlur(body, (0, 0), reach), 1e-3
    )
    y, x = _grid(rows, cols)
    chest = (np.abs(x - 0.5) < 0.43) & (y > 0.1) & (y < 0.88)
    dark = ((smooth < around - 0.01) & ~outside & chest).astype(np.uint8)
    width = max(3, int(0.04 * side) | 1)
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    dark = cv2.morphologyEx(cv2.morphologyEx(dark, cv2.MORPH_CLOSE, brush), cv2.MORPH_OPEN, brush)
    _, parts, numbers, centres = cv2.connectedComponentsWithStats(np.asarray(dark))
    areas = numbers[:, cv2.CC_STAT_AREA]
    lungs = np.zeros((rows, cols), bool)
    for part in np.argsort(-areas[1:], kind="stable")[:2] + 1:
        central = 0.2 < centres[part, 1] / rows < 0.75
        if central and areas[part] > max(0.02 * rows * cols, 0.25 * areas[1:].max()):
            lungs |= parts == part
    return lungs


def add_opacity(
    radiograph: np.ndarray, lung: np.ndarray | Lungs, chance: Generator, other: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """A radiograph with a synthetic opacity, and the strength of the opacity at each pixel.

    radiograph: uint8 "rows cols"; lung: its `lung_field`, or `Lungs` of it, which is quicker for many opacities;
    other: a radiograph that a piece may be pasted from (itself when None). Returns the changed radiograph, uint8,
    and the strength, uint8, 0 where nothing was changed and 255
    where the lung is as dense as soft tissue. Pixels of strength 0 are unchanged.

    >>> image, lung = np.full((64, 64), 90, np.uint8), np.zeros((64, 64), bool)
    >>> lung[20:44, 8:28] = True
    >>> changed, strength = add_opacity(image, lung, np.random.default_rng(0))
    >>> bool((changed[strength == 0] == 90).all())
    True
    """
    lung = lung if isinstance(lung, Lungs) else Lungs(lung)
    image = radiograph.astype(np.float32) / 255
    if not len(lung.pixels[0]):
        return _pasted(radiograph, radiograph if other is None else other, chance)
    if chance.random() < 0.1:
        return _pasted(radiograph, radiograph if other is None else other, chance)
    strength = np.zeros(radiograph.shape, np.float32)
    streaks = np.zeros(radiograph.shape, np.float32)
    kinds = [_KINDS[chance.choice(len(_KINDS), p=_SHARES)] for _ in range(1 + int(chance.random() < 0.3))]
    for kind in kinds:
        strength = 1 - (1 - strength) * (1 - kind(lung, chance))
    if _interstitial in kinds or chance.random() < 0.35:
        streaks = _streaks(lung, chance)
    side = min(radiograph.shape)
    tissue = _tissue_grey(image, lung) + chance.uniform(-0.05, 0.05)
    smooth = cv2.GaussianBlur(image, (0, 0), chance.uniform(0.01, 0.03) * side)
    fine = image - smooth
    fade = 1 - strength * chance.uniform(0.2, 0.9)
    denser = smooth + strength * np.maximum(tissue - smooth, 0)
    changed = denser + fine * fade + streaks
    strength = np.clip(strength + 3 * np.abs(streaks), 0, 1)
    strength = np.where(strength < 0.02, 0, strength)
    changed = np.where(strength > 0, changed, image)
    return _to_uint8(changed), _to_uint8(strength)


def add_distractor(image: np.ndarray, chance: Generator) -> np.ndarray:
    """uint8 -> uint8: adds a letter, a wire or a metal disc, as they occur on healthy and abnormal images.

    >>> image = np.zeros((64, 64), np.uint8)
    >>> add_distractor(image, np.random.default_rng(0)).max() > 0
    np.True_
    """
    image = image.copy()
    rows, cols = image.shape
    side = min(rows, cols)
    bright = int(chance.integers(170, 256))
    kind = chance.integers(3)
    if kind == 0:
        where = (int(chance.uniform(0, 0.9) * cols), int(chance.uniform(0.05, 0.4) * rows))
        letter = "RLAP"[chance.integers(4)]
        cv2.putText(
            image, letter, where, cv2.FONT_HERSHEY_SIMPLEX, chance.uniform(0.15, 0.5) * side / 128, bright
        )
    elif kind == 1:
        x = chance.uniform(0.1, 0.9, 4) * cols
        y = np.sort(chance.uniform(0, 1, 4)) * rows
        t = np.linspace(0, 1, 40)[:, None]
        weights = np.hstack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3])
        curve = np.rint(weights @ np.column_stack([x, y])).astype(np.int32)
        over = image.copy()
        cv2.polylines(over, [curve], False, bright, 1, cv2.LINE_AA)
        image = cv2.addWeighted(image, 0.5, over, 0.5, 0)
    else:
        where = (int(chance.uniform(0.1, 0.9) * cols), int(chance.uniform(0.1, 0.9) * rows))
        cv2.circle(image, where, max(1, int(chance.uniform(0.01, 0.025) * side)), bright, -1, cv2.LINE_AA)
    return np.asarray(image)


def ood_image(image: np.ndarray, chance: Generator) -> tuple[np.ndarray, np.ndarray]:
    """An image that is no upright chest radiograph: noise, a negative, a rotated image, a shuffled one, or a
    gradient. uint8 -> the image and a strength of one half everywhere, uint8.

    >>> image, strength = ood_image(np.zeros((8, 8), np.uint8), np.random.default_rng(0))
    >>> image.shape, int(strength[0, 0])
    ((8, 8), 128)
    """
    kind = int(chance.integers(5))
    rows, cols = image.shape
    if kind == 0:
        grain = _noise(image.shape, chance.uniform(0.5, 0.1 * min(rows, cols)), chance)
        made = _to_uint8(0.5 + chance.uniform(0.1, 0.4) * grain)
    elif kind == 1:
        made = 255 - image
    elif kind == 2:
        turns = int(chance.integers(1, 4))
        made = np.asarray(cv2.resize(np.rot90(image, turns), (cols, rows)))
    elif kind == 3:
        made = np.roll(image, (rows // 2, cols // 2), (0, 1))
    else:
        y, x = _grid(rows, cols)
        made = _to_uint8(chance.uniform() + chance.uniform(-1, 1) * y + chance.uniform(-1, 1) * x)
    return np.ascontiguousarray(made), np.full_like(image, 128)


# -- shapes: float32 "rows cols" in 0..1, the strength of the opacity ----------------------------------------


def _consolidation(lung: Lungs, chance: Generator) -> Layer:
    """One lobe or segment: a crumpled ellipse with a soft border, dense, sometimes cut by a fissure."""
    return _blob(lung, chance, chance.uniform(0.08, 0.26), chance.uniform(0.3, 1.0), spill=True)


def _patches(lung: Lungs, chance: Generator) -> Layer:
    """Bronchopneumonia: several small soft patches in both lungs."""
    clear = np.ones(lung.shape, np.float32)
    for _ in range(int(chance.integers(3, 9))):
        clear *= 1 - _blob(lung, chance, chance.uniform(0.03, 0.09), chance.uniform(0.2, 0.7), spill=False)
    return 1 - clear


def _haze(lung: Lungs, chance: Generator) -> Layer:
    """Ground glass over one or both lungs: weak, and uneven on a large scale."""
    side = lung.side
    where = soft(_some_lungs(lung, chance, both=0.75).mask, chance.uniform(0.01, 0.04) * side)
    uneven = 0.65 + 0.35 * _noise(lung.shape, chance.uniform(0.1, 0.3) * side, chance)
    return np.clip(where * uneven * chance.uniform(0.2, 0.75), 0, 1)


def _interstitial(lung: Lungs, chance: Generator) -> Layer:
    """Perihilar haze of both lungs; `add_opacity` lays streaks over it."""
    y, x = _grid(*lung.shape)
    hilum = chance.uniform(0.4, 0.6)
    near = np.exp(-(((x - 0.5) / chance.uniform(0.15, 0.3)) ** 2) - ((y - hilum) / 0.25) ** 2)
    side = lung.side
    uneven = 0.6 + 0.4 * _noise(lung.shape, 0.05 * side, chance)
    wide = cv2.dilate(lung.mask.astype(np.uint8), np.ones((3, 3), np.uint8))
    return np.clip(soft(wide, 0.015 * side) * near * uneven * chance.uniform(0.25, 0.85), 0, 1).astype(
        np.float32
    )


def _hilar(lung: Lungs, chance: Generator) -> Layer:
    """Swollen hila and cuffed bronchi: patches along the inner border of one or both lungs, spilling over the
    edge of the heart."""
    both = chance.random() < 0.7
    inner = _some_lungs(lung, chance, both=1.0 if both else 0.0).inner
    clear = np.ones(lung.shape, np.float32)
    for _ in range(int(chance.integers(2, 7))):
        radius, strength = chance.uniform(0.03, 0.12), chance.uniform(0.25, 0.9)
        clear *= 1 - _blob(lung, chance, radius, strength, spill=True, centres=inner)
    return 1 - clear


def _effusion(lung: Lungs, chance: Generator) -> Layer:
    """Fluid, or a dense lower lobe, from the bottom of one lung up: the diaphragm vanishes."""
    side_lung = _some_lungs(lung, chance, both=0.15)
    rows = np.flatnonzero(side_lung.mask.any(1))
    low, high = rows[-1], rows[0]
    level = low - chance.uniform(0.15, 0.7) * (low - high)
    side = lung.side
    y = np.arange(lung.shape[0])[:, None] + chance.uniform(-0.4, 0.4) * np.arange(lung.shape[1])[None]
    y = y - y[:, lung.mask.any(0)].mean() + np.arange(lung.shape[0]).mean()
    rising = 1 / (1 + np.exp(-(y - level) / (chance.uniform(0.01, 0.06) * side)))
    return (soft(side_lung.mask, 0.012 * side) * rising * chance.uniform(0.4, 1.0)).astype(np.float32)


def _white_lung(lung: Lungs, chance: Generator) -> Layer:
    """Nearly all of one lung."""
    uneven = 0.85 + 0.15 * _noise(lung.shape, 0.15 * lung.side, chance)
    return np.clip(_some_lungs(lung, chance, both=0.2).inside * uneven * chance.uniform(0.5, 1.0), 0, 1)


_KINDS: tuple[Callable[[Lungs, Generator], Layer], ...] = (
    _consolidation,
    _patches,
    _haze,
    _interstitial,
    _hilar,
    _effusion,
    _white_lung,
)
_SHARES = (0.25, 0.12, 0.16, 0.18, 0.17, 0.07, 0.05)


def _blob(
    lung: Lungs,
    chance: Generator,
    radius: float,
    strength: float,
    spill: bool,
    centres: Lungs | None = None,
) -> Layer:
    side = lung.side
    ys, xs = (centres or lung).pixels
    pick = int(chance.integers(len(ys)))
    y, x = (np.arange(count, dtype=np.float32) for count in lung.shape)
    turn = chance.uniform(0, np.pi)
    stretch = np.exp(chance.uniform(-0.5, 0.5))
    dy, dx = (y - ys[pick])[:, None] / (radius * side), (x - xs[pick]) / (radius * side)
    u, v = np.cos(turn) * dx + np.sin(turn) * dy, -np.sin(turn) * dx + np.cos(turn) * dy
    radius_here = np.sqrt((u * stretch) ** 2 + (v / stretch) ** 2)
    radius_here += chance.uniform(0.1, 0.5) * _noise(
        lung.shape, chance.uniform(0.3, 0.8) * radius * side, chance
    )
    border = chance.uniform(0.05, 0.35)
    shape = 1 / (1 + np.exp(np.clip((radius_here - 1) / border, -30, 30)))
    if spill and chance.random() < 0.3:  # a fissure: one straight sharp border
        angle = chance.uniform(0, 2 * np.pi)
        shape /= 1 + np.exp(np.clip(-(np.cos(angle) * dx + np.sin(angle) * dy + 0.3) / 0.08, -30, 30))
    uneven = 1 + chance.uniform(0, 0.4) * _noise(lung.shape, 0.03 * side, chance)
    where = lung.reach if spill else lung.inside
    return np.clip(shape * uneven * strength * where, 0, 1).astype(np.float32)


def _streaks(lung: Lungs, chance: Generator) -> Layer:
    """Thickened markings: a net of thin ridges in noise, and bronchi that run out from the hila."""
    side = lung.side
    grain = _noise(lung.shape, max(chance.uniform(0.006, 0.018) * side, 0.6), chance)
    net = np.clip(1 - 2.5 * np.abs(grain), -0.5, 1)
    level = chance.uniform(0.2, 1)
    both = level * net + (1.2 - level) * _bronchi(lung, chance)
    _, x = _grid(*lung.shape)
    near = np.exp(-(((x - 0.5) / chance.uniform(0.15, 0.5)) ** 2))
    patchy = np.clip(0.6 + 0.6 * _noise(lung.shape, 0.12 * side, chance), 0, 1)
    return (soft(lung.mask, 0.01 * side) * near * patchy * both * chance.uniform(0.03, 0.11)).astype(
        np.float32
    )


def _bronchi(lung: Lungs, chance: Generator) -> Layer:
    """Lines from both hila towards the edge of the lung, the inner ones thicker, 0..1."""
    rows, cols = lung.shape
    side = min(rows, cols)
    canvas = np.zeros((rows, cols), np.uint8)
    ys, xs = lung.inner.pixels
    for _ in range(int(chance.integers(10, 40))):
        pick = int(chance.integers(len(ys)))
        x, y = float(xs[pick]), float(ys[pick])
        outwards = float(np.sign(x - cols / 2)) or 1.0
        heading = chance.normal(0, 0.8)
        points = [(x, y)]
        for turn in chance.normal(0, 0.25, int(chance.integers(3, 8))).tolist():
            heading += turn
            x += 0.04 * side * (outwards * math.cos(heading))
            y += 0.04 * side * math.sin(heading)
            points.append((x, y))
        line = np.rint(points).astype(np.int32)
        thick = 1 + int(chance.random() < 0.4 * side / 128)
        cv2.polylines(canvas, [line], False, int(chance.integers(120, 256)), thick, cv2.LINE_AA)
    return soft(canvas, chance.uniform(0.003, 0.01) * side) / 255


def _pasted(image: np.ndarray, other: np.ndarray, chance: Generator) -> tuple[np.ndarray, np.ndarray]:
    """A piece of another place, and perhaps of another image, brighter or darker, with a soft border."""
    rows, cols = image.shape
    high, wide = (max(4, int(chance.uniform(0.08, 0.3) * side)) for side in (rows, cols))
    top, left = int(chance.integers(rows - high + 1)), int(chance.integers(cols - wide + 1))
    top = int(np.clip(top, rows // 8, max(rows // 8, rows - high - rows // 8)))
    left = int(np.clip(left, cols // 8, max(cols // 8, cols - wide - cols // 8)))
    y, x = int(chance.integers(rows - high + 1)), int(chance.integers(cols - wide + 1))
    mask = np.zeros(image.shape, np.float32)
    mask[top : top + high, left : left + wide] = 1
    mask = np.minimum(soft(mask, chance.uniform(0.005, 0.03) * min(rows, cols)), 1)
    mask = np.where(mask < 0.02, 0, mask) * chance.uniform(0.5, 1)
    piece = image.astype(np.float32)
    piece[top : top + high, left : left + wide] = other[y : y + high, x : x + wide]
    piece = piece * np.exp(chance.uniform(-0.3, 0.3))
    changed = image + mask * (piece - image)
    return np.rint(np.clip(changed, 0, 255)).astype(np.uint8), _to_uint8(mask)


# -- pieces ------------------------------------------------------------------------------------------------


def _grid(rows: int, cols: int) -> tuple[np.ndarray, np.ndarray]:
    """y and x of the pixel centres as shares of the sides, broadcastable."""
    return (np.arange(rows)[:, None] + 0.5) / rows, (np.arange(cols)[None] + 0.5) / cols


def _noise(shape: tuple[int, ...], scale: float, chance: Generator) -> Layer:
    """Smooth noise of unit standard deviation, with details of about `scale` pixels."""
    rows, cols = shape
    step = max(1, int(scale))  # drawn coarsely and enlarged: a wide blur of a large image is slow
    small = chance.standard_normal((rows // step + 4, cols // step + 4)).astype(np.float32)
    small = np.asarray(cv2.GaussianBlur(small, (0, 0), max(scale / step, 0.5)))
    small = (small / max(float(small.std()), 1e-6)).astype(np.float32)
    large = cv2.resize(small, None, fx=step, fy=step, interpolation=cv2.INTER_CUBIC)
    return np.asarray(large[step : step + rows, step : step + cols])


def _some_lungs(lung: Lungs, chance: Generator, both: float) -> Lungs:
    """Both lungs, or those of one half of the image."""
    if chance.random() < both:
        return lung
    return lung.halves[0 if chance.random() < 0.5 else 1]


def _tissue_grey(image: Layer, lung: Lungs) -> float:
    """The grey of heart and diaphragm: the upper quartile of what lies around the lungs."""
    ys, xs = lung.pixels
    box = (slice(ys.min(), ys.max() + 1), slice(xs.min(), xs.max() + 1))
    inside = image[box][~lung.mask[box]]
    return float(np.quantile(inside, 0.6)) if inside.size else float(image.max())


def _to_uint8(values: Layer) -> np.ndarray:
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
