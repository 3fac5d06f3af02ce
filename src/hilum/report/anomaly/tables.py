"""Tables of the anomaly section: leaderboard with shortcuts, OOD images, localization, matching."""

from dataclasses import dataclass

from hilum.artifacts.anomaly import (
    AnomalyFigures,
    DetectorFigures,
    JointShortcut,
    Measured,
    Shortcut,
    Shortcuts,
)
from hilum.artifacts.base import Figure
from hilum.data.shortcuts import NAMES
from hilum.report.anomaly.figures import (
    ENSEMBLE,
    PARTS,
    row_name,
)
from hilum.report.cells import Cell
from hilum.report.stated import interval_text
from hilum.report.wording import NOTHING, count, duration, listing, number, percent, plural


@dataclass(frozen=True)
class DetectorRow:
    """One row of the leaderboard; `causes`, `sensitivities`: by abnormal label; `strong`: the best row."""

    name: str
    strong: bool
    remark: str
    auroc: Cell
    matched: Cell
    causes: list[Cell]
    sensitivities: list[Cell]
    average_precision: Cell
    false_alarms: Cell
    sensitivity: Cell
    best_f1: Cell
    best_accuracy: Cell


@dataclass(frozen=True)
class ShortcutRow:
    """What shortcuts reach on all images (`value`) and among the pairs (`matched`)."""

    name: str
    value: Cell
    matched: Cell


@dataclass(frozen=True)
class Leaderboard:
    """Detectors and shortcuts on one set of images."""

    title: str
    images: str
    causes: list[str]
    pairs: int
    rate: str
    rows: list[DetectorRow]
    shortcuts: list[ShortcutRow]
    replicates: str


@dataclass(frozen=True)
class OtherLookTable:
    """The same held-out images as they are and in the look of the other label's devices, a row per detector."""

    images: str
    rate: str
    rows: list[list[Cell]]


@dataclass(frozen=True)
class Shaded:
    """A share with its counts and its interval; `shade`: 0 to 0.75."""

    share: str
    counts: str
    interval: str
    shade: float


@dataclass(frozen=True)
class OodRow:
    """One kind of OOD image, a cell per detector."""

    title: str
    cells: list[Shaded]


@dataclass(frozen=True)
class OodTable:
    """`names`: of the detectors; `n`: images of each kind."""

    names: list[str]
    n: str
    rows: list[OodRow]


@dataclass(frozen=True)
class LocalizationTable:
    """`chance`: how often a random pixel lies in a lesion."""

    images: str
    chance: str
    rows: list[list[Cell]]


@dataclass(frozen=True)
class MatchingView:
    """How the images of one part were paired."""

    title: str
    sentences: list[str]
    rows: list[list[Cell]]


@dataclass(frozen=True)
class DetectorView:
    """What a detector is."""

    name: str
    description: str
    options: str
    parameters: str
    seconds: str


BASIS = {
    "other_look": "highest AUROC in the other look",
    "matched": "highest matched AUROC on validation images",
    "plain": "highest AUROC on validation images",
}
"""Why a row is the best; see `AnomalyFigures.basis`."""


def is_measured(figures: AnomalyFigures, part: str) -> bool:
    """Whether a detector has figures on this part.

    >>> detector = DetectorFigures.model_construct(parts={"measure": None})
    >>> figures = AnomalyFigures.model_construct(detectors={"vae": detector})
    >>> is_measured(figures, "measure"), is_measured(figures, "test")
    (True, False)
    """
    return any(part in detector.parts for detector in figures.detectors.values())


# -- the leaderboard -----------------------------------------------------------------------------------------


def leaderboard(figures: AnomalyFigures, part: str) -> Leaderboard:
    """A row per detector on one part, the best matched AUROC first; then the shortcuts."""
    rows = {
        row: detector.parts[part] for row, detector in figures.detectors.items() if part in detector.parts
    }
    order = sorted(rows, key=lambda row: -_matched_value(rows[row]))
    first = rows[order[0]]
    matching = figures.matching[part]
    return Leaderboard(
        title=PARTS[part],
        images=f"{count(first.n_healthy)} healthy and {count(first.n_abnormal)} abnormal images of"
        f" {plural(first.n_patients, 'patient')}",
        causes=list(first.causes),
        pairs=matching.pairs,
        rate=percent(figures.false_alarm_rate, 0),
        rows=[_line(figures, row, rows[row]) for row in order],
        shortcuts=_shortcut_lines(figures.shortcuts[part], matching.residual),
        replicates=count(figures.replicates),
    )


def _matched_value(measured: Measured) -> float:
    return (measured.matched.value if measured.matched else None) or 0.0


def _line(figures: AnomalyFigures, row: str, measured: Measured) -> DetectorRow:
    detector = figures.detectors[row]
    remarks = []
    if row == ENSEMBLE:
        remarks.append("mean p-value of " + listing([row_name(name) for name in detector.members]))
    if detector.pretrained:
        remarks.append("pretrained weights")
    if row == figures.best:
        remarks.append(f"best: {BASIS[figures.basis]}")
    causes, best = measured.causes.values(), measured.oracle.best_accuracy
    return DetectorRow(
        name=row_name(row),
        strong=row == figures.best,
        remark="; ".join(remarks),
        auroc=_area_cell(measured.auroc),
        matched=_area_cell(measured.matched),
        causes=[_area_cell(cause.auroc) for cause in causes],
        sensitivities=[_share_cell(cause.sensitivity) for cause in causes],
        average_precision=_area_cell(measured.average_precision),
        false_alarms=_share_cell(measured.false_alarms),
        sensitivity=_share_cell(measured.sensitivity),
        best_f1=Cell(number(measured.oracle.best_f1.value), small=measured.oracle.best_f1.reason or ""),
        best_accuracy=_share_cell(best),
    )


def _area_cell(figure: Figure | None) -> Cell:
    if figure is None:
        return Cell(NOTHING)
    return Cell(number(figure.value), figure.counts, interval_text(figure, "") or figure.reason or "")


def _share_cell(figure: Figure) -> Cell:
    return Cell(percent(figure.value), figure.counts, interval_text(figure) or figure.reason or "")


def _shortcut_lines(shortcuts: Shortcuts, residual: Shortcuts) -> list[ShortcutRow]:
    """The best single number and all together: on all images, and among the pairs."""
    if not shortcuts.single:
        return []
    best, left = shortcuts.single[0], {shortcut.name: shortcut.auroc for shortcut in residual.single}
    lines = [_shortcut_line(f"best single shortcut: {best.label}", best, _area_cell(left.get(best.name)))]
    if isinstance(shortcuts.joint, JointShortcut):
        lines.append(_shortcut_line("all shortcuts together", shortcuts.joint, _joint(residual)))
    return lines


def _shortcut_line(name: str, shortcut: Shortcut | JointShortcut, matched: Cell) -> ShortcutRow:
    return ShortcutRow(name, _area_cell(shortcut.auroc), matched)


def _joint(shortcuts: Shortcuts) -> Cell:
    return _area_cell(shortcuts.joint.auroc if isinstance(shortcuts.joint, JointShortcut) else None)


# -- further tables ------------------------------------------------------------------------------------------


def other_look(figures: AnomalyFigures) -> OtherLookTable | None:
    """Detectors on images in the look of the other label's devices, the best first; None where none were made.

    >>> other_look(AnomalyFigures.model_construct(detectors={})) is None
    True
    """
    measured = {row: (each.same_images, each.other_look) for row, each in figures.detectors.items()}
    rows = {row: (plain, look) for row, (plain, look) in measured.items() if plain and look}
    if not rows:
        return None
    first, _ = next(iter(rows.values()))
    return OtherLookTable(
        images=f"{count(first.n_healthy)} healthy and {count(first.n_abnormal)} abnormal held-out images",
        rate=percent(figures.false_alarm_rate, 0),
        rows=[
            [
                Cell(row_name(row)),
                _area_cell(plain.auroc),
                _area_cell(look.auroc),
                _share_cell(plain.false_alarms),
                _share_cell(look.false_alarms),
                _share_cell(look.sensitivity),
            ]
            for row, (plain, look) in sorted(rows.items(), key=lambda item: -(item[1][1].auroc.value or 0.0))
        ],
    )


def ood(figures: AnomalyFigures) -> OodTable | None:
    """Share of OOD images that each detector flags; None without OOD images."""
    rows = {row: detector.ood for row, detector in figures.detectors.items() if detector.ood}
    if not rows:
        return None
    first = next(iter(rows.values()))
    return OodTable(
        names=[row_name(row) for row in rows],
        n=count(first[0].n),
        rows=[
            OodRow(
                kind.title[0].upper() + kind.title[1:],
                [_shaded(shares[place]) for shares in rows.values()],
            )
            for place, kind in enumerate(first)
        ],
    )


def _shaded(figure: Figure) -> Shaded:
    shade = round(0.75 * (figure.value or 0.0), 3)
    return Shaded(percent(figure.value, 0), figure.counts, interval_text(figure), shade)


def localization(figures: AnomalyFigures) -> LocalizationTable | None:
    """How well the maps point at lesions that are known to the pixel; None where none are."""
    rows = {row: lesions for row, detector in figures.detectors.items() if (lesions := detector.localization)}
    if not rows:
        return None
    first = next(iter(rows.values()))
    return LocalizationTable(
        images=f"{count(first.n_images)} held-out phantom images, {count(first.n_abnormal)} of them with"
        f" {count(first.n_regions)} lesions",
        chance=percent(first.pointing.chance, 0),
        rows=[
            [
                Cell(row_name(row)),
                _area_cell(lesions.pixel_auroc),
                _area_cell(lesions.aupro),
                _share_cell(lesions.pointing),
            ]
            for row, lesions in rows.items()
        ],
    )


def matching(figures: AnomalyFigures, part: str) -> MatchingView:
    """What the pairs were matched on and what is left of each shortcut among them."""
    matched = figures.matching[part]
    if not matched.pairs:
        return MatchingView(PARTS[part], [f"There are no pairs: {matched.reason}."], [])
    features = listing([NAMES[name][0] for name in matched.features])
    return MatchingView(
        title=PARTS[part],
        sentences=[
            f"{plural(matched.pairs, 'pair')} out of {plural(matched.n_healthy, 'healthy image')}.",
            f"The propensity was fitted on {features}.",
            f"Within a pair, the logits of the propensity differ by {number(matched.distance, 3)} on average and by"
            f" {number(matched.caliper, 2)} at most.",
        ],
        rows=_residual_rows(figures.shortcuts[part], matched.residual, _area_cell(matched.propensity_auroc)),
    )


def _residual_rows(shortcuts: Shortcuts, residual: Shortcuts, propensity: Cell) -> list[list[Cell]]:
    before = {shortcut.name: shortcut for shortcut in shortcuts.single}
    rows = [
        [Cell(shortcut.label), _area_cell(before[shortcut.name].auroc), _area_cell(shortcut.auroc)]
        for shortcut in residual.single
        if shortcut.name in before
    ]
    if isinstance(shortcuts.joint, JointShortcut):
        rows.append([Cell("all together, fitted again"), _joint(shortcuts), _joint(residual)])
    return [*rows, [Cell("the propensity"), Cell(NOTHING), propensity]]


def detector(row: str, figures: DetectorFigures) -> DetectorView:
    """What a detector is: how it scores, its options, its size, the time it took."""
    took = figures.seconds
    return DetectorView(
        name=row_name(row),
        description=figures.description,
        options=", ".join(f"{key}: {value}" for key, value in figures.options.items()),
        parameters=NOTHING if figures.parameters is None else count(figures.parameters),
        seconds="" if took is None else f"fit {duration(took.fit)}, scores {duration(took.score)}",
    )
