"""What disease adds: consolidation within a lobe (bacteria), interstitial changes in both lungs (virus)."""

from dataclasses import dataclass

import numpy as np

from hilum.data.phantom.anatomy import CALIBRE, Anatomy, Pose, border, half_width
from hilum.data.phantom.canvas import Canvas, Generator, Layer, Points, Stroke, ellipse, grid, noise


@dataclass(frozen=True)
class _Lobe:
    """Where a lobe's opacity may lie. share: from mediastinum (0) to wall (1). upper, lower: its fissures."""

    side: int
    share: float
    v: float
    wide: float
    high: float
    upper: float = -9.0
    lower: float = 9.0


_LOBES = (
    _Lobe(-1, 0.5, -0.48, 0.34, 0.26, lower=-0.14),
    _Lobe(-1, 0.4, 0.08, 0.38, 0.2, upper=-0.14),
    _Lobe(-1, 0.55, 0.3, 0.38, 0.28),
    _Lobe(1, 0.5, -0.45, 0.34, 0.3),
    _Lobe(1, 0.45, 0.02, 0.3, 0.24),
    _Lobe(1, 0.55, 0.28, 0.32, 0.28),
)


def opacity_of(
    disease: Generator,
    label: str,
    anatomy: Anatomy,
    pose: Pose,
    canvas: Canvas,
    lungs: list[Layer],
    tree: list[Points],
) -> Layer:
    """The density that disease adds: 0 in healthy lungs, at most 1; it ends where its lung ends.

    >>> rng = np.random.default_rng(0)
    >>> anatomy = Anatomy.sample(rng)
    >>> pose = Pose.sample(rng, anatomy, (64, 64))
    >>> float(opacity_of(rng, "normal", anatomy, pose, Canvas((64, 64), pose.matrix), [], []).max())
    0.0
    """
    if label == "bacteria":
        return _consolidation(disease, anatomy, pose, canvas, lungs, tree)
    if label == "virus":
        return _interstitial(disease, canvas, lungs, tree)
    return np.zeros(canvas.size, np.float32)


def _consolidation(
    disease: Generator, anatomy: Anatomy, pose: Pose, canvas: Canvas, lungs: list[Layer], tree: list[Points]
) -> Layer:
    """Airspace filled in one lobe, in a fifth of the patients in two; the airways in it stay dark."""
    chosen = disease.permutation(len(_LOBES))[: 2 if disease.random() < 0.2 else 1]
    airways = canvas.blur(canvas.stroke(*[(tree[i], 0.6 * CALIBRE[i], 1.0) for i in (1, 2, 3)]), 0.006)
    across, down = grid(128)
    total = np.zeros(canvas.size, np.float32)
    for lobe in (_LOBES[i] for i in chosen):
        v = lobe.v + disease.uniform(-0.06, 0.06)
        inner = border(anatomy, pose, lobe.side, np.array(v))
        outer = half_width(anatomy, v) - 0.05
        u = lobe.side * (inner + (lobe.share + disease.uniform(-0.15, 0.15)) * (outer - inner))
        grown = disease.uniform(0.85, 1.25)
        away = np.hypot((across - u) / (lobe.wide * grown), (down - v) / (lobe.high * grown))
        ragged = away + 0.16 * noise(disease, 128, 6.0)
        body = np.clip((1.15 - ragged) / disease.uniform(0.25, 0.7), 0, 1)
        body *= np.clip((down - lobe.upper) / 0.03, 0, 1) * np.clip((lobe.lower - down) / 0.03, 0, 1)
        body *= disease.uniform(0.5, 1.0) * (1 + 0.12 * noise(disease, 128, 3.0))
        total += canvas.spread(body) * (1 - 0.35 * airways) * lungs[0 if lobe.side < 0 else 1]
    return np.clip(total, 0, 1)


def _interstitial(disease: Generator, canvas: Canvas, lungs: list[Layer], tree: list[Points]) -> Layer:
    """Walls of bronchi thickened, rings where they point at the reader, a net of septa, patchy haze."""
    rings = []
    for side in (-1, 1):
        for u, v, radius in disease.uniform((0.26, -0.3, 0.022), (0.5, 0.3, 0.038), (7, 3)):
            rings.append(ellipse(side * u, v, radius, radius)[::3])
    walls: list[Stroke] = [(tree[i], 1.9 * CALIBRE[i], 1.0 - 0.1 * i) for i in range(5)]
    bronchi = canvas.blur(canvas.stroke(*walls, (rings, 0.02, 1.0)), 0.012)
    wide, fine = (np.exp(-((noise(disease, 192, sd) / 0.3) ** 2)) for sd in (2.6, 1.7))  # where noise is 0
    u, v = grid(48)
    central = np.exp(-((np.abs(u) - 0.35) ** 2) / 0.35 - (v - disease.uniform(-0.15, 0.25)) ** 2 / 0.5)
    patches = central * np.clip(0.9 + 0.35 * noise(disease, 48, 3.5), 0.3, 1.6)
    strength, haze = disease.uniform(0.7, 1.0), disease.uniform(0.0, 0.25)
    added = 0.6 * bronchi + 0.5 * canvas.spread(wide + 0.7 * fine) + haze
    return np.clip(strength * added * canvas.spread(patches) * (lungs[0] + lungs[1]), 0, 1)
