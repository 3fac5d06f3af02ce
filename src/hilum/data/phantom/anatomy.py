"""What belongs to a patient and to a pose, and the outlines of organs that follow from it."""

from dataclasses import dataclass

import numpy as np

from hilum.data.phantom.canvas import CIRCLE, Generator, Points, band, curve

CALIBRE = 0.034 * 0.76 ** np.arange(6)
"""Width of a vessel in each generation."""


@dataclass(frozen=True)
class Anatomy:
    """What stays the same in all images of a patient. Lengths in half widths of the rib cage.

    seed: ribs, vessels and disease grow from it. tall: height by width, 1 is usual. barrel: 2 is a round
    cage, more is boxy. heart: how far its left border reaches; atrium: how far its right border bulges.
    upper: half width of the upper mediastinum; thymus: how far it bulges there, and sail, how much more so to
    the right than to the left. vessels: strength of the lung markings. fat: thickness of the body wall. bone:
    density, 1 is usual.
    """

    seed: int
    tall: float
    barrel: float
    heart: float
    atrium: float
    upper: float
    thymus: float
    sail: float
    vessels: float
    fat: float
    bone: float

    @classmethod
    def sample(cls, rng: Generator) -> "Anatomy":
        """A random patient.

        >>> 0.88 <= Anatomy.sample(np.random.default_rng(0)).tall <= 1.1
        True
        """
        return cls(
            seed=int(rng.integers(2**32)),
            tall=rng.uniform(0.88, 1.1),
            barrel=rng.uniform(1.9, 2.6),
            heart=rng.uniform(0.5, 0.66),
            atrium=rng.uniform(0.04, 0.13),
            upper=rng.uniform(0.16, 0.21),
            thymus=max(0.0, rng.normal(0.0, 0.07)),
            sail=rng.uniform(-1, 1),
            vessels=rng.uniform(0.5, 1.3),
            fat=rng.uniform(0.08, 0.22),
            bone=rng.uniform(0.7, 1.25),
        )


@dataclass(frozen=True)
class Pose:
    """How a patient lies in one image. matrix: "2 3", from patient to pixels. breath: lowers the diaphragm.
    turn: shifts the middle of the chest. arms: 1 raised to -0.5 hanging. haze: 0 deep to 1 shallow breath."""

    matrix: np.ndarray
    breath: float
    turn: float
    arms: float
    haze: float

    @classmethod
    def sample(cls, rng: Generator, anatomy: Anatomy, size: tuple[int, int]) -> "Pose":
        """A random position, breath and place in the frame.

        >>> rng = np.random.default_rng(0)
        >>> pose = Pose.sample(rng, Anatomy.sample(rng), (64, 80))
        >>> pose.matrix.shape, -0.12 <= pose.breath <= 0.1
        ((2, 3), True)
        """
        rows, cols = size
        unit = min(cols / 2.4, rows / 1.95) * rng.uniform(0.86, 1.04)
        angle = np.deg2rad(rng.normal(0, 3.5))
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        stretch = np.diag([1 / np.sqrt(anatomy.tall), np.sqrt(anatomy.tall)])
        centre = np.array([0.5, 0.54]) * (cols, rows) + rng.normal(0, 0.03, 2) * (cols, rows)
        return cls(
            matrix=np.column_stack([unit * rotation @ stretch, centre]),
            breath=rng.uniform(-0.12, 0.1),
            turn=float(np.clip(rng.normal(0, 0.03), -0.06, 0.06)),
            arms=rng.uniform(-0.5, 1.0),
            haze=rng.uniform(0.0, 1.0),
        )


def half_width(anatomy: Anatomy, v: np.ndarray | float) -> np.ndarray | float:
    """The rib cage: from a point at the top to 1 at its widest, a little less below.

    >>> half_width(Anatomy.sample(np.random.default_rng(0)), np.array([-0.97, 0.45])).tolist()
    [0.0, 1.0]
    """
    t = np.clip((np.asarray(v) + 0.97) / 1.42, 0, 1)
    cage = (1 - (1 - t) ** anatomy.barrel) ** (1 / anatomy.barrel)
    return cage - 0.08 * np.clip(np.asarray(v) - 0.45, 0, None)


def border(anatomy: Anatomy, pose: Pose, side: int, v: np.ndarray | float) -> np.ndarray | float:
    """How far the mediastinum reaches to one side (-1 the patient's right, 1 the left) at height v.

    >>> rng = np.random.default_rng(0)
    >>> anatomy = Anatomy.sample(rng)
    >>> pose = Pose.sample(rng, anatomy, (64, 64))
    >>> bool(border(anatomy, pose, 1, 0.4) > border(anatomy, pose, -1, 0.4))  # the heart lies to the left
    True
    """
    thymus = anatomy.thymus * (1 - side * anatomy.sail) * np.exp(-(((v + 0.3) / 0.28) ** 2))
    reach = anatomy.upper + thymus + side * pose.turn - 0.03 * np.clip(-0.45 - v, 0, 0.3) / 0.3
    if side < 0:
        return reach + anatomy.atrium * np.exp(-(((v - 0.25) / 0.24) ** 2))
    knob = 0.05 * np.exp(-(((v + 0.36) / 0.09) ** 2))
    bulge = (anatomy.heart - anatomy.upper) * np.sin(np.pi / 2 * np.clip((v + 0.28) / 0.75, 0, 1)) ** 1.4
    return reach + knob + bulge


def dome(pose: Pose, side: int, u: np.ndarray) -> np.ndarray:
    """The diaphragm's height at a distance u from the midline; the right dome stands higher.

    >>> rng = np.random.default_rng(0)
    >>> pose = Pose.sample(rng, Anatomy.sample(rng), (64, 64))
    >>> right, left = (dome(pose, side, np.array([0.5]))[0] for side in (-1, 1))
    >>> round(float(left - right), 2)  # v runs downwards
    0.05
    """
    top = 0.46 + pose.breath + (0.05 if side > 0 else 0.0)
    outer, inner = np.clip((u - 0.5) / 0.45, 0, None), np.clip((0.5 - u) / 0.35, 0, None)
    return top + 0.26 * outer**2.2 + 0.07 * inner**2


def lung_outline(anatomy: Anatomy, pose: Pose, side: int) -> Points:
    """The outline of one lung field: lateral wall down, diaphragm inwards, mediastinum up.

    >>> rng = np.random.default_rng(0)
    >>> anatomy = Anatomy.sample(rng)
    >>> right = lung_outline(anatomy, Pose.sample(rng, anatomy, (64, 64)), -1)
    >>> right.shape[1], bool((right[:, 0] < 0).all())
    (2, True)
    """
    v = 1.9 * np.linspace(0, 1, 60) ** 1.5 - 0.9  # denser at the top, which is round
    lateral = half_width(anatomy, v) - 0.05
    apex = np.sqrt(np.clip((v + 0.9) / 0.16, 0, 1))
    lateral = anatomy.upper + side * pose.turn + apex * (lateral - anatomy.upper - side * pose.turn)
    wall = np.column_stack([lateral, v])[v < dome(pose, side, lateral)]
    u = np.linspace(wall[-1, 0], 0.1, 24)
    base = np.column_stack([u, dome(pose, side, u)])
    base = base[base[:, 0] > border(anatomy, pose, side, base[:, 1])]
    up = np.linspace(base[-1, 1], -0.9, 40)
    inner = np.column_stack([np.minimum(border(anatomy, pose, side, up), half_width(anatomy, up) - 0.06), up])
    return np.concatenate([wall, base, inner]) * (side, 1)


def heart_outline(anatomy: Anatomy, pose: Pose) -> Points:
    """Right atrium up, left ventricle down, closed below by a curve.

    >>> rng = np.random.default_rng(0)
    >>> anatomy = Anatomy.sample(rng)
    >>> heart = heart_outline(anatomy, Pose.sample(rng, anatomy, (64, 64)))
    >>> bool(heart[:, 0].max() > -heart[:, 0].min())  # it reaches further to the left
    True
    """
    v = np.linspace(-0.2, 0.5 + pose.breath, 30)
    right = np.column_stack([-border(anatomy, pose, -1, v), v])[::-1]
    left = np.column_stack([border(anatomy, pose, 1, v), v])
    middle, reach = (left[-1] + right[0]) / 2, (left[-1, 0] - right[0, 0]) / 2
    below = middle + CIRCLE[1:19] * (reach, 0.1)
    return np.concatenate([right, left, below])


@dataclass(frozen=True)
class Ribs:
    """Outlines of the ribs. The back parts lie near the detector and are sharp, the front parts are faint."""

    back: list[Points]
    front: list[Points]


def ribs_of(shapes: Generator, anatomy: Anatomy, pose: Pose) -> Ribs:
    """The ribs of both sides: twelve behind and ten in front on each.

    >>> rng = np.random.default_rng(0)
    >>> anatomy = Anatomy.sample(rng)
    >>> ribs = ribs_of(rng, anatomy, Pose.sample(rng, anatomy, (64, 64)))
    >>> len(ribs.back), len(ribs.front)
    (24, 20)
    """
    gap, slope, thick = shapes.uniform(0.15, 0.175), shapes.uniform(0.0, 0.2), shapes.uniform(0.042, 0.06)
    taper = thick * np.concatenate([np.linspace(1.0, 1.25, 12), [1.2, 1.1, 0.9, 0.5]])
    ribs = Ribs([], [])
    for side in (-1, 1):
        middle = side * pose.turn
        for i, wobble in enumerate(shapes.normal(0, 0.008, 12)):
            v = -0.98 + gap * i + wobble
            low = v + 0.16 + 0.03 * min(i, 4) + slope  # where it turns to the front
            w = float(half_width(anatomy, low)) + 0.01
            back = curve((0.1 + middle, v), (0.3 * w + 0.1, v - 0.07), (0.95 * w, v - 0.1), (w, low))
            ribs.back.append(band(back, thick) * (side, 1))
            if i < 10:
                tip = max(0.32, 0.62 * w)
                front = curve((w, low), (w, low + 0.12), (0.8 * w, low + 0.22), (tip, low + 0.2 + slope / 2))
                ribs.front.append(band(front, taper) * (side, 1))
    return ribs


def vessel_tree(shapes: Generator) -> list[Points]:
    """Vessels and bronchi that fork from the hila outwards: for each of 6 generations, its segments "n 2 2".

    >>> [len(lines) >= 16 for lines in vessel_tree(np.random.default_rng(0))]
    [True, True, True, True, True, True]
    """
    side = np.repeat([-1.0, 1.0], 8)
    place = np.column_stack([side * 0.26, np.where(side < 0, -0.02, -0.07) + shapes.normal(0, 0.05, 16)])
    angle = np.tile(np.linspace(-1.35, 1.45, 8), 2) + shapes.normal(0, 0.15, 16)  # 0 points outwards
    generations = []
    for _ in range(6):
        step = shapes.uniform(0.08, 0.16, len(angle))[:, None]
        end = place + step * np.column_stack([side * np.cos(angle), np.sin(angle)])
        generations.append(np.stack([place, end], axis=1))
        fork = shapes.random(len(angle)) < 0.45
        bend = shapes.normal(0, 0.22, len(angle))
        side, place = np.concatenate([side, side[fork]]), np.concatenate([end, end[fork]])
        angle = np.concatenate([angle + bend - 0.3 * fork, angle[fork] + bend[fork] + 0.35])
    return generations
