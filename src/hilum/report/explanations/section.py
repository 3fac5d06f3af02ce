"""The section: maps of one image per label and what they rest on, the richest task first."""

from dataclasses import dataclass

import numpy as np

from hilum.artifacts.explanations import ExplainedImage, Failure
from hilum.report import commands
from hilum.report.absent import absent
from hilum.report.explanations import faithfulness, filters, layers
from hilum.report.explanations.faithfulness import AgreementTable, LungTable, MethodTable, TruthTable
from hilum.report.explanations.filters import MaximalView, SynthesisView
from hilum.report.explanations.layers import AblationTable, ConceptTable, ProbeView
from hilum.report.explanations.positions import RawMaps, raw_maps
from hilum.report.explanations.reading import (
    TaskExplanations,
    raw_colours,
    read_explanations,
)
from hilum.report.heat import bar_colours
from hilum.report.pictures import Image
from hilum.report.results import chosen_note
from hilum.report.section import Section
from hilum.report.titles import title_of
from hilum.report.wording import digits, plural, probability, sentence, split_name
from hilum.run import Run

ANCHOR, TITLE = "explanations", "Explanations"

KINDS = (
    ("occlusion",),
    ("grad_cam", "grad_cam_plus_plus", "layer_cam"),
    ("integrated_gradients", "smooth_grad", "deep_lift", "saliency"),
)
"""One column of the row of pictures per kind of method: the first that was made."""

UNITS = {
    "occlusion": "lost probability",
    "rise": "probability",
    "saliency": "evidence per unit of grey, per pixel",
    "smooth_grad": "evidence per unit of grey, per pixel",
    "integrated_gradients": "evidence per pixel",
    "deep_lift": "evidence per pixel",
}
"""What one unit of a method's map is; evidence is the class's logit minus the mean of the others."""

_CAM = "Where are late filters active that raise the evidence for the class?"
_GRADIENT = "Where would a little more brightness change the evidence?"
QUESTIONS = {
    "occlusion": "How does the probability change when a square of the image is covered?",
    "grad_cam": _CAM,
    "grad_cam_plus_plus": _CAM,
    "layer_cam": _CAM,
    "integrated_gradients": "What does each pixel add, on the way from a black image to this one?",
    "smooth_grad": _GRADIENT,
    "deep_lift": "What does each pixel add, compared with a black image?",
    "saliency": _GRADIENT,
    "rise": "How probable is the class, on average, when this pixel is left visible?",
}


@dataclass(frozen=True)
class Column:
    """One method: `scale`, what full colour stands for, `full` as text, in `unit`; `faithfulness`: in words, empty
    where nothing was measured."""

    name: str
    title: str
    source: str
    signed: bool
    question: str
    scale: float
    full: str
    unit: str
    faithfulness: str


@dataclass(frozen=True)
class MapCell:
    """One map on its image, and its range."""

    picture: Image
    title: str
    range: str
    note: str


@dataclass(frozen=True)
class Row:
    """One image with a map per column; None where there is no map."""

    case: str
    label: str
    target_class: str
    image: Image
    probability: str
    cells: list[MapCell | None]


@dataclass(frozen=True)
class SmallRow:
    """One image with the maps of all methods."""

    case: str
    label: str
    target_class: str
    cells: list[Image | None]


@dataclass(frozen=True)
class EveryMethod:
    """All methods on the same images."""

    columns: list[Column]
    rows: list[SmallRow]


@dataclass(frozen=True)
class Block:
    """Everything about one task; None where something was not made."""

    task: str
    question: str
    split: str
    chosen: str
    columns: list[Column]
    rows: list[Row]
    every: EveryMethod | None
    raw: RawMaps | None
    faithfulness: MethodTable | None
    agreement: AgreementTable | None
    truth: TruthTable | None
    lungs: LungTable | None
    ablation: AblationTable | None
    probes: ProbeView | None
    concepts: ConceptTable | None
    maximal: MaximalView | None
    synthesised: SynthesisView | None
    failures: list[str]
    pixels: str


def make(run: Run) -> Section | None:
    """The richest task first, the others folded; None where nothing is trained.

    >>> from hilum.artifacts.run import RunFacts
    >>> import tempfile
    >>> from hilum.files import write_json
    >>> with tempfile.TemporaryDirectory() as place:
    ...     run = Run.create(place, RunFacts(), {"tasks": {}})
    ...     write_json(run.task("binary").card_file, {})
    ...     make(run).values["sentence"]
    'This stage has not run yet.'
    """
    if not run.tasks:
        return None
    known = [task for name in reversed(run.tasks) if (task := read_explanations(run, name)) is not None]
    if not known:
        return absent(run, "explain", ANCHOR, TITLE)
    blocks = [_block(task) for task in known]
    values = {
        "lead": lead(known[0]),
        "bar": bar_colours(),
        "raw_bar": raw_colours(),
        "first": blocks[0],
        "others": blocks[1:],
        "tested": any(block.faithfulness is not None for block in blocks),
        "test": f"{commands.stage(run, 'explain')} --set faithfulness.images=12",
        "commands": [commands.stage(run, "explain"), commands.report(run)],
    }
    return Section(ANCHOR, TITLE, "explanations/template.html", values)


def lead(task: TaskExplanations) -> str:
    """The one sentence: what a covered square costs, for example "Covering one square of 1 % of the image more than
    halves the probability of the predicted class in 1 of 1 image (...). The largest fall is from 0.900 to 0.200.";
    without occlusion maps, that the maps show the evidence.
    """
    maps = list(task.figures.occlusion.values())
    if not maps:
        return "Maps of the evidence for the predicted class."
    halved = [facts for facts in maps if facts.lowest < 0.5 * facts.probability]
    worst = min(maps, key=lambda facts: facts.lowest)
    rows, cols = task.pixels.size
    share = 100 * worst.mask**2 / (rows * cols)
    return (
        f"Covering one square of {share:.0f}\u00a0% of the image more than halves the probability of the"
        f" predicted class in {len(halved)} of {plural(len(maps), 'image')} (of each label, those that are"
        " classified correctly with the highest confidence). The largest fall is from"
        f" {probability(worst.probability)} to {probability(worst.lowest)}."
    )


def _block(task: TaskExplanations) -> Block:
    """Everything about one task."""
    columns, figures = _columns(task), task.figures
    return Block(
        task=figures.task,
        question=title_of(figures.task, figures.classes),
        split=split_name(figures.examples[0].split) if figures.examples else "",
        chosen=chosen_note(task.results.folder, figures.examples[0].split) if figures.examples else "",
        columns=columns,
        rows=[_row(task, row, columns) for row in figures.examples],
        every=_every(task, columns),
        raw=raw_maps(task),
        faithfulness=faithfulness.table(figures.faithfulness),
        agreement=faithfulness.agreement(figures.faithfulness),
        truth=faithfulness.truth(figures.truth),
        lungs=faithfulness.lungs(figures.lungs),
        ablation=layers.ablation(figures.ablation, figures.classes),
        probes=layers.probes(figures.probes, figures.task),
        concepts=layers.concepts(figures.concepts, figures.classes),
        maximal=filters.maximal(task),
        synthesised=filters.synthesised(task),
        failures=[_failure(failure) for failure in figures.failures],
        pixels="{} × {}".format(*task.pixels.size),
    )


def _failure(failure: Failure) -> str:
    """What is missing here, and why."""
    return f"Left out: {failure.what}. The reason: {sentence(failure.why)}"


# -- the rows of pictures ------------------------------------------------------------------------------------


def _columns(task: TaskExplanations) -> list[Column]:
    """The first method of each kind, with what full colour stands for."""
    made = task.figures.maps
    names = [next((name for name in kind if name in made), None) for kind in KINDS]
    return [_column(task, name) for name in names if name is not None]


def _column(task: TaskExplanations, name: str) -> Column:
    maps, scale = task.figures.maps[name], task.scale(name)
    return Column(
        name=name,
        title=maps.title,
        source=maps.source,
        signed=maps.signed,
        question=QUESTIONS.get(name, ""),
        scale=scale,
        full=digits(scale),
        unit=UNITS.get(name, "evidence"),
        faithfulness=faithfulness.line(task.figures.faithfulness, name),
    )


def on_scale(value: float, scale: float) -> str:
    """A value with as many decimals as tell it apart on its scale.

    >>> on_scale(-0.0000012, 1.0), on_scale(0.98765, 1.0), on_scale(12.3456, 31.0), on_scale(0.0123, 0.05)
    ('0.00', '0.99', '12.3', '0.0123')
    """
    if not (np.isfinite(value) and scale > 0):
        return "–"
    decimals = int(np.clip(2 - np.floor(np.log10(scale)), 0, 8))
    return f"{round(value, decimals) + 0.0:.{decimals}f}".replace("-", "−")


def _row(task: TaskExplanations, row: ExplainedImage, columns: list[Column]) -> Row:
    name = row.target_class
    return Row(
        case=row.case_id,
        label=row.label,
        target_class=name,
        image=task.plain(row.case_id),
        probability=f"P({name}) = {probability(row.probabilities[name])}",
        cells=[_cell(task, row, column) for column in columns],
    )


def _cell(task: TaskExplanations, row: ExplainedImage, column: Column) -> MapCell | None:
    """One map on its image, and its range."""
    picture = task.picture(row.case_id, column.name, column.scale)
    values = task.evidence(column.name, row.case_id)
    if picture is None or values is None:
        return None
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    return MapCell(
        picture=picture,
        title=column.title,
        range=f"{on_scale(low, column.scale)} to {on_scale(high, column.scale)}",
        note=_occlusion_note(task, row) if column.name == "occlusion" else "",
    )


def _occlusion_note(task: TaskExplanations, row: ExplainedImage) -> str:
    """What the square that costs most does to the probability."""
    facts = task.figures.occlusion.get(row.case_id)
    if facts is None:
        return ""
    change = f"P({facts.target_class}) from {probability(facts.probability)} to {probability(facts.lowest)}"
    if facts.lowest > 0.9 * facts.probability:
        return f"No square matters much: covering the marked one changes {change}."
    return f"Covering the marked square changes {change}."


def _every(task: TaskExplanations, shown: list[Column]) -> EveryMethod | None:
    """All methods on the same images, small."""
    made = task.figures.maps
    if len(made) <= len(shown):
        return None
    columns = [_column(task, name) for name in made]
    rows = []
    for row in task.figures.examples:
        cells = [task.picture(row.case_id, column.name, column.scale, longest=150) for column in columns]
        rows.append(SmallRow(row.case_id, row.label, row.target_class, cells))
    return EveryMethod(columns, rows)
