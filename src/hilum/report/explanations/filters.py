"""Single filters: the images that activate them most, and inputs synthesised to activate them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from markupsafe import Markup

from hilum.artifacts.explanations import REGIONS, FilterRegions, Maximal
from hilum.data.labels import HEALTHY
from hilum.report.cells import Cell, share_cell
from hilum.report.explanations.plots import ascent_curves
from hilum.report.explanations.reading import TaskExplanations
from hilum.report.figures import look
from hilum.report.heat import box_on_image, colour_uri, framed, grey_levels, small
from hilum.report.pictures import Image, data_uri
from hilum.report.wording import count, digits, listing, number, percent, plural

THUMB, SYNTHETIC = 150, 130
"""Pixels along the longer side of an image with a box, and of a synthesised input."""

SHOWN = 7
"""Synthesised inputs that stand open; the others fold out."""

DEAD_NAMED = 12


@dataclass(frozen=True)
class Activation:
    """One image with the receptive field of a filter's strongest unit; `padded`: it also sees padding."""

    picture: Image
    case: str
    label: str
    letter: str
    colour: str
    padded: bool
    activation: str


@dataclass(frozen=True)
class FilterImages:
    """The images that activate one filter most; `counts`: by letter of the label."""

    filter: int
    cells: list[Activation]
    counts: str


@dataclass(frozen=True)
class RegionRow:
    """In which regions of the chest a filter's strongest positions lie, each cell with what chance gives."""

    filter: int
    cells: list[Cell]


@dataclass(frozen=True)
class MaximalView:
    """Strongest activations of single filters, with the words around them."""

    rows: list[FilterImages]
    layer: str
    of: str
    images: str
    maps: str
    box: str
    letters: str
    padded: str
    dead: str
    region_names: tuple[str, ...]
    regions: list[RegionRow]


@dataclass(frozen=True)
class Ascent:
    """An input synthesised in one way, plain or clean; `rise`: of the activation."""

    way: str
    picture: Image
    rise: str


@dataclass(frozen=True)
class FilterInputs:
    """Synthesised inputs of one filter."""

    filter: int
    pictures: list[Ascent]


@dataclass(frozen=True)
class SynthesisView:
    """Synthesised inputs; `open`: shown at once, `folded`: the others; `clean`: whether the careful ascent ran."""

    open: list[FilterInputs]
    folded: list[FilterInputs]
    start: Image
    start_case: str
    layer: str
    filters: str
    of: str
    steps: str
    lr: str
    clean_steps: str
    clean: bool
    curves: list[Markup]


def marks(labels: Iterable[str]) -> dict[str, str]:
    """A short mark of each label: as many first letters as tell the labels apart, numbers where four do not.

    >>> marks(["normal", "virus"]), marks(["covid", "cancer"])
    ({'normal': 'N', 'virus': 'V'}, {'covid': 'CO', 'cancer': 'CA'})
    >>> marks(["class 1", "class 2"])
    {'class 1': '1', 'class 2': '2'}
    """
    names = list(dict.fromkeys(labels))
    for length in range(1, 5):
        shortened = {name: name[:length].upper() for name in names}
        if len(set(shortened.values())) == len(names):
            return shortened
    return {name: str(number) for number, name in enumerate(names, start=1)}


def _marks(task: TaskExplanations) -> dict[str, str]:
    return marks(sorted(set(task.labels.values()), key=lambda name: (name != HEALTHY, name)))


def maximal(task: TaskExplanations) -> MaximalView | None:
    """The grid of filters and images with the receptive field of the strongest unit; None where not made."""
    facts, arrays = task.figures.maximal, task.arrays(task.folder.maximal_file)
    if facts is None or arrays is None:
        return None
    return MaximalView(
        rows=[_filter_images(task, arrays, row) for row in range(len(arrays["filters"]))],
        layer=facts.layer,
        of=count(facts.of),
        images=_scanned(facts.images, len(task.labels)),
        maps="{} × {}".format(*facts.maps),
        box=_box_words(task, arrays),
        letters=listing([f"{mark} {label}" for label, mark in _marks(task).items()]),
        padded=_padded(facts),
        dead=dead_words(facts.dead, facts.of),
        region_names=REGIONS,
        regions=[_regions(each) for each in facts.regions or []],
    )


def _regions(filter_regions: FilterRegions) -> RegionRow:
    cells = [
        replace(cell, small=f"{cell.small}; by chance {percent(filter_regions.by_chance[name], 0)}")
        for name in REGIONS
        for cell in [share_cell(filter_regions.share[name])]
    ]
    return RegionRow(filter_regions.filter, cells)


def _filter_images(task: TaskExplanations, arrays: Mapping[str, np.ndarray], row: int) -> FilterImages:
    cases = arrays["case_id"][row]
    cells = [_strongest(task, arrays, row, place) for place in range(len(cases)) if cases[place]]
    letters = [cell.letter for cell in cells]
    counts = ", ".join(f"{letters.count(mark)} {mark}" for mark in sorted(set(letters)))
    return FilterImages(int(arrays["filters"][row]), cells, counts)


def _strongest(task: TaskExplanations, arrays: Mapping[str, np.ndarray], row: int, place: int) -> Activation:
    """One image with its box; the frame has gaps where the unit also sees padding."""
    case = str(arrays["case_id"][row, place])
    grey = task.grey(case, THUMB)
    top, left, bottom, right = arrays["box"][row, place].tolist()
    padded = bool(arrays["sees_padding"][row, place])
    box = box_on_image((top, left, bottom, right), task.pixels.size, task.place(case), grey.shape)
    label = task.labels.get(case, "")
    return Activation(
        picture=Image(case, colour_uri(framed(grey, box, dotted=padded), 75), *grey.shape),
        case=case,
        label=label,
        letter=_marks(task).get(label, ""),
        colour=look(label, [*task.figures.classes, label]).colour,
        padded=padded,
        activation=number(float(arrays["activation"][row, place]), 2),
    )


def _scanned(images: int, known: int) -> str:
    """How many images were searched.

    >>> _scanned(5, 5).replace("\xa0", " "), _scanned(3, 5).replace("\xa0", " ")
    ('all 5 images', '3 images chosen at random')
    """
    return (
        f"all {plural(images, 'image')}" if images == known else f"{plural(images, 'image')} chosen at random"
    )


def _box_words(task: TaskExplanations, arrays: Mapping[str, np.ndarray]) -> str:
    """How much of the image a unit sees."""
    boxes = arrays["box"][arrays["case_id"] != ""]
    if not len(boxes):
        return ""
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    rows, cols = task.pixels.size
    return percent(float(np.median(areas)) / (rows * cols), 0)


def _padded(facts: Maximal) -> str:
    if not facts.padded:
        return "No unit shown here sees the padding beyond the image’s border."
    return (
        f"{facts.padded} of {facts.shown} strongest units (broken frame, marked “border”) also see the"
        " padding beyond the image’s border: part of the activation may come from that border and not from the patient."
    )


def dead_words(dead: list[int], of: int) -> str:
    """Which filters are never active.

    >>> dead_words([], 8)
    'Each of the 8 filters is active on some image.'
    """
    if not dead:
        return f"Each of the {of} filters is active on some image."
    names = ", ".join(map(str, dead[:DEAD_NAMED])) + (" and others" if len(dead) > DEAD_NAMED else "")
    verbs = "is never active or answers" if len(dead) == 1 else "are never active or answer"
    return f"{len(dead)} of {of} filters {verbs} every image alike (dead): {names}."


# -- synthesised inputs --------------------------------------------------------------------------------------


def synthesised(task: TaskExplanations) -> SynthesisView | None:
    """Inputs that drive a filter, by the plain ascent and by the careful one, with their activation curves."""
    facts, arrays = task.figures.synthesis, task.arrays(task.folder.synthesis_file)
    if facts is None or arrays is None:
        return None
    ways = [way for way in ("plain", "clean") if way in arrays]
    cells = [
        FilterInputs(int(which), [_ascent(arrays, way, place) for way in ways])
        for place, which in enumerate(arrays["filters"])
    ]
    name = f"ascent-{task.figures.task}"
    titles = {"plain": "Plain ascent", "clean": "Careful ascent"}
    return SynthesisView(
        open=cells[:SHOWN],
        folded=cells[SHOWN:],
        start=task.plain(facts.start, SYNTHETIC),
        start_case=facts.start,
        layer=facts.layer,
        filters=plural(len(facts.filters), "filter"),
        of=count(facts.of),
        steps=count(facts.steps),
        lr=count(facts.lr) if facts.lr >= 1 else str(facts.lr),
        clean_steps=count(facts.clean_steps),
        clean="clean" in ways,
        curves=[
            ascent_curves(arrays[f"{way}_activation"], arrays["filters"], titles[way], f"{name}-{way}")
            for way in ways
        ],
    )


def _ascent(arrays: Mapping[str, np.ndarray], way: str, place: int) -> Ascent:
    rise = arrays[f"{way}_activation"][place]
    return Ascent(
        way=way,
        picture=_grey_picture(arrays[way][place], f"filter {arrays['filters'][place]}"),
        rise=f"{digits(float(rise[0]))} to {digits(float(rise[-1]))}",
    )


def _grey_picture(values: np.ndarray, name: str) -> Image:
    """A picture of any range: black is its darkest hundredth, white its brightest."""
    grey = small(grey_levels(values), SYNTHETIC)
    return Image(name, data_uri(grey, 80), *grey.shape)
