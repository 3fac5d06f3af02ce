"""Phantom: drawn chest radiographs of drawn children, where the truth about every pixel is known.

A seeded program lays down what absorbs X-rays (soft tissue, rib cage, spine, heart, vessels, abdomen), takes
away the air of two lungs, adds disease, and exposes a film of it with varying position, breath, exposure,
blur and grain. Each film comes with the masks of lungs, heart, ribs and lesion, so that an explanation can be
checked against the truth.

Anatomy and disease belong to the patient, position and exposure to the film: several films of one patient
show the same ribs, vessels and lesion. Nothing but the lesion depends on the label, so one generator state
drawn as 'normal' and as 'virus' gives twins that differ in the lesion alone.

    normal     clear lungs; vessels, thymus, shallow breath, rotation, tubes and leads confound
    bacteria   one opacity, sometimes two, each within one lobe: soft border, air bronchograms
    virus      both lungs: thickened peribronchial markings, a reticular net, patchy haze

The word 'phantom' stands for the built-in set; a folder that `write` wrote is read as well.
"""

import dataclasses
import json
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from hilum.data.cases import HEALTHY, Cases
from hilum.data.sources import table
from hilum.errors import DataError, nearest
from hilum.files import cache_folder, digest, write_json, write_table

DESCRIPTION = "the word 'phantom': drawn chest films with known lesions, the built-in set; or a folder of them"

VERSION = 1
"""To be raised when the same settings give other films."""

LABELS = (HEALTHY, "bacteria", "virus")
SHORTCUTS = ("marker",)
MASKS = ("lesion", "lung", "heart", "ribs", "marker", "shortcut")

TEST_SHARE = 0.3
_PROPORTIONS = {"train": (1341, 2530, 1345), "test": (234, 242, 148)}  # images of the public set, as LABELS
_FILMS = (0.6, 0.25, 0.1, 0.05)  # share of patients with one, two, three, four films

Generator = np.random.Generator
Points = np.ndarray
Layer = np.ndarray


@dataclass(frozen=True)
class PhantomSettings:
    """What set to draw.

    patients: how many, 30 % of them for the test; each has 1 to 4 films, 1.6 on average. size: rows and
    columns of a film. seed: another seed, other patients. shortcut: None, or 'marker', a bright disc in a
    corner of sick films; shortcut_strength: the share of sick films that carry it (healthy ones never do).

    DataError when a value is out of range.
    """

    patients: int = 640
    size: tuple[int, int] = (224, 256)
    seed: int = 0
    shortcut: str | None = None
    shortcut_strength: float = 1.0

    def __post_init__(self) -> None:
        if self.patients < 20:
            raise DataError(f"a phantom of {self.patients} patients is too small", "ask for 20 or more")
        if not (len(self.size) == 2 and all(64 <= side <= 2048 for side in self.size)):
            raise DataError(f"phantom films of {self.size} can't be drawn", "ask for sides of 64 to 2048 px")
        if self.seed < 0:
            raise DataError(f"phantom seed {self.seed} is negative", "ask for 0 or more")
        if self.shortcut is not None and self.shortcut not in SHORTCUTS:
            raise DataError(f"phantom shortcut {self.shortcut!r} is not known", nearest(self.shortcut, SHORTCUTS))
        if not 0 <= self.shortcut_strength <= 1:
            raise DataError(f"phantom shortcut_strength {self.shortcut_strength:g} is no share", "use 0 to 1")


@dataclass(frozen=True)
class Film:
    """`image`: uint8 "rows cols". All others: bool "rows cols".

    lesion: where disease was added (empty if healthy), within `lung`, the air-filled lung fields beside heart
    and above diaphragm. ribs: all ribs of the cage. marker: the letter of the side. shortcut: the planted one.
    """

    image: np.ndarray
    lesion: np.ndarray
    lung: np.ndarray
    heart: np.ndarray
    ribs: np.ndarray
    marker: np.ndarray
    shortcut: np.ndarray


@dataclass(frozen=True)
class Anatomy:
    """What stays the same in all films of a patient. Lengths in half widths of the rib cage.

    seed: vessels and disease grow from it. tall: height by width. barrel: 2 is a round cage, more is boxy.
    heart: how far its left border reaches. atrium: how far its right border bulges. vessels: strength of
    the lung markings. thymus: how far it widens the upper mediastinum. fat: thickness of the body wall.
    """

    seed: int
    tall: float
    barrel: float
    heart: float
    atrium: float
    vessels: float
    thymus: float
    fat: float
    bone: float

    @classmethod
    def drawn(cls, rng: Generator) -> "Anatomy":
        """A child."""
        return cls(
            seed=int(rng.integers(2**32)),
            tall=rng.uniform(0.9, 1.12),
            barrel=rng.uniform(1.8, 2.5),
            heart=rng.uniform(0.46, 0.66),
            atrium=rng.uniform(0.04, 0.16),
            vessels=rng.uniform(0.5, 1.3),
            thymus=max(0.0, rng.normal(0.02, 0.06)),
            fat=rng.uniform(0.06, 0.2),
            bone=rng.uniform(0.7, 1.25),
        )


@dataclass(frozen=True)
class _Pose:
    """How a patient lies in one film: `breath` lowers the diaphragm, `turn` shifts what lies in the middle."""

    matrix: np.ndarray
    breath: float
    turn: float
    arms: float
    haze: float


class _Canvas:
    """A film to draw on in the patient's coordinates: u to the picture's right, v down, origin mid-chest."""

    def __init__(self, size: tuple[int, int], matrix: np.ndarray) -> None:
        self.size = size
        self.matrix = matrix
        self.unit = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
        inverse = cv2.invertAffineTransform(matrix).astype(np.float32)
        x, y = np.arange(size[1], dtype=np.float32), np.arange(size[0], dtype=np.float32)[:, None]
        self.u = inverse[0, 0] * x + inverse[0, 1] * y + inverse[0, 2]
        self.v = inverse[1, 0] * x + inverse[1, 1] * y + inverse[1, 2]

    def pixels(self, points: Points) -> np.ndarray:
        """Patient coordinates "n 2" -> 1/16 pixels, as OpenCV's drawing wants them."""
        placed = points @ self.matrix[:, :2].T + self.matrix[:, 2]
        return np.rint(placed * 16).astype(np.int32)

    def fill(self, *outlines: Points) -> Layer:
        """The union of closed outlines, 0..1."""
        layer = np.zeros(self.size, np.uint8)
        for outline in outlines:
            cv2.fillPoly(layer, [self.pixels(outline)], 255, cv2.LINE_AA, 4)
        return layer.astype(np.float32) / 255

    def stroke(self, lines: list[tuple[Points, float, float]]) -> Layer:
        """Lines of (points, width, strength 0..1). Thinner than a pixel means fainter."""
        layer = np.zeros(self.size, np.uint8)
        for points, width, strength in lines:
            wide = width * self.unit
            shade = 255 * strength * min(1.0, wide)
            cv2.polylines(layer, [self.pixels(points)], False, shade, max(1, round(wide)), cv2.LINE_AA, 4)
        return layer.astype(np.float32) / 255

    def blur(self, layer: Layer, sd: float) -> Layer:
        """Gaussian blur; `sd` in patient units."""
        return np.asarray(cv2.GaussianBlur(layer, (0, 0), max(sd * self.unit, 0.3)))

    def wide_blur(self, layer: Layer, sd: float) -> Layer:
        """The same at a quarter of the resolution, for large `sd`."""
        rows, cols = self.size
        small = cv2.resize(layer, (cols // 4, rows // 4), interpolation=cv2.INTER_AREA)
        small = cv2.GaussianBlur(small, (0, 0), max(sd * self.unit / 4, 0.3))
        return np.asarray(cv2.resize(small, (cols, rows), interpolation=cv2.INTER_LINEAR))

    def spread(self, texture: np.ndarray) -> Layer:
        """A square texture laid over the chest from -1.25 to 1.25."""
        step = 2.5 / (len(texture) - 1)
        onto = self.matrix @ np.array([[step, 0, -1.25], [0, step, -1.25], [0, 0, 1]])
        return np.asarray(
            cv2.warpAffine(texture, onto, self.size[::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        )


def draw(
    rng: Generator,
    label: str,
    anatomy: Anatomy | None = None,
    settings: PhantomSettings = PhantomSettings(),
) -> Film:
    """One film. `label`: 'normal', 'bacteria' or 'virus'. Without `anatomy`, a new child is drawn.

    The same generator state, anatomy and label give the same film; another label changes the lesion alone
    (and the planted shortcut).

    >>> film = draw(np.random.default_rng(0), "virus", settings=PhantomSettings(size=(64, 64)))
    >>> film.image.shape, bool(film.lesion.any()), bool((film.lesion & ~film.lung).any())
    ((64, 64), True, False)
    """
    if label not in LABELS:
        raise DataError(f"a phantom can't be {label!r}", nearest(label, LABELS))
    child = anatomy or Anatomy.drawn(rng)
    pose = _pose(rng, child, settings.size)
    canvas = _Canvas(settings.size, pose.matrix)
    grown = np.random.default_rng(child.seed)

    lungs = [canvas.fill(_lung(child, pose, side)) for side in (-1, 1)]
    lung = canvas.blur(lungs[0] + lungs[1], 0.012)
    heart = canvas.fill(_heart(child, pose))
    ribs = _ribs(child, pose)
    tree = _vessels(grown, child)
    opacity = _opacity(grown, label, child, pose, canvas, lungs, tree)

    absorbed = _soft_tissue(child, pose, canvas, heart)
    absorbed -= lung * _air(pose, canvas)
    absorbed += _markings(grown, child, canvas, tree) * lung
    absorbed += 0.36 * opacity
    absorbed += child.bone * _bones(pose, canvas, ribs)
    absorbed += _belly(rng, child, pose, canvas)
    absorbed += _devices(rng, canvas)
    image, visible = _exposed(rng, absorbed, canvas)

    corner = int(rng.integers(4))
    marker = _letter(rng, settings.size, corner)
    shortcut = _disc(rng, settings, 3 - corner, sick=label != HEALTHY)
    image = np.maximum(image, np.maximum(marker, shortcut))
    inside = visible & (lungs[0] + lungs[1] > 0.5)
    return Film(
        image=np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8),
        lesion=inside & (canvas.blur(opacity, 0.03) > _LESION),
        lung=inside,
        heart=visible & (heart > 0.5),
        ribs=visible & (canvas.fill(*(outline for outline, _ in ribs)) > 0.5),
        marker=marker > 0.25,
        shortcut=shortcut > 0.25,
    )


_LESION = 0.12
"""An added opacity above this belongs to the lesion mask; 1 would make air as dense as the heart."""


# --- the shape of a chest ------------------------------------------------------------------------------


def _pose(rng: Generator, child: Anatomy, size: tuple[int, int]) -> _Pose:
    rows, cols = size
    unit = min(cols / 2.55, rows / 2.0) * rng.uniform(0.86, 1.04)
    angle = np.deg2rad(rng.normal(0, 3.5))
    turn = rng.normal(0, 0.04)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    stretch = np.diag([1 / np.sqrt(child.tall), np.sqrt(child.tall)])
    centre = np.array([cols / 2, rows * 0.53]) + rng.normal(0, 0.03, 2) * (cols, rows)
    return _Pose(
        matrix=np.column_stack([unit * rotation @ stretch, centre]),
        breath=rng.uniform(-0.12, 0.1),
        turn=turn,
        arms=rng.uniform(-0.5, 1.0),
        haze=rng.uniform(0.0, 1.0),
    )


def _half_width(child: Anatomy, v: np.ndarray) -> np.ndarray:
    """The rib cage: from a point at the top to 1 at its widest."""
    t = np.clip((v + 0.97) / 1.42, 0, 1)
    cage = (1 - (1 - t) ** child.barrel) ** (1 / child.barrel)
    return cage - 0.08 * np.clip(v - 0.45, 0, None)


def _border(child: Anatomy, pose: _Pose, side: int, v: np.ndarray) -> np.ndarray:
    """How far the mediastinum reaches to one side (-1 the patient's right, 1 the left) at height v."""
    thymus = child.thymus * np.exp(-(((v + 0.38) / 0.22) ** 4))
    reach = 0.17 + thymus + side * pose.turn
    if side < 0:
        return reach + child.atrium * np.exp(-(((v - 0.25) / 0.24) ** 2)) + 0.05 * np.clip(-v - 0.5, 0, 1)
    knob = 0.06 * np.exp(-(((v + 0.36) / 0.09) ** 2))
    t = np.clip((v + 0.28) / 0.75, 0, 1)
    bulge = (child.heart - 0.17) * np.sin(np.pi / 2 * t) ** 1.4
    return reach + knob + bulge


def _dome(child: Anatomy, pose: _Pose, side: int, u: np.ndarray) -> np.ndarray:
    """The diaphragm's height at a distance u from the midline."""
    top = 0.46 + pose.breath + (0.05 if side > 0 else 0.0)
    outer = 0.26 * np.clip((u - 0.5) / 0.45, 0, None) ** 2.2
    inner = 0.07 * np.clip((0.5 - u) / 0.35, 0, None) ** 2
    return top + outer + inner


def _lung(child: Anatomy, pose: _Pose, side: int) -> Points:
    """The outline of one lung field: lateral wall down, diaphragm inwards, mediastinum up."""
    v = np.linspace(-0.9, 1.0, 60)
    lateral = _half_width(child, v) - 0.05
    wall = np.column_stack([lateral, v])[v < _dome(child, pose, side, lateral)]
    u = np.linspace(wall[-1, 0], 0.1, 24)
    base = np.column_stack([u, _dome(child, pose, side, u)])
    base = base[base[:, 0] > _border(child, pose, side, base[:, 1])]
    up = np.linspace(base[-1, 1], -0.9, 40)
    inner = np.column_stack([np.minimum(_border(child, pose, side, up), _half_width(child, up) - 0.06), up])
    outline = np.concatenate([wall, base, inner])
    return outline * (side, 1)


def _heart(child: Anatomy, pose: _Pose) -> Points:
    """Right atrium up, left ventricle down, closed below the diaphragm by a curve."""
    v = np.linspace(-0.2, 0.5 + pose.breath, 30)
    right = np.column_stack([-_border(child, pose, -1, v), v])[::-1]
    left = np.column_stack([_border(child, pose, 1, v), v])
    t = np.linspace(0, np.pi, 16)[1:-1]
    middle, reach = (left[-1, 0] + right[0, 0]) / 2, (left[-1, 0] - right[0, 0]) / 2
    below = np.column_stack([middle + reach * np.cos(t), v[-1] + 0.1 * np.sin(t)])
    return np.concatenate([right, left, below])


def _curve(*control: tuple[float, float], n: int = 16) -> Points:
    """A Bezier curve through its first and last control point (Bernstein form)."""
    t = np.linspace(0, 1, n)[:, None]
    points = np.asarray(control, float)
    for _ in range(len(control) - 1):
        points = points[:-1, None] * (1 - t) + points[1:, None] * t if points.ndim == 2 else (
            points[:-1] * (1 - t) + points[1:] * t
        )
    return points[0]


def _band(line: Points, width: np.ndarray | float) -> Points:
    """The outline of a band along a line."""
    along = np.gradient(line, axis=0)
    normal = along[:, ::-1] * (-1, 1) / (np.linalg.norm(along, axis=1, keepdims=True) + 1e-9)
    half = np.broadcast_to(np.asarray(width) / 2, len(line))[:, None]
    return np.concatenate([line + half * normal, (line - half * normal)[::-1]])


def _ribs(child: Anatomy, pose: _Pose) -> list[tuple[Points, bool]]:
    """The outlines of ten pairs of ribs; true for the posterior part, which is nearer to the table and sharper."""
    shapes = np.random.default_rng(child.seed + 1)
    gap = shapes.uniform(0.15, 0.172)
    slope = shapes.uniform(0.0, 0.2)
    thick = shapes.uniform(0.05, 0.066)
    found = []
    for side in (-1, 1):
        wobble = shapes.normal(0, 0.008, (11, 2))
        for i in range(11):
            v = -0.98 + gap * i + wobble[i, 0]
            turn = v + 0.16 + 0.12 * min(i, 4) / 4 + slope
            w = float(_half_width(child, np.array(turn))) + 0.01
            middle = side * pose.turn
            back = _curve((0.1 + middle, v), (0.3 * w + 0.1, v - 0.07), (0.95 * w, v - 0.1), (w, turn))
            end = max(0.32, 0.62 * w)
            front = _curve((w, turn), (w * 1.0, turn + 0.12), (0.8 * w, turn + 0.22), (end, turn + 0.2 + slope / 2))
            found.append((_band(back, thick) * (side, 1), True))
            if i < 9:
                found.append((_band(front, thick * np.linspace(1, 1.25, 16)) * (side, 1), False))
    return found


# --- what absorbs --------------------------------------------------------------------------------------


def _soft_tissue(child: Anatomy, pose: _Pose, canvas: _Canvas, heart: Layer) -> Layer:
    """Body, arms, neck and head; mediastinum and heart; all soft."""
    v = np.linspace(-0.62, 2.0, 30)
    flank = _half_width(child, np.maximum(v, -0.2)) + child.fat
    trunk = np.concatenate([np.column_stack([-flank, v])[::-1], np.column_stack([flank, v])])
    neck = np.array([[-0.3, -2.0], [0.3, -2.0], [0.36, -1.1], [-0.36, -1.1]])
    shoulders = np.array([[-0.95, -0.45], [-0.9, -0.85], [-0.3, -1.15], [0.3, -1.15], [0.9, -0.85], [0.95, -0.45]])
    arms = [_band(_arm(pose, side), 0.42) for side in (-1, 1)]
    head = _ellipse(0.05 * pose.arms, -1.62, 0.62, 0.5)
    outer = canvas.wide_blur(canvas.fill(trunk, neck, shoulders, *arms), 0.06)
    inner = canvas.wide_blur(canvas.fill(trunk * (0.85, 1), neck), 0.16)
    jaw = canvas.blur(canvas.fill(head), 0.03)

    up = np.linspace(-1.3, 1.6, 60)
    right = np.column_stack([-_border(child, pose, -1, np.minimum(up, 0.6)), up])
    left = np.column_stack([_border(child, pose, 1, np.minimum(up, 0.6)), up])
    middle = canvas.blur(canvas.fill(np.concatenate([right, left[::-1]])), 0.02)
    column = np.exp(-(((canvas.u - pose.turn / 2) / 0.13) ** 4))
    trachea = canvas.blur(
        canvas.stroke([(_curve((pose.turn, -1.3), (pose.turn, -0.6), (pose.turn - 0.03, -0.28)), 0.09, 1.0)]), 0.02
    )
    tissue = 0.2 * outer + 0.24 * inner + 0.2 * jaw + 0.16 * middle + 0.1 * canvas.blur(heart, 0.03)
    return tissue + 0.1 * column * outer - 0.07 * trachea


def _arm(pose: _Pose, side: int) -> Points:
    """From the shoulder outwards: raised beside the head (arms = 1) or hanging (-0.5)."""
    return _curve((0.82, -0.78), (1.1, -0.8), (1.5, -0.7 - 0.9 * pose.arms)) * (side, 1)


def _ellipse(u: float, v: float, wide: float, high: float) -> Points:
    t = np.linspace(0, 2 * np.pi, 40)
    return np.column_stack([u + wide * np.cos(t), v + high * np.sin(t)])


def _air(pose: _Pose, canvas: _Canvas) -> Layer:
    """How much a lung takes away: less in a shallow breath, less near the wall and towards the base."""
    depth = 1 - 0.35 * np.clip(np.abs(canvas.u), 0, 1) ** 3 - 0.12 * np.clip(canvas.v + 0.2, 0, 1)
    return (0.36 - 0.1 * pose.haze) * depth


def _belly(rng: Generator, child: Anatomy, pose: _Pose, canvas: _Canvas) -> Layer:
    """Liver and spleen below the domes, and gas in stomach and gut."""
    u = np.linspace(-1.2, 1.2, 60)
    side = np.where(u < 0, -1, 1)
    dome = np.where(u < 0, _dome(child, pose, -1, -u), _dome(child, pose, 1, u))
    dome = np.maximum(dome, 0.0) + np.where(np.abs(u) < 0.2, 0.0, 0.0) * side
    below = np.concatenate([np.column_stack([u, dome]), [[1.2, 2.2], [-1.2, 2.2]]])
    layer = 0.2 * canvas.blur(canvas.fill(below), 0.015)
    layer *= np.clip(1.15 - 0.3 * np.abs(canvas.u), 0, 1)
    gas = [_ellipse(*rng.uniform((0.35, 0.66, 0.15, 0.06), (0.6, 0.8, 0.28, 0.13)))]
    gas += [_ellipse(*rng.uniform((-0.6, 0.85, 0.06, 0.05), (0.6, 1.1, 0.16, 0.1))) for _ in range(3)]
    shown = rng.random(4) < (0.5, 0.4, 0.4, 0.4)
    bubbles = canvas.fill(*(one for one, show in zip(gas, shown, strict=True) if show))
    return layer - rng.uniform(0.08, 0.2) * canvas.blur(bubbles, 0.025)


def _bones(pose: _Pose, canvas: _Canvas, ribs: list[tuple[Points, bool]]) -> Layer:
    """Ribs with a bright rim, clavicles, shoulder blades, upper arms, vertebrae."""
    layer = np.zeros(canvas.size, np.float32)
    for posterior, strength in ((True, 0.085), (False, 0.055)):
        outlines = [outline for outline, back in ribs if back is posterior]
        rims = canvas.stroke([(outline, 0.012, 0.6) for outline in outlines])
        layer += strength * canvas.blur(canvas.fill(*outlines) + rims, 0.008)
    layer *= 0.75 + 0.6 * np.clip(np.abs(canvas.u), 0, 1.1) ** 4  # seen along the wall they are thicker
    lift = 0.12 * pose.arms
    limbs = []
    for side in (-1, 1):
        clavicle = _curve((0.14, -0.86), (0.4, -0.8 - lift), (0.55, -1.02 - lift), (0.86, -0.95 - lift))
        limbs.append((_band(clavicle, 0.065) * (side, 1), 0.13))
        blade = np.array([[0.78, -0.85], [0.98, -0.55], [0.86, -0.12], [0.74, -0.35]]) + (0.05 * pose.arms, -lift)
        limbs.append((blade * (side, 1), 0.045))
        limbs.append((_band(_arm(pose, side)[2:], 0.13), 0.12))
    for outline, strength in limbs:
        rim = canvas.stroke([(np.concatenate([outline, outline[:1]]), 0.015, 0.7)])
        layer += strength * canvas.blur(0.7 * canvas.fill(outline) + rim, 0.01)
    return layer + _vertebrae(pose, canvas)


def _vertebrae(pose: _Pose, canvas: _Canvas) -> Layer:
    bodies, rims = [], []
    for v in np.arange(-1.35, 1.6, 0.165):
        wide, high = 0.105 + 0.012 * v, 0.055
        body = np.array([[-wide, -high], [wide, -high], [0.9 * wide, 0], [wide, high], [-wide, high], [-0.9 * wide, 0]])
        body = body + (pose.turn / 2, v)
        bodies.append(body)
        rims.append((np.concatenate([body, body[:1]]), 0.018, 0.8))
        for side in (-1, 1):
            rims.append((_ellipse(side * 0.06 + pose.turn / 3, v - 0.01, 0.018, 0.025), 0.012, 0.6))
    return 0.07 * canvas.blur(0.5 * canvas.fill(*bodies) + canvas.stroke(rims), 0.012)


def _devices(rng: Generator, canvas: _Canvas) -> Layer:
    """Now and then a tube or a lead; they tell nothing about the label."""
    tube = _curve((rng.normal(0, 0.05), -1.5), (0, -0.8), (rng.normal(0, 0.05), rng.uniform(-0.4, 0.9)))
    ends = rng.uniform((-1, -1.2, -0.6, -0.4, -1.2, 0.2), (1, -0.8, 0.6, 0.3, 1.2, 1.2)).reshape(3, 2)
    lead = _curve(*map(tuple, ends))
    show = rng.random(2)
    lines = []
    if show[0] < 0.15:
        lines.append((tube, 0.02, 0.8))
    if show[1] < 0.15:
        lines += [(lead, 0.012, 1.0), (_ellipse(*ends[2], 0.05, 0.05), 0.03, 1.0)]
    return 0.14 * canvas.blur(canvas.stroke(lines), 0.005) if lines else np.zeros(canvas.size, np.float32)


def _vessels(grown: Generator, child: Anatomy) -> list[tuple[Points, float, float]]:
    """Two trees of vessels and bronchi that branch from the hila outwards: (two points, width, generation)."""
    side = np.repeat([-1.0, 1.0], 8)
    place = np.column_stack([side * 0.26, np.where(side < 0, -0.02, -0.07) + grown.normal(0, 0.05, 16)])
    angle = np.tile(np.linspace(-1.35, 1.45, 8), 2) + grown.normal(0, 0.15, 16)  # 0 points outwards
    width = np.full(16, 0.034)
    lines = []
    for generation in range(6):
        step = grown.uniform(0.08, 0.16, len(angle))[:, None]
        end = place + step * np.column_stack([side * np.cos(angle), np.sin(angle)])
        lines += [(np.stack(pair), w, generation) for *pair, w in zip(place, end, width, strict=True)]
        fork = grown.random(len(angle)) < 0.45
        bend = grown.normal(0, 0.22, len(angle))
        side, place = np.concatenate([side, side[fork]]), np.concatenate([end, end[fork]])
        angle = np.concatenate([angle + bend - 0.3 * fork, angle[fork] + bend[fork] + 0.35])
        width = 0.78 * np.concatenate([width, 0.85 * width[fork]])
    return lines


def _noise(grown: Generator, side: int, sd: float) -> np.ndarray:
    """Smooth Gaussian noise of unit variance, float32 "side side"; `sd` of the blur in texture pixels."""
    smooth = cv2.GaussianBlur(grown.standard_normal((side, side), dtype=np.float32), (0, 0), sd)
    return np.asarray(smooth / (smooth.std() + 1e-6))


def _markings(grown: Generator, child: Anatomy, canvas: _Canvas, tree: list[tuple[Points, float, float]]) -> Layer:
    """What healthy lungs show: vessels that fade outwards, and a fine grain of tissue."""
    lines = [(line, width, 0.95 - 0.1 * generation) for line, width, generation in tree]
    vessels = canvas.blur(canvas.stroke(lines), 0.008)
    hila = sum(np.exp(-((canvas.u - u) ** 2 + (canvas.v - v) ** 2) / 0.02) for u, v in ((-0.24, 0.0), (0.26, -0.06)))
    grain = canvas.spread(_noise(grown, 160, 1.5)) * 0.5 + canvas.spread(_noise(grown, 32, 1.5))
    return child.vessels * (0.1 * vessels + 0.05 * hila) + 0.01 * grain


# --- disease -------------------------------------------------------------------------------------------

_LOBES = (  # side, share of the way from mediastinum to wall, height, radii, upper and lower border (fissures)
    (-1, 0.5, -0.48, 0.34, 0.26, -9.0, -0.14),
    (-1, 0.4, 0.08, 0.38, 0.2, -0.14, 9.0),
    (-1, 0.55, 0.3, 0.38, 0.28, -9.0, 9.0),
    (1, 0.5, -0.45, 0.34, 0.3, -9.0, 9.0),
    (1, 0.45, 0.02, 0.3, 0.24, -9.0, 9.0),
    (1, 0.55, 0.28, 0.32, 0.28, -9.0, 9.0),
)


def _opacity(
    grown: Generator,
    label: str,
    child: Anatomy,
    pose: _Pose,
    canvas: _Canvas,
    lungs: list[Layer],
    tree: list[tuple[Points, float, float]],
) -> Layer:
    """The density that disease adds, 0 in healthy lungs, at most about 1; it ends where its lung ends."""
    disease = np.random.default_rng(int(grown.integers(2**32)))
    if label == "bacteria":
        return _consolidation(disease, child, pose, canvas, lungs, tree)
    if label == "virus":
        return _interstitial(disease, canvas, lungs, tree)
    return np.zeros(canvas.size, np.float32)


def _consolidation(
    disease: Generator,
    child: Anatomy,
    pose: _Pose,
    canvas: _Canvas,
    lungs: list[Layer],
    tree: list[tuple[Points, float, float]],
) -> Layer:
    count = 2 if disease.random() < 0.2 else 1
    bronchi = [(line, 0.6 * width, 1.0) for line, width, generation in tree if generation in (1, 2, 3)]
    airways = canvas.blur(canvas.stroke(bronchi), 0.006)
    total = np.zeros(canvas.size, np.float32)
    for lobe in disease.permutation(len(_LOBES))[:count]:
        side, share, v, wide, high, above, below = _LOBES[lobe]
        inner = float(_border(child, pose, side, np.array(v)))
        outer = float(_half_width(child, np.array(v))) - 0.05
        u = side * (inner + (share + disease.uniform(-0.15, 0.15)) * (outer - inner))
        v += disease.uniform(-0.06, 0.06)
        grow = disease.uniform(0.75, 1.15)
        away = np.hypot((canvas.u - u) / (wide * grow), (canvas.v - v) / (high * grow))
        ragged = away + 0.16 * canvas.spread(_noise(disease, 40, 2.0))
        body = np.clip((1.15 - ragged) / disease.uniform(0.25, 0.7), 0, 1)
        body *= np.clip((canvas.v - above) / 0.03, 0, 1) * np.clip((below - canvas.v) / 0.03, 0, 1)
        patchy = 1 + 0.12 * canvas.spread(_noise(disease, 64, 1.5))
        strength = disease.uniform(0.35, 0.9)
        total += strength * body * patchy * (1 - 0.35 * airways) * lungs[0 if side < 0 else 1]
    return np.clip(total, 0, 1)


def _interstitial(
    disease: Generator, canvas: _Canvas, lungs: list[Layer], tree: list[tuple[Points, float, float]]
) -> Layer:
    cuffs = [(line, 1.9 * width, 1.0 - 0.1 * generation) for line, width, generation in tree if generation < 5]
    for side in (-1, 1):
        for _ in range(7):
            u, v, radius = disease.uniform((0.26, -0.3, 0.022), (0.5, 0.3, 0.038))
            cuffs.append((_ellipse(side * u, v, radius, radius), 0.02, 1.0))
    bronchi = canvas.blur(canvas.stroke(cuffs), 0.012)
    net = np.exp(-((_noise(disease, 192, 2.6) / 0.3) ** 2)) + 0.7 * np.exp(-((_noise(disease, 192, 1.7) / 0.3) ** 2))
    reticular = canvas.spread(net.astype(np.float32))
    patches = np.clip(0.75 + 0.45 * canvas.spread(_noise(disease, 28, 2.0)), 0, 1.6)
    central = np.exp(-((np.abs(canvas.u) - 0.35) ** 2 / 0.35 + (canvas.v - disease.uniform(-0.15, 0.25)) ** 2 / 0.5))
    strength = disease.uniform(0.55, 1.0)
    added = 0.34 * bronchi + 0.26 * reticular + disease.uniform(0.05, 0.25)
    return np.clip(strength * added * patches * central * (lungs[0] + lungs[1]), 0, 1).astype(np.float32)


# --- the film ------------------------------------------------------------------------------------------


def _exposed(rng: Generator, absorbed: Layer, canvas: _Canvas) -> tuple[Layer, np.ndarray]:
    """From absorption to grey 0..1, and which pixels the collimator leaves. The dials know no label."""
    rows, cols = canvas.size
    scale = rows / 224
    gain, offset, gamma = rng.uniform(0.95, 1.25), rng.normal(-0.03, 0.035), np.exp(rng.normal(0.0, 0.16))
    tilt = rng.normal(0, 0.04, 2)
    blur, grain, coarse = rng.uniform(0.0, 1.1) * scale, rng.uniform(0.004, 0.022), rng.uniform(0.0, 0.012)
    fine = rng.standard_normal(canvas.size, dtype=np.float32)
    mottle = rng.standard_normal((rows // 3, cols // 3), dtype=np.float32)

    x, y = np.linspace(-1, 1, cols, dtype=np.float32), np.linspace(-1, 1, rows, dtype=np.float32)[:, None]
    film = absorbed * gain + offset * (absorbed > 0.05) + (tilt[0] * x + tilt[1] * y) * np.minimum(absorbed, 0.5)
    film = cv2.GaussianBlur(film.astype(np.float32), (0, 0), max(blur, 0.3))
    film = np.clip(film, 0, None) ** gamma
    film = film / (1 + np.clip(film - 0.75, 0, None))  # the shoulder of the film's curve
    film += coarse * cv2.resize(mottle, (cols, rows), interpolation=cv2.INTER_LINEAR)
    film += grain * fine * (0.4 + film)

    left, right, top, bottom = np.where(rng.random(4) < 0.35, rng.uniform(0.0, 0.06, 4), 0.0)
    visible = np.zeros(canvas.size, bool)
    visible[round(top * rows) : rows - round(bottom * rows), round(left * cols) : cols - round(right * cols)] = True
    return np.where(visible, film, 0.01).astype(np.float32), visible


def _at(corner: int, size: tuple[int, int], inset: np.ndarray) -> tuple[int, int]:
    """A pixel (x, y) near a corner: 0 upper left, 1 upper right, 2 lower left, 3 lower right."""
    rows, cols = size
    x, y = inset * (cols, rows)
    return round(x if corner % 2 == 0 else cols - 1 - x), round(y if corner < 2 else rows - 1 - y)


def _letter(rng: Generator, size: tuple[int, int], corner: int) -> Layer:
    """R on the patient's right, which is the picture's left, or L on the other side."""
    inset, high, shade = rng.uniform(0.04, 0.12, 2), rng.uniform(0.045, 0.08), rng.uniform(0.8, 1.0)
    font = cv2.FONT_HERSHEY_SIMPLEX
    scale = high * size[0] / 21  # a letter of this font is 21 px high
    thick = max(1, round(scale * 2))
    (wide, tall), _ = cv2.getTextSize("R", font, scale, thick)
    x, y = _at(corner, size, inset)
    layer = np.zeros(size, np.uint8)
    text = "R" if corner % 2 == 0 else "L"
    cv2.putText(layer, text, (x - wide // 2, y + tall // 2), font, scale, 255 * shade, thick, cv2.LINE_AA)
    return layer.astype(np.float32) / 255


def _disc(rng: Generator, settings: PhantomSettings, corner: int, sick: bool) -> Layer:
    """The planted shortcut, in the corner that the letter leaves free. Chance is used up even without it."""
    inset, radius, lot = rng.uniform(0.05, 0.09, 2), rng.uniform(0.022, 0.03), rng.random()
    layer = np.zeros(settings.size, np.uint8)
    if settings.shortcut and sick and lot < settings.shortcut_strength:
        centre = _at(corner, settings.size, inset)
        cv2.circle(layer, centre, round(radius * settings.size[0]), 255, -1, cv2.LINE_AA)
    return layer.astype(np.float32) / 255
