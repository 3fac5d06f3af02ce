"""From a task's predictions and history to the panels of its section, each row with its caption."""

from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from hilum.evaluation.curves import calibration_bins, pr_band, pr_curve, roc_band, roc_curve
from hilum.report import figures
from hilum.report.results import Results
from hilum.report.wording import LEVEL, count, number, split_name

REPLICATES = 1000
"""Bootstrap samples of the bands."""

BINS, IMAGES_PER_BIN = 10, 20
"""At most so many groups in a reliability diagram, and at least so many images in each."""


@dataclass(frozen=True)
class Row:
    """Panels side by side, the caption below them, and what they show in one sentence."""

    drawings: tuple[Markup, ...]
    caption: str
    sentence: str = ""


def training_panels(one: Results) -> Row:
    """Loss, accuracy and learning rate over epochs."""
    best = one.card.get("training", {}).get("best_epoch") or None
    drawings = [
        figures.training_curve(one.history, key, best, f"{one.task}-{key}")
        for key in ("loss", "accuracy")
        if {f"train_{key}", f"val_{key}"} & set(one.history.columns)
    ]
    if "learning_rate" in one.history:
        drawings.append(figures.learning_rate_curve(one.history, best, f"{one.task}-rate"))
    kept = f" The weights after epoch {best} were kept." if best else ""
    images = " and ".join(
        f"{count(int((one.predictions['split'] == part).sum()))} {split_name(part)} images"
        for part in ("train", "val")
    )
    return Row(
        tuple(drawings),
        f"{len(one.history)} epochs; {images}.{kept} Training figures are means over each epoch as the network"
        " learnt, on altered images where the recipe alters them, so they may be worse than those of"
        " validation.",
    )


def operating_panels(one: Results) -> list[Row]:
    """ROC and precision-recall: one panel each for two classes, one per class for more."""
    wanted = _drawable(one)
    if not wanted:
        return []
    about = (
        f"{one.size}, {split_name(one.split)} split. Bands: {LEVEL}, point by point, from {count(REPLICATES)}"
        " bootstrap samples over patients."
    )
    if len(one.classes) == 2:
        abnormal = wanted[0]
        corner = (one.block["auroc"].get("value") or 0) >= 0.9
        drawings = [
            _roc(one, abnormal),
            *([_roc(one, abnormal, corner=True)] if corner else []),
            _precision_recall(one, abnormal),
        ]
        marked = " The marker is the threshold in use." if one.threshold is not None else ""
        enlarged = " Middle: the upper left corner of the ROC curve, enlarged." if corner else ""
        return [Row(tuple(drawings), f"{about}{marked}{enlarged} Dotted: guessing.")]
    against = " Each class against the rest; the marker is the model’s own choice of the likeliest class."
    return [
        Row(tuple(_roc(one, name) for name in wanted), f"{about}{against} Dotted: guessing."),
        Row(
            tuple(_precision_recall(one, name) for name in wanted),
            f"{about} Dotted: the share of the class, which is guessing.",
        ),
    ]


def calibration_panels(one: Results) -> Row:
    """Reliability diagrams: of two classes the abnormal one, beside its histogram; of more, each."""
    binned = {name: _bins(one, name) for name in _drawable(one)}
    drawings = [
        figures.reliability(bins, figures.look(name, one.classes), name, f"{one.task}-reliability-{name}")
        for name, bins in binned.items()
    ]
    about = (
        f"{one.size}, {split_name(one.split)} split, in up to {_groups(one)} groups of equal size by stated"
        " probability. On"
        " the dotted line, 8 of 10 images said to have the class with probability 0.8 do have it. Bars:"
        " Wilson’s"
        f" {LEVEL} interval, images taken as independent."
    )
    if len(one.classes) == 2 and binned:
        drawings.append(_histogram(one, one.classes[1]))
        about += (
            " Beside it: how the probabilities fall, counts on a logarithmic axis; dashed, the threshold."
        )
    return Row(tuple(drawings), about, _largest_gap(binned))


def _bins(one: Results, name: str) -> list[figures.Bin]:
    scores, positive = _scores(one, name)
    return [
        figures.Bin(each["probability"], each["observed"], each["low"], each["high"], int(each["n"]))
        for each in calibration_bins(scores, positive, _groups(one))
    ]


def _groups(one: Results) -> int:
    return max(2, min(BINS, len(one.rows) // IMAGES_PER_BIN))


def _largest_gap(binned: dict[str, list[figures.Bin]]) -> str:
    """Where statement and truth are farthest apart, of the groups whose interval leaves the statement out."""
    gaps = [
        (abs(one.stated - one.observed), name, one)
        for name, bins in binned.items()
        for one in bins
        if not one.low <= one.stated <= one.high
    ]
    if not binned:
        return ""
    if not gaps:
        return (
            "As far as these images can tell, yes: in each group, what was stated agrees with what was seen."
        )
    _, name, worst = max(gaps, key=lambda gap: gap[0])
    direction = "too low" if worst.observed > worst.stated else "too high"
    return (
        f"Not everywhere. The widest gap: for {worst.n} images it stated a probability of {name} of"
        f" {number(worst.stated, 2)} on average, and {number(worst.observed, 2)} of them were; that is"
        f" {direction}."
    )


# -- single panels -----------------------------------------------------------------------------------------


def _drawable(one: Results) -> list[str]:
    """The classes with a curve: the abnormal one of two, all of more; not those that nobody or everybody has."""
    wanted = one.classes[1:] if len(one.classes) == 2 else one.classes
    present = one.rows["target"].value_counts()
    return [name for name in wanted if 0 < present.get(name, 0) < len(one.rows)]


def _scores(one: Results, name: str) -> tuple[np.ndarray, np.ndarray]:
    rows = one.rows
    return rows[f"prob_{name}"].to_numpy(np.float64), (rows["target"] == name).to_numpy()


def _roc(one: Results, name: str, corner: bool = False) -> Markup:
    scores, positive = _scores(one, name)
    patients = one.rows["patient"].to_numpy()
    curve = roc_curve(scores, positive)
    band = roc_band(scores, positive, patients, replicates=REPLICATES)
    shown = figures.Band(curve["fpr"], curve["tpr"], band["fpr"], band["low"], band["high"])
    predicted = (one.rows["predicted"] == name).to_numpy()
    point = (float(predicted[~positive].mean()), float(predicted[positive].mean()))
    area = _area(one, name, "auroc")
    title = "the same, enlarged" if corner else _title(one, name)
    ids = f"{one.task}-roc-{name}{'-corner' if corner else ''}"
    return figures.roc(shown, figures.look(name, one.classes), title, area, point, ids, corner)


def _precision_recall(one: Results, name: str) -> Markup:
    scores, positive = _scores(one, name)
    patients = one.rows["patient"].to_numpy()
    curve = pr_curve(scores, positive)
    band = pr_band(scores, positive, patients, replicates=REPLICATES)
    shown = figures.Band(curve["recall"], curve["precision"], band["recall"], band["low"], band["high"])
    predicted = (one.rows["predicted"] == name).to_numpy()
    point = (
        (float(predicted[positive].mean()), float(positive[predicted].mean())) if predicted.any() else None
    )
    area = _area(one, name, "average_precision")
    looks = figures.look(name, one.classes)
    share = float(positive.mean())
    return figures.precision_recall(
        shown, looks, _title(one, name), area, share, point, f"{one.task}-pr-{name}"
    )


def _histogram(one: Results, abnormal: str) -> Markup:
    rows = one.rows
    scores = {
        name: rows.loc[rows["target"] == name, f"prob_{abnormal}"].to_numpy(np.float64)
        for name in one.classes
    }
    return figures.score_histogram(scores, one.classes, abnormal, one.threshold, f"{one.task}-scores")


def _area(one: Results, name: str, key: str) -> str:
    """The area under the curve as metrics.json has it, so that figure and table agree."""
    block = one.block if len(one.classes) == 2 else one.block.get("per_class", {}).get(name, {})
    return number((block.get(key) or {}).get("value"))


def _title(one: Results, name: str) -> str:
    return f"{name} against {one.classes[0]}" if len(one.classes) == 2 else f"{name} against the rest"
