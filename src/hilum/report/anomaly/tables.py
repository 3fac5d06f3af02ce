"""Tables of the anomaly section: leaderboard with shortcuts, OOD images, localization, matching."""

from typing import Any

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
    area_interval,
    row_name,
    share,
    share_interval,
)
from hilum.report.wording import NOTHING, count, duration, listing, number, percent, plural

Cell = dict[str, str]


def is_measured(figures: AnomalyFigures, part: str) -> bool:
    """Whether a detector has figures on this part.

    >>> detector = DetectorFigures.model_construct(parts={"measure": None})
    >>> figures = AnomalyFigures.model_construct(detectors={"vae": detector})
    >>> is_measured(figures, "measure"), is_measured(figures, "test")
    (True, False)
    """
    return any(part in detector.parts for detector in figures.detectors.values())


# -- the leaderboard -----------------------------------------------------------------------------------------


def leaderboard(figures: AnomalyFigures, part: str) -> dict[str, Any]:
    """A row per detector on one part, the best matched AUROC first; then the shortcuts.

    >>> from hilum.artifacts.anomaly import BestF1, Matching, Oracle
    >>> half = Figure(value=0.5)
    >>> measured = Measured(auroc=Figure(value=0.9), average_precision=half, false_alarms=half, sensitivity=half,
    ...     causes={}, oracle=Oracle(best_f1=BestF1(value=0.8, precision=1, recall=0.7), best_accuracy=half),
    ...     n_healthy=10, n_abnormal=20, n_patients=30)
    >>> figures = AnomalyFigures.model_construct(best="vae", false_alarm_rate=0.05, replicates=50,
    ...     detectors={"vae": DetectorFigures.model_construct(parts={"test": measured})},
    ...     matching={"test": Matching(pairs=0)}, shortcuts={"test": Shortcuts()})
    >>> [(row["name"], row["auroc"]["value"]) for row in leaderboard(figures, "test")["rows"]]
    [('vae', '0.900')]
    """
    rows = {
        row: detector.parts[part] for row, detector in figures.detectors.items() if part in detector.parts
    }
    order = sorted(rows, key=lambda row: -_matched_value(rows[row]))
    first = rows[order[0]]
    matching = figures.matching[part]
    return {
        "title": PARTS[part],
        "images": f"{count(first.n_healthy)} healthy and {count(first.n_abnormal)} abnormal images of"
        f" {plural(first.n_patients, 'patient')}",
        "causes": list(first.causes),
        "pairs": matching.pairs,
        "rate": percent(figures.false_alarm_rate, 0),
        "rows": [_line(figures, row, rows[row]) for row in order],
        "shortcuts": _shortcut_lines(figures.shortcuts[part], matching.residual),
        "replicates": count(figures.replicates),
    }


def _matched_value(measured: Measured) -> float:
    return (measured.matched.value if measured.matched else None) or 0.0


def _line(figures: AnomalyFigures, row: str, measured: Measured) -> dict[str, Any]:
    detector = figures.detectors[row]
    remarks = []
    if row == ENSEMBLE:
        remarks.append("mean p-value of " + listing([row_name(name) for name in detector.members]))
    if detector.pretrained:
        remarks.append("pretrained weights")
    if row == figures.best:
        remarks.append("best matched AUROC on validation images")
    causes = measured.causes.values()
    return {
        "name": row_name(row),
        "strong": row == figures.best,
        "remark": "; ".join(remarks),
        "auroc": _area_cell(measured.auroc),
        "matched": _area_cell(measured.matched),
        "causes": [_area_cell(cause.auroc) for cause in causes],
        "sensitivities": [_share_cell(cause.sensitivity) for cause in causes],
        "average_precision": _area_cell(measured.average_precision),
        "false_alarms": _share_cell(measured.false_alarms),
        "sensitivity": _share_cell(measured.sensitivity),
        "best_f1": number(measured.oracle.best_f1.value),
        "best_accuracy": share(measured.oracle.best_accuracy),
    }


def _area_cell(figure: Figure | None) -> Cell:
    if figure is None:
        return {"value": NOTHING, "counts": "", "interval": ""}
    return {"value": number(figure.value), "counts": figure.counts, "interval": area_interval(figure)}


def _share_cell(figure: Figure) -> Cell:
    return {"value": percent(figure.value), "counts": figure.counts, "interval": share_interval(figure)}


def _shortcut_lines(shortcuts: Shortcuts, residual: Shortcuts) -> list[Cell]:
    """The best single number and all together: on all images, and among the pairs."""
    if not shortcuts.single:
        return []
    best, left = shortcuts.single[0], {shortcut.name: shortcut.auroc for shortcut in residual.single}
    lines = [_shortcut_line(f"best single shortcut: {best.label}", best, number(left.get(best.name)))]
    if isinstance(shortcuts.joint, JointShortcut):
        lines.append(_shortcut_line("all shortcuts together", shortcuts.joint, _joint(residual)))
    return lines


def _shortcut_line(name: str, shortcut: Shortcut | JointShortcut, matched: str) -> Cell:
    interval = "" if shortcut.low is None else f"{number(shortcut.low)} to {number(shortcut.high)}"
    return {"name": name, "value": number(shortcut.auroc), "interval": interval, "matched": matched}


def _joint(shortcuts: Shortcuts) -> str:
    return number(shortcuts.joint.auroc) if isinstance(shortcuts.joint, JointShortcut) else NOTHING


# -- further tables ------------------------------------------------------------------------------------------


def ood(figures: AnomalyFigures) -> dict[str, Any] | None:
    """Share of OOD images that each detector flags; None without OOD images.

    >>> from hilum.artifacts.anomaly import OodShare
    >>> noise = OodShare(kind="noise", title="noise", value=0.75, k=3, n=4)
    >>> figures = AnomalyFigures.model_construct(detectors={"vae": DetectorFigures.model_construct(ood=[noise])})
    >>> ood(figures)["rows"][0]["title"], ood(figures)["rows"][0]["cells"][0]["counts"]
    ('Noise', '3/4')
    """
    rows = {row: detector.ood for row, detector in figures.detectors.items() if detector.ood}
    if not rows:
        return None
    first = next(iter(rows.values()))
    return {
        "names": [row_name(row) for row in rows],
        "n": count(first[0].n),
        "rows": [
            {
                "title": kind.title[0].upper() + kind.title[1:],
                "cells": [_shaded(shares[place]) for shares in rows.values()],
            }
            for place, kind in enumerate(first)
        ],
    }


def _shaded(figure: Figure) -> dict[str, Any]:
    return {
        "share": percent(figure.value, 0),
        "counts": figure.counts,
        "shade": round(0.75 * (figure.value or 0.0), 3),
    }


def localization(figures: AnomalyFigures) -> dict[str, Any] | None:
    """How well the maps point at lesions that are known to the pixel; None where none are.

    >>> from hilum.artifacts.anomaly import Localization, Pointing
    >>> lesions = Localization(pixel_auroc=0.9, aupro=0.6, pointing=Pointing(value=0.5, k=1, n=2, chance=0.1),
    ...     n_images=3, n_abnormal=2, n_regions=2)
    >>> figures = AnomalyFigures.model_construct(
    ...     detectors={"vae": DetectorFigures.model_construct(localization=lesions)})
    >>> localization(figures)["rows"][0][:3]
    ['vae', '0.900', '0.600']
    """
    rows = {row: lesions for row, detector in figures.detectors.items() if (lesions := detector.localization)}
    if not rows:
        return None
    first = next(iter(rows.values()))
    return {
        "images": f"{count(first.n_images)} held-out phantom images, {count(first.n_abnormal)} of them with"
        f" {count(first.n_regions)} lesions",
        "chance": percent(first.pointing.chance, 0),
        "rows": [
            [row_name(row), number(lesions.pixel_auroc), number(lesions.aupro), share(lesions.pointing)]
            for row, lesions in rows.items()
        ],
    }


def matching(figures: AnomalyFigures, part: str) -> dict[str, Any]:
    """What the pairs were matched on and what is left of each shortcut among them.

    >>> from hilum.artifacts.anomaly import Matching
    >>> figures = AnomalyFigures.model_construct(matching={"test": Matching(pairs=0, reason="too few images")})
    >>> matching(figures, "test")["sentences"]
    ['There are no pairs: too few images.']
    """
    matched = figures.matching[part]
    if not matched.pairs:
        return {"title": PARTS[part], "sentences": [f"There are no pairs: {matched.reason}."], "rows": []}
    features = listing([NAMES[name][0] for name in matched.features])
    return {
        "title": PARTS[part],
        "sentences": [
            f"{plural(matched.pairs, 'pair')} out of {plural(matched.n_healthy, 'healthy image')}.",
            f"The propensity was fitted on {features}.",
            f"Within a pair, the logits of the propensity differ by {number(matched.distance, 3)} on average and by"
            f" {number(matched.caliper, 2)} at most.",
        ],
        "rows": _residual_rows(figures.shortcuts[part], matched.residual, number(matched.propensity_auroc)),
    }


def _residual_rows(shortcuts: Shortcuts, residual: Shortcuts, propensity: str) -> list[list[str]]:
    before = {shortcut.name: shortcut for shortcut in shortcuts.single}
    rows = [
        [shortcut.label, number(before[shortcut.name].auroc), number(shortcut.auroc)]
        for shortcut in residual.single
        if shortcut.name in before
    ]
    if isinstance(shortcuts.joint, JointShortcut):
        rows.append(["all together, fitted again", _joint(shortcuts), _joint(residual)])
    return [*rows, ["the propensity", NOTHING, propensity]]


def detector(row: str, figures: DetectorFigures) -> dict[str, str]:
    """What a detector is: how it scores, its options, its size, the time it took.

    >>> figures = DetectorFigures.model_construct(
    ...     description="Distance to the nearest patch.", options={"channels": 16}, parameters=None, seconds=None)
    >>> detector("patch_memory", figures)["options"]
    'channels: 16'
    """
    took = figures.seconds
    return {
        "name": row_name(row),
        "description": figures.description,
        "options": ", ".join(f"{key}: {value}" for key, value in figures.options.items()),
        "parameters": NOTHING if figures.parameters is None else count(figures.parameters),
        "seconds": "" if took is None else f"fit {duration(took.fit)}, scores {duration(took.score)}",
    }
