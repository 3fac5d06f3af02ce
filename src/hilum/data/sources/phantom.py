"""Phantom: drawn chest radiographs of drawn children, where the truth about every pixel is known.

A seeded program lays down what absorbs X-rays (soft tissue, rib cage, spine, heart, vessels, abdomen), takes
away the air of two lungs, adds disease, and exposes an image of it with varying position, breath, exposure,
blur and grain. Each image comes with the masks of lungs, heart, ribs and lesion, so that an explanation can be
checked against the truth.

Anatomy and disease belong to the patient, position and exposure to the image: several images of one patient
show the same ribs, vessels and lesion. Nothing but the lesion depends on the label, so one generator state
drawn as 'normal' and as 'virus' gives twins that differ in the lesion alone.

    normal     clear lungs; vessels, thymus, shallow breath, rotation, tubes and leads confound
    bacteria   one opacity, sometimes two, each within one lobe: soft border, air bronchograms
    virus      both lungs: thickened peribronchial markings, a reticular net, patchy haze

The word 'phantom' stands for the built-in set. A folder that `write` wrote is read as well:

    phantom.json   settings              cases.csv   case_id, path, label, patient, split
    images/        <case_id>.png         masks/      <case_id>.npz, bool "rows cols" each, see `Image`
"""

import os
import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from functools import cache
from math import comb
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import cv2
import numpy as np
import pandas as pd

from hilum.data.cases import HEALTHY, Cases
from hilum.data.sources import table
from hilum.errors import DataError, nearest
from hilum.files import cache_folder, digest, read_json, write_json, write_table
from hilum.progress import advancing

DESCRIPTION = "the word 'phantom' for the built-in drawn chest images with known lesions, or a folder of such"

VERSION = 1
"""To be raised when the same settings give other images."""

LABELS = (HEALTHY, "bacteria", "virus")
SHORTCUTS = ("marker",)

_TEST_SHARE = 0.3
_PROPORTIONS = {"train": (1341, 2530, 1345), "test": (234, 242, 148)}  # images of the public set, as LABELS
_IMAGES = (0.6, 0.25, 0.1, 0.05)  # shares of the patients with one, two, three and four images
_NOTE = (
    "These images are drawn by a program, not taken from people: figures on them say nothing about patients."
)

Generator = np.random.Generator
Points = np.ndarray  # float "n 2": u and v of the patient
Layer = np.ndarray  # float32 "rows cols"
Stroke = tuple[Sequence[Points] | Points, float, float]  # lines of one width and one strength (0..1)


@dataclass(frozen=True)
class PhantomSettings:
    """What set to draw.

    patients: how many, 30 % of them for the test; each has 1 to 4 images, 1.6 on average. size: rows and
    columns of an image. seed: another seed, other patients. shortcut: None, or 'marker', a bright disc in a
    corner of abnormal images; shortcut_strength: the share of abnormal images that carry it (healthy ones never do).

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
            raise DataError(f"phantom images of {self.size} can't be drawn", "ask for sides of 64 to 2048 px")
        if self.seed < 0:
            raise DataError(f"phantom seed {self.seed} is negative", "ask for 0 or more")
        if self.shortcut is not None and self.shortcut not in SHORTCUTS:
            raise DataError(
                f"phantom shortcut {self.shortcut!r} is not known", nearest(self.shortcut, SHORTCUTS)
            )
        if not 0 <= self.shortcut_strength <= 1:
            raise DataError(f"phantom shortcut_strength {self.shortcut_strength:g} is no share", "use 0 to 1")


@dataclass(frozen=True)
class Image:
    """`image`: uint8 "rows cols". All others: bool "rows cols", and what `masks` reads.

    lesion: where disease was added (empty if healthy), within lung. lung: the air-filled lung fields, beside
    the heart and above the diaphragm. ribs: all ribs of the cage. marker: the letter of the side. shortcut:
    the planted one.
    """

    image: np.ndarray
    lesion: np.ndarray
    lung: np.ndarray
    heart: np.ndarray
    ribs: np.ndarray
    marker: np.ndarray
    shortcut: np.ndarray


MASKS = tuple(field.name for field in fields(Image) if field.name != "image")


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
    def drawn(cls, rng: Generator) -> "Anatomy":
        """A child by chance."""
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


# --- the set -------------------------------------------------------------------------------------------


def accepts(data: str | Path) -> bool:
    """Whether it is the word 'phantom' or a folder that `write` wrote."""
    return str(data) == "phantom" or (Path(data).expanduser() / "phantom.json").is_file()


def load(data: str | Path) -> Cases:
    """The cases of the built-in set, drawn into the cache folder on the first call, or of a written folder.

    DataError when the folder is damaged or can't be written.
    """
    if str(data) == "phantom":
        settings = PhantomSettings()
        folder = write(cache_folder() / f"phantom-{digest(str(VERSION), repr(settings))[:12]}", settings)
    else:
        folder = Path(data).expanduser().absolute()
    found = table.load(folder / "cases.csv")
    return Cases(found.table, "phantom", folder, (_NOTE, *found.notes))


def write(folder: str | Path, settings: PhantomSettings = PhantomSettings()) -> Path:
    """Draws the set into a folder, all or nothing, and gives its path. What is there already, complete and
    with the same settings, is kept as it is.

    DataError when the folder holds something else or can't be written.
    """
    folder = Path(folder).expanduser().absolute()
    if _holds(folder, settings):
        return folder
    temporary = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        temporary.chmod(0o755)  # mkdtemp makes 0700, which would hide the folder from colleagues
        _draw_all(temporary, settings)
        write_json(temporary / "phantom.json", _facts(settings))
        if (folder / "phantom.json").is_file():  # of the same settings, but with files missing
            shutil.rmtree(folder)
        temporary.rename(folder)
    except OSError as error:
        if not _holds(folder, settings):  # another process may have been faster
            raise DataError(
                f"{folder} can't be written ({error.strerror})", "choose another folder or make room"
            ) from None
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    return folder


def plan(settings: PhantomSettings = PhantomSettings()) -> pd.DataFrame:
    """The images of a set, one row each: case_id, label, patient, split ('train' or 'test'), and the numbers
    `person` and `image` that seed it. Labels come in the public set's proportions in each split.

    >>> plan(PhantomSettings(patients=20)).groupby("split")["patient"].nunique().to_dict()
    {'test': 6, 'train': 14}
    """
    n_test = round(_TEST_SHARE * settings.patients)
    kinds = [
        (split, label, images)
        for split, patients in (("train", settings.patients - n_test), ("test", n_test))
        for label, share in zip(LABELS, _apportioned(patients, _PROPORTIONS[split]), strict=True)
        for images, count in enumerate(_apportioned(share, _IMAGES), start=1)
        for _ in range(count)
    ]
    numbers = np.random.default_rng([settings.seed, 0]).permutation(len(kinds)) + 1  # tell nothing
    rows = [
        {
            "case_id": f"person{person:04d}-{image}",
            "label": label,
            "patient": f"person{person:04d}",
            "split": split,
            "person": int(person),
            "image": image,
        }
        for person, (split, label, images) in zip(numbers, kinds, strict=True)
        for image in range(1, images + 1)
    ]
    return pd.DataFrame(rows).sort_values("case_id", ignore_index=True)


def phantom_image(settings: PhantomSettings, label: str, person: int, image: int) -> Image:
    """One image of a set, as `write` stores it; the numbers are those of `plan`."""
    anatomy = Anatomy.drawn(np.random.default_rng([settings.seed, person, 0]))
    return draw(np.random.default_rng([settings.seed, person, image]), label, anatomy, settings)


def masks(folder: str | Path, case_id: str) -> dict[str, np.ndarray]:
    """The masks of a written image by name (see `Image`), bool "rows cols"; DataError when there are none."""
    path = Path(folder).expanduser() / "masks" / f"{case_id}.npz"
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {name: file[name] for name in MASKS}
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise DataError(f"{path} holds no masks ({error})", "name a case of a phantom folder") from None


def _apportioned(total: int, weights: Sequence[float]) -> list[int]:
    """Whole numbers in the proportion of the weights that add up to the total (largest remainders)."""
    exact = np.asarray(weights, float) / np.sum(weights) * total
    found = np.floor(exact).astype(int)
    found[np.argsort(found - exact, kind="stable")[: total - found.sum()]] += 1
    return found.tolist()


def _facts(settings: PhantomSettings) -> dict[str, Any]:
    return {"version": VERSION, "settings": {**asdict(settings), "size": list(settings.size)}}


def _holds(folder: Path, settings: PhantomSettings) -> bool:
    """Whether the folder is a complete phantom of these settings; DataError when it is something else."""
    if not folder.exists():
        return False
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder", "choose another name")
    if not any(folder.iterdir()):
        return False
    if not (folder / "phantom.json").is_file():
        raise DataError(f"{folder} is not empty and holds no phantom", "choose another folder")
    if read_json(folder / "phantom.json") != _facts(settings):
        raise DataError(f"{folder} holds a phantom of other settings", "choose another folder or delete it")
    names = plan(settings)["case_id"]
    files = [folder / "cases.csv"]
    files += [folder / "images" / f"{name}.png" for name in names]
    files += [folder / "masks" / f"{name}.npz" for name in names]
    return all(path.is_file() for path in files)


def _draw_all(folder: Path, settings: PhantomSettings) -> None:
    rows = plan(settings)
    (folder / "images").mkdir()
    (folder / "masks").mkdir()

    def one(case_id: str, label: str, person: int, image: int) -> None:
        drawn = phantom_image(settings, label, person, image)
        _, data = cv2.imencode(".png", drawn.image)
        (folder / "images" / f"{case_id}.png").write_bytes(data.tobytes())
        np.savez_compressed(
            folder / "masks" / f"{case_id}.npz", **{name: getattr(drawn, name) for name in MASKS}
        )

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool, advancing("drawing images") as advance:
        images = pool.map(one, rows["case_id"], rows["label"], rows["person"], rows["image"])
        for done, _ in enumerate(images, start=1):
            advance(done, len(rows))
    rows["path"] = [f"images/{name}.png" for name in rows["case_id"]]
    write_table(folder / "cases.csv", rows[["case_id", "path", "label", "patient", "split"]])


# --- one image ------------------------------------------------------------------------------------------


def draw(
    rng: Generator,
    label: str,
    anatomy: Anatomy | None = None,
    settings: PhantomSettings = PhantomSettings(),
) -> Image:
    """One image. `label`: 'normal', 'bacteria' or 'virus'. Without `anatomy`, a new child is drawn.

    The same generator state, anatomy and label give the same image; another label changes the lesion alone
    (and the planted shortcut).

    >>> image = draw(np.random.default_rng(0), "virus", settings=PhantomSettings(size=(64, 64)))
    >>> image.image.shape, bool(image.lesion.any()), bool((image.lesion & ~image.lung).any())
    ((64, 64), True, False)
    """
    if label not in LABELS:
        raise DataError(f"a phantom can't be {label!r}", nearest(label, LABELS))
    child = anatomy or Anatomy.drawn(rng)
    pose = _Pose.drawn(rng, child, settings.size)
    canvas = _Canvas(settings.size, pose.matrix)
    shapes, healthy, disease = np.random.default_rng(child.seed).spawn(3)

    outlines = [_lung(child, pose, side) for side in (-1, 1)]
    lungs = [canvas.blur(canvas.fill(outline), 0.012) for outline in outlines]
    heart = canvas.fill(_heart(child, pose))
    ribs = _ribs(shapes, child, pose)
    tree = _tree(shapes)
    opacity = _opacity(disease, label, child, pose, canvas, lungs, tree)

    absorbed = _soft_tissue(child, pose, canvas, heart)
    absorbed += (lungs[0] + lungs[1]) * (_markings(healthy, child, canvas, tree) - _air(pose, canvas))
    absorbed += _DENSITY * opacity
    absorbed += child.bone * _bones(pose, canvas, ribs)
    absorbed += _belly(rng, pose, canvas)
    absorbed += _devices(rng, canvas)
    image, visible = _exposed(rng, absorbed, canvas)

    corner = int(rng.integers(4))
    marker = _letter(rng, settings.size, corner)
    shortcut = _disc(rng, settings, 3 - corner, abnormal=label != HEALTHY)
    image = np.maximum(image, np.maximum(marker, shortcut))
    inside = visible & (canvas.fill(*outlines) > 0.5) & ~(heart > 0.5)
    return Image(
        image=np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8),
        lesion=inside & (canvas.blur(opacity, 0.03) > _LESION),
        lung=inside,
        heart=visible & (heart > 0.5),
        ribs=visible & (canvas.fill(*ribs.back, *ribs.front) > 0.5),
        marker=marker > 0.25,
        shortcut=shortcut > 0.25,
    )


_DENSITY = 0.4
"""What an opacity of 1 adds to the absorption: as much as a lung's air takes away."""

_LESION = 0.1
"""An opacity above this, averaged over a few pixels, belongs to the lesion mask."""


@dataclass(frozen=True)
class _Pose:
    """How a patient lies in one image. matrix: "2 3", from patient to pixels. breath: lowers the diaphragm.
    turn: shifts the middle of the chest. arms: 1 raised to -0.5 hanging. haze: 0 deep to 1 shallow breath."""

    matrix: np.ndarray
    breath: float
    turn: float
    arms: float
    haze: float

    @classmethod
    def drawn(cls, rng: Generator, child: Anatomy, size: tuple[int, int]) -> "_Pose":
        rows, cols = size
        unit = min(cols / 2.4, rows / 1.95) * rng.uniform(0.86, 1.04)
        angle = np.deg2rad(rng.normal(0, 3.5))
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        stretch = np.diag([1 / np.sqrt(child.tall), np.sqrt(child.tall)])
        centre = np.array([0.5, 0.54]) * (cols, rows) + rng.normal(0, 0.03, 2) * (cols, rows)
        return cls(
            matrix=np.column_stack([unit * rotation @ stretch, centre]),
            breath=rng.uniform(-0.12, 0.1),
            turn=float(np.clip(rng.normal(0, 0.03), -0.06, 0.06)),
            arms=rng.uniform(-0.5, 1.0),
            haze=rng.uniform(0.0, 1.0),
        )


class _Canvas:
    """An image to draw on in the patient's coordinates: u to the picture's right, v down, origin mid-chest."""

    def __init__(self, size: tuple[int, int], matrix: np.ndarray) -> None:
        self.size = size
        self.matrix = matrix
        self.unit = float(np.sqrt(np.linalg.det(matrix[:, :2])))  # pixels

    def pixels(self, lines: Sequence[Points] | Points) -> list[np.ndarray]:
        """Lines in patient coordinates, each "n 2" -> in 1/16 pixels, as OpenCV's drawing wants them."""
        placed = np.concatenate(lines) @ self.matrix[:, :2].T + self.matrix[:, 2]
        ends = np.cumsum([len(line) for line in lines])[:-1]
        return np.split(np.rint(placed * 16).astype(np.int32), ends)

    def fill(self, *outlines: Points) -> Layer:
        """The union of closed outlines, 0..1."""
        layer = np.zeros(self.size, np.uint8)
        for outline in self.pixels(outlines):  # one by one: where outlines drawn together overlap is a hole
            cv2.fillPoly(layer, [outline], 255, cv2.LINE_AA, 4)
        return layer.astype(np.float32) / np.float32(255)

    def stroke(self, *strokes: Stroke) -> Layer:
        """Lines, 0..1. Thinner than a pixel means fainter."""
        layer = np.zeros(self.size, np.uint8)
        for lines, width, strength in strokes:
            wide = width * self.unit
            shade = 255 * strength * min(1.0, wide)
            cv2.polylines(layer, self.pixels(lines), False, shade, max(1, round(wide)), cv2.LINE_AA, 4)
        return layer.astype(np.float32) / np.float32(255)

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
        """A square texture laid over the chest from -_SPAN to _SPAN both ways."""
        step = 2 * _SPAN / (len(texture) - 1)
        onto = self.matrix @ np.array([[step, 0, -_SPAN], [0, step, -_SPAN], [0, 0, 1]])
        return np.asarray(
            cv2.warpAffine(
                texture.astype(np.float32, copy=False),
                onto,
                self.size[::-1],
                flags=cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            )
        )


_SPAN = 1.25


def _grid(side: int) -> tuple[np.ndarray, np.ndarray]:
    """u "1 side" and v "side 1" of a texture's pixels."""
    line = np.linspace(-_SPAN, _SPAN, side, dtype=np.float32)
    return line[None], line[:, None]


def _noise(rng: Generator, side: int, sd: float) -> np.ndarray:
    """Smooth Gaussian noise of unit variance, float32 "side side"; `sd` of the blur in texture pixels."""
    smooth = cv2.GaussianBlur(rng.standard_normal((side, side), dtype=np.float32), (0, 0), sd)
    return np.asarray(smooth / smooth.std())


# --- the shape of a chest ------------------------------------------------------------------------------


def _half_width(child: Anatomy, v: np.ndarray | float) -> np.ndarray:
    """The rib cage: from a point at the top to 1 at its widest, a little less below."""
    t = np.clip((np.asarray(v) + 0.97) / 1.42, 0, 1)
    cage = (1 - (1 - t) ** child.barrel) ** (1 / child.barrel)
    return cage - 0.08 * np.clip(np.asarray(v) - 0.45, 0, None)


def _border(child: Anatomy, pose: _Pose, side: int, v: np.ndarray) -> np.ndarray:
    """How far the mediastinum reaches to one side (-1 the patient's right, 1 the left) at height v."""
    thymus = child.thymus * (1 - side * child.sail) * np.exp(-(((v + 0.3) / 0.28) ** 2))
    reach = child.upper + thymus + side * pose.turn - 0.03 * np.clip(-0.45 - v, 0, 0.3) / 0.3
    if side < 0:
        return reach + child.atrium * np.exp(-(((v - 0.25) / 0.24) ** 2))
    knob = 0.05 * np.exp(-(((v + 0.36) / 0.09) ** 2))
    bulge = (child.heart - child.upper) * np.sin(np.pi / 2 * np.clip((v + 0.28) / 0.75, 0, 1)) ** 1.4
    return reach + knob + bulge


def _dome(pose: _Pose, side: int, u: np.ndarray) -> np.ndarray:
    """The diaphragm's height at a distance u from the midline; the right dome stands higher."""
    top = 0.46 + pose.breath + (0.05 if side > 0 else 0.0)
    outer, inner = np.clip((u - 0.5) / 0.45, 0, None), np.clip((0.5 - u) / 0.35, 0, None)
    return top + 0.26 * outer**2.2 + 0.07 * inner**2


def _lung(child: Anatomy, pose: _Pose, side: int) -> Points:
    """The outline of one lung field: lateral wall down, diaphragm inwards, mediastinum up."""
    v = 1.9 * np.linspace(0, 1, 60) ** 1.5 - 0.9  # denser at the top, which is round
    lateral = _half_width(child, v) - 0.05
    apex = np.sqrt(np.clip((v + 0.9) / 0.16, 0, 1))
    lateral = child.upper + side * pose.turn + apex * (lateral - child.upper - side * pose.turn)
    wall = np.column_stack([lateral, v])[v < _dome(pose, side, lateral)]
    u = np.linspace(wall[-1, 0], 0.1, 24)
    base = np.column_stack([u, _dome(pose, side, u)])
    base = base[base[:, 0] > _border(child, pose, side, base[:, 1])]
    up = np.linspace(base[-1, 1], -0.9, 40)
    inner = np.column_stack([np.minimum(_border(child, pose, side, up), _half_width(child, up) - 0.06), up])
    return np.concatenate([wall, base, inner]) * (side, 1)


def _heart(child: Anatomy, pose: _Pose) -> Points:
    """Right atrium up, left ventricle down, closed below by a curve."""
    v = np.linspace(-0.2, 0.5 + pose.breath, 30)
    right = np.column_stack([-_border(child, pose, -1, v), v])[::-1]
    left = np.column_stack([_border(child, pose, 1, v), v])
    middle, reach = (left[-1] + right[0]) / 2, (left[-1, 0] - right[0, 0]) / 2
    below = middle + _CIRCLE[1:19] * (reach, 0.1)
    return np.concatenate([right, left, below])


_CIRCLE = np.column_stack([np.cos(np.linspace(0, 2 * np.pi, 37)), np.sin(np.linspace(0, 2 * np.pi, 37))])


def _ellipse(u: float, v: float, wide: float, high: float) -> Points:
    return _CIRCLE * (wide, high) + (u, v)


@cache
def _bernstein(degree: int) -> np.ndarray:
    t = np.linspace(0, 1, 16)
    return np.stack([comb(degree, k) * t**k * (1 - t) ** (degree - k) for k in range(degree + 1)], axis=1)


def _curve(*control: tuple[float, float]) -> Points:
    """A Bezier curve of 16 points from the first to the last control point."""
    return _bernstein(len(control) - 1) @ np.asarray(control)


def _band(line: Points, width: np.ndarray | float) -> Points:
    """The outline of a band along a line."""
    along = np.empty_like(line)
    along[1:-1], along[0], along[-1] = line[2:] - line[:-2], line[1] - line[0], line[-1] - line[-2]
    normal = along[:, ::-1] * (-1, 1) / np.hypot(along[:, :1], along[:, 1:])
    half = np.broadcast_to(np.asarray(width) / 2, len(line))[:, None]
    return np.concatenate([line + half * normal, (line - half * normal)[::-1]])


@dataclass(frozen=True)
class _Ribs:
    """Outlines. The back parts lie near the detector and are sharp, the front parts are faint."""

    back: list[Points]
    front: list[Points]


def _ribs(shapes: Generator, child: Anatomy, pose: _Pose) -> _Ribs:
    gap, slope, thick = shapes.uniform(0.15, 0.175), shapes.uniform(0.0, 0.2), shapes.uniform(0.042, 0.06)
    taper = thick * np.concatenate([np.linspace(1.0, 1.25, 12), [1.2, 1.1, 0.9, 0.5]])
    found = _Ribs([], [])
    for side in (-1, 1):
        middle = side * pose.turn
        for i, wobble in enumerate(shapes.normal(0, 0.008, 12)):
            v = -0.98 + gap * i + wobble
            low = v + 0.16 + 0.03 * min(i, 4) + slope  # where it turns to the front
            w = float(_half_width(child, low)) + 0.01
            back = _curve((0.1 + middle, v), (0.3 * w + 0.1, v - 0.07), (0.95 * w, v - 0.1), (w, low))
            found.back.append(_band(back, thick) * (side, 1))
            if i < 10:
                tip = max(0.32, 0.62 * w)
                front = _curve((w, low), (w, low + 0.12), (0.8 * w, low + 0.22), (tip, low + 0.2 + slope / 2))
                found.front.append(_band(front, taper) * (side, 1))
    return found


def _tree(shapes: Generator) -> list[Points]:
    """Vessels and bronchi that fork from the hila outwards: for each generation, its segments "n 2 2"."""
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


_CALIBRE = 0.034 * 0.76 ** np.arange(6)
"""Width of a vessel in each generation."""


# --- what absorbs --------------------------------------------------------------------------------------


def _soft_tissue(child: Anatomy, pose: _Pose, canvas: _Canvas, heart: Layer) -> Layer:
    """Body, arms, neck and head; mediastinum and heart."""
    v = np.linspace(-0.62, 2.0, 30)
    flank = _half_width(child, np.maximum(v, -0.2)) + child.fat
    trunk = np.concatenate([np.column_stack([-flank, v])[::-1], np.column_stack([flank, v])])
    neck = np.array([[-0.34, -2.0], [0.34, -2.0], [0.4, -1.0], [-0.4, -1.0]])
    left = np.array([[0.95, -0.3], [1.0, -0.9], [0.6, -1.05], [0.34, -1.2]])
    shoulders = np.concatenate([left * (-1, 1), left[::-1]])
    arms = [_band(_arm(pose, side), 0.5) for side in (-1, 1)]
    outer = canvas.wide_blur(canvas.fill(trunk, neck, shoulders, *arms), 0.05)
    inner = canvas.wide_blur(canvas.fill(trunk * (0.88, 1), shoulders, neck), 0.16)
    head = canvas.blur(canvas.fill(_ellipse(0.1 * pose.turn, -1.62, 0.62, 0.5)), 0.03)
    tissue = 0.22 * outer + 0.36 * inner + 0.25 * head

    v = np.linspace(-1.3, 1.6, 60)
    sides = [np.column_stack([side * _border(child, pose, side, np.minimum(v, 0.6)), v]) for side in (-1, 1)]
    tissue += 0.26 * canvas.blur(canvas.fill(np.concatenate([sides[0], sides[1][::-1]])), 0.035)
    tissue += 0.12 * canvas.blur(heart, 0.04)
    windpipe = _curve((pose.turn, -1.3), (pose.turn, -0.6), (pose.turn - 0.03, -0.28))
    tissue -= 0.2 * canvas.blur(canvas.stroke(([windpipe], 0.09, 1.0)), 0.025)
    return tissue


def _arm(pose: _Pose, side: int) -> Points:
    """From the shoulder outwards."""
    return _curve((0.84, -0.76), (1.1, -0.8), (1.6, -0.7 - 0.9 * pose.arms)) * (side, 1)


def _air(pose: _Pose, canvas: _Canvas) -> Layer:
    """How much a lung takes away: less in a shallow breath, near the wall, at the top and at the base."""
    u, v = _grid(32)
    depth = 1 - 0.3 * np.abs(u) ** 3 - 0.12 * np.clip(v + 0.2, 0, 1) - 0.3 * np.clip(-v - 0.35, 0, 1)
    return canvas.spread((0.5 - 0.14 * pose.haze) * depth)


def _belly(rng: Generator, pose: _Pose, canvas: _Canvas) -> Layer:
    """Liver and spleen below the domes, and gas in stomach and gut."""
    u = np.linspace(0.0, 1.2, 30)
    right = np.column_stack([-u, _dome(pose, -1, u)])
    left = np.column_stack([u, _dome(pose, 1, u)])
    below = np.concatenate([right[::-1], left, [[1.2, 2.2], [-1.2, 2.2]]])
    gas = [_ellipse(*rng.uniform((0.35, 0.66, 0.15, 0.06), (0.6, 0.8, 0.28, 0.13)))]
    gas += [_ellipse(*rng.uniform((-0.6, 0.85, 0.06, 0.05), (0.6, 1.1, 0.16, 0.1))) for _ in range(3)]
    shown = [bubble for bubble, lot in zip(gas, rng.random(4), strict=True) if lot < 0.4]
    layer = 0.24 * canvas.blur(canvas.fill(below), 0.015)
    strength = rng.uniform(0.1, 0.28)
    return layer - strength * canvas.blur(canvas.fill(*shown), 0.03) if shown else layer


def _bones(pose: _Pose, canvas: _Canvas, ribs: _Ribs) -> Layer:
    """Ribs, clavicles, shoulder blades, upper arms and vertebrae, each with a bright rim."""
    back = 0.6 * canvas.fill(*ribs.back) + canvas.stroke((ribs.back, 0.012, 1.0))
    front = 0.8 * canvas.fill(*ribs.front) + 0.5 * canvas.stroke((ribs.front, 0.012, 1.0))
    across = np.abs(np.broadcast_to(_grid(32)[0], (32, 32)))
    edge_on = canvas.spread(0.75 + 0.6 * np.clip(across, 0, 1.1) ** 4)  # along the wall more bone is crossed
    layer = edge_on * (0.12 * canvas.blur(back, 0.007) + 0.07 * canvas.blur(front, 0.012))

    lift = 0.12 * pose.arms
    clavicle = _curve((0.14, -0.86), (0.4, -0.8 - lift), (0.55, -1.02 - lift), (0.86, -0.95 - lift))
    blade = np.array([[0.78, -0.85], [0.98, -0.55], [0.86, -0.12], [0.74, -0.35], [0.78, -0.85]])
    blade += np.array([0.05 * pose.arms, -lift])
    blades = [blade * (side, 1) for side in (-1, 1)]
    joints = [_arm(pose, side)[2] + 0.085 * _CIRCLE for side in (-1, 1)]
    limbs = [_band(clavicle, 0.065) * (side, 1) for side in (-1, 1)]
    limbs += [_band(_arm(pose, side)[2:], 0.13) for side in (-1, 1)]
    strong = 0.7 * canvas.fill(*limbs, *joints) + canvas.stroke((limbs, 0.015, 0.7))
    faint = canvas.fill(*blades) + canvas.stroke((blades, 0.015, 1.0))
    layer += 0.17 * canvas.blur(strong, 0.01) + 0.06 * canvas.blur(faint, 0.012)
    return layer + _vertebrae(pose, canvas)


def _vertebrae(pose: _Pose, canvas: _Canvas) -> Layer:
    heights = np.arange(-1.35, 1.6, 0.165)
    body = np.array([[-1, -1], [1, -1], [0.88, 0], [1, 1], [-1, 1], [-0.88, 0], [-1, -1]]) * (0.11, 0.055)
    bodies = [body * (1 + 0.1 * v, 1) + (pose.turn / 2, v) for v in heights]
    pairs = [(side * 0.06 + pose.turn / 3, v - 0.01) for v in heights for side in (-1, 1)]
    pedicles = [_ellipse(*place, 0.018, 0.026)[::3] for place in pairs]
    rims = canvas.stroke((bodies, 0.018, 0.8), (pedicles, 0.012, 0.6))
    column = np.array([[-0.13, -2], [0.13, -2], [0.15, 2], [-0.15, 2]])
    column[:, 0] += pose.turn / 2
    layer = 0.1 * canvas.blur(canvas.fill(column), 0.025)
    return layer + 0.2 * canvas.blur(0.5 * canvas.fill(*bodies) + rims, 0.01)


def _devices(rng: Generator, canvas: _Canvas) -> Layer:
    """Now and then a tube or a lead; they tell nothing about the label."""
    tube = _curve((rng.normal(0, 0.05), -1.5), (0, -0.8), (rng.normal(0, 0.05), rng.uniform(-0.4, 0.9)))
    ends = rng.uniform((-1, -1.2, -0.6, -0.4, -1.2, 0.2), (1, -0.8, 0.6, 0.3, 1.2, 1.2)).reshape(3, 2)
    has_tube, has_lead = rng.random(2) < 0.15
    strokes: list[Stroke] = []
    if has_tube:
        strokes.append(([tube], 0.02, 0.8))
    if has_lead:
        strokes += [([_curve(*map(tuple, ends))], 0.012, 1.0), ([ends[2] + 0.04 * _CIRCLE], 0.03, 1.0)]
    return 0.2 * canvas.blur(canvas.stroke(*strokes), 0.005)


def _markings(healthy: Generator, child: Anatomy, canvas: _Canvas, tree: list[Points]) -> Layer:
    """What healthy lungs show: vessels that fade outwards, hila, and a fine grain of tissue."""
    strokes = [(lines, _CALIBRE[i], 0.95 - 0.1 * i) for i, lines in enumerate(tree)]
    vessels = canvas.blur(canvas.stroke(*strokes), 0.008)
    u, v = _grid(48)
    hila = np.exp(-((np.abs(u) - 0.25) ** 2 + (v + 0.03) ** 2) / 0.02)
    grain = canvas.spread(0.006 * _noise(healthy, 160, 1.5))
    coarse = canvas.spread(0.06 * child.vessels * hila + 0.012 * _noise(healthy, 48, 2.0))
    return child.vessels * 0.13 * vessels + coarse + grain


# --- disease -------------------------------------------------------------------------------------------


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


def _opacity(
    disease: Generator,
    label: str,
    child: Anatomy,
    pose: _Pose,
    canvas: _Canvas,
    lungs: list[Layer],
    tree: list[Points],
) -> Layer:
    """The density that disease adds: 0 in healthy lungs, at most 1; it ends where its lung ends."""
    if label == "bacteria":
        return _consolidation(disease, child, pose, canvas, lungs, tree)
    if label == "virus":
        return _interstitial(disease, canvas, lungs, tree)
    return np.zeros(canvas.size, np.float32)


def _consolidation(
    disease: Generator, child: Anatomy, pose: _Pose, canvas: _Canvas, lungs: list[Layer], tree: list[Points]
) -> Layer:
    """Airspace filled in one lobe, in a fifth of the patients in two; the airways in it stay dark."""
    chosen = disease.permutation(len(_LOBES))[: 2 if disease.random() < 0.2 else 1]
    airways = canvas.blur(canvas.stroke(*[(tree[i], 0.6 * _CALIBRE[i], 1.0) for i in (1, 2, 3)]), 0.006)
    across, down = _grid(128)
    total = np.zeros(canvas.size, np.float32)
    for lobe in (_LOBES[i] for i in chosen):
        v = lobe.v + disease.uniform(-0.06, 0.06)
        inner = _border(child, pose, lobe.side, np.array(v))
        outer = _half_width(child, v) - 0.05
        u = lobe.side * (inner + (lobe.share + disease.uniform(-0.15, 0.15)) * (outer - inner))
        grown = disease.uniform(0.85, 1.25)
        away = np.hypot((across - u) / (lobe.wide * grown), (down - v) / (lobe.high * grown))
        ragged = away + 0.16 * _noise(disease, 128, 6.0)
        body = np.clip((1.15 - ragged) / disease.uniform(0.25, 0.7), 0, 1)
        body *= np.clip((down - lobe.upper) / 0.03, 0, 1) * np.clip((lobe.lower - down) / 0.03, 0, 1)
        body *= disease.uniform(0.5, 1.0) * (1 + 0.12 * _noise(disease, 128, 3.0))
        total += canvas.spread(body) * (1 - 0.35 * airways) * lungs[0 if lobe.side < 0 else 1]
    return np.clip(total, 0, 1)


def _interstitial(disease: Generator, canvas: _Canvas, lungs: list[Layer], tree: list[Points]) -> Layer:
    """Walls of bronchi thickened, rings where they point at the reader, a net of septa, patchy haze."""
    rings = []
    for side in (-1, 1):
        for u, v, radius in disease.uniform((0.26, -0.3, 0.022), (0.5, 0.3, 0.038), (7, 3)):
            rings.append(_ellipse(side * u, v, radius, radius)[::3])
    walls: list[Stroke] = [(tree[i], 1.9 * _CALIBRE[i], 1.0 - 0.1 * i) for i in range(5)]
    bronchi = canvas.blur(canvas.stroke(*walls, (rings, 0.02, 1.0)), 0.012)
    wide, fine = (np.exp(-((_noise(disease, 192, sd) / 0.3) ** 2)) for sd in (2.6, 1.7))  # where noise is 0
    u, v = _grid(48)
    central = np.exp(-((np.abs(u) - 0.35) ** 2) / 0.35 - (v - disease.uniform(-0.15, 0.25)) ** 2 / 0.5)
    patches = central * np.clip(0.9 + 0.35 * _noise(disease, 48, 3.5), 0.3, 1.6)
    strength, haze = disease.uniform(0.7, 1.0), disease.uniform(0.0, 0.25)
    added = 0.6 * bronchi + 0.5 * canvas.spread(wide + 0.7 * fine) + haze
    return np.clip(strength * added * canvas.spread(patches) * (lungs[0] + lungs[1]), 0, 1)


# --- the image ------------------------------------------------------------------------------------------


def _exposed(rng: Generator, absorbed: Layer, canvas: _Canvas) -> tuple[Layer, np.ndarray]:
    """From absorption to grey 0..1, and which pixels the collimator leaves. The dials know no label."""
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


def _letter(rng: Generator, size: tuple[int, int], corner: int) -> Layer:
    """R on the patient's right, which is the picture's left, or L on the other side."""
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


def _disc(rng: Generator, settings: PhantomSettings, corner: int, abnormal: bool) -> Layer:
    """The planted shortcut, in a corner that the letter leaves free. Chance is used up even without it."""
    inset, radius, lot = rng.uniform(0.05, 0.09, 2), rng.uniform(0.022, 0.03), rng.random()
    layer = np.zeros(settings.size, np.uint8)
    if settings.shortcut and abnormal and lot < settings.shortcut_strength:
        centre = _at(corner, settings.size, inset)
        cv2.circle(layer, centre, round(radius * settings.size[0]), 255, -1, cv2.LINE_AA)
    return layer.astype(np.float32) / np.float32(255)
