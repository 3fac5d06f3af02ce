"""Numbers, intervals, times and names as the report prints them: one place, so that every table agrees."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import floor, isfinite, log10
from typing import Literal

from hilum.artifacts.run import Machine
from hilum.data.labels import HEALTHY

SPACE = "\u00a0"
"""Between a number and its unit, so that a line never breaks there."""

LEVEL = f"95{SPACE}%"
"""The level of every interval."""

NOTHING = "–"
"""Stands where a figure does not exist."""


@dataclass(frozen=True)
class Metric:
    """Name, unit and meaning of a metric. `unit` '%' prints shares as percentages. Where they differ, `more` is its
    meaning for more than two classes, `two` for two of which neither is healthy, with {0} and {1} for them."""

    name: str
    unit: Literal["%", ""]
    meaning: str
    more: str = ""
    two: str = ""


METRICS: Mapping[str, Metric] = {
    "accuracy": Metric("Accuracy", "%", "images classified correctly, of all images"),
    "balanced_accuracy": Metric(
        "Balanced accuracy",
        "%",
        "mean sensitivity over the classes; guessing gives 1 / classes",
    ),
    "sensitivity": Metric(
        "Sensitivity",
        "%",
        "abnormal images classified as abnormal, of all abnormal images (recall)",
        "images of a class classified as it, of all images of the class; mean over the classes",
        "images labelled {1} and classified as {1}, of all images labelled {1} (recall)",
    ),
    "specificity": Metric(
        "Specificity",
        "%",
        "normal images classified as normal, of all normal images",
        "other images not classified as the class, of all other images; mean over the classes",
        "images labelled {0} and classified as {0}, of all images labelled {0}",
    ),
    "precision": Metric(
        "Precision",
        "%",
        "abnormal images, of all images classified as abnormal; depends on the prevalence",
        "correct, of all images classified as the class; mean over the classes",
        "images labelled {1}, of all images classified as {1}; depends on the prevalence",
    ),
    "npv": Metric(
        "Negative predictive value",
        "%",
        "normal images, of all images classified as normal; depends on the prevalence",
        two="images labelled {0}, of all images classified as {0}; depends on the prevalence",
    ),
    "auroc": Metric(
        "AUROC",
        "",
        "probability that an abnormal image scores above a normal one; 0.5 is guessing, 1 perfect",
        "probability that an image of the class scores above another; mean over the classes",
        "probability that the score of {1} is higher for an image of {1} than for one of {0}; 0.5 is guessing",
    ),
    "average_precision": Metric(
        "Average precision",
        "",
        "area under the precision-recall curve; guessing gives the prevalence",
        "area under the precision-recall curve; mean over the classes",
    ),
    "f1": Metric(
        "F1",
        "",
        "harmonic mean of precision and sensitivity; 1 is best",
        "harmonic mean of precision and sensitivity; mean over the classes",
    ),
    "mcc": Metric("MCC", "", "Matthews correlation of predictions and labels; 0 is guessing, 1 perfect"),
    "brier": Metric(
        "Brier score",
        "",
        "mean squared error of the probability of abnormal; 0 is best, a constant 0.5 gives 0.25",
        "squared error of the probabilities, summed over the classes; 0 is best",
        "mean squared error of the probability of {1}; 0 is best, a constant 0.5 gives 0.25",
    ),
    "log_loss": Metric("Log-loss", "", "mean of −ln(probability of the true class), in nats; 0 is best"),
    "accuracy_at_half": Metric("Accuracy at threshold 0.5", "%", "accuracy without a chosen threshold"),
}


def metric(key: str) -> Metric:
    """The metric's wording; a key that is not known here is printed as it is.

    >>> metric("log_loss").name, metric("dice_score").name
    ('Log-loss', 'Dice score')
    """
    return METRICS.get(key, Metric(key.replace("_", " ").capitalize(), "", ""))


def meaning(key: str, classes: Sequence[str]) -> str:
    """What a metric means for these classes.

    >>> meaning("specificity", ["normal", "virus"]), meaning("specificity", ["covid", "pneumonia"])
    ('normal images classified as normal, of all normal images',
     'images labelled covid and classified as covid, of all images labelled covid')
    """
    words = metric(key)
    if len(classes) > 2:
        return words.more or words.meaning
    if classes[0] == HEALTHY or not words.two:
        return words.meaning
    return words.two.format(*classes)


def percent(share: float | None, digits: int = 1) -> str:
    """A share of one as a percentage.

    >>> percent(0.834936).replace(SPACE, " ")
    '83.5 %'
    """
    return NOTHING if share is None or share != share else f"{100 * share:.{digits}f}{SPACE}%"


def number(value: float | None, digits: int = 3) -> str:
    """A number with fixed decimals; a typographic minus.

    >>> number(-0.12345)
    '−0.123'
    """
    return NOTHING if value is None or value != value else f"{value:.{digits}f}".replace("-", "−")


def probability(value: float) -> str:
    """A probability with three decimals, never rounded to 0 or 1.

    >>> probability(0.98765), probability(0.99999), probability(0.00001)
    ('0.988', 'over\xa00.999', 'under\xa00.001')
    """
    if 0 < value < 0.0005:
        return f"under{SPACE}0.001"
    return f"over{SPACE}0.999" if 0.9995 <= value < 1 else number(value)


def digits(value: float) -> str:
    """Three digits that a reader can compare.

    >>> digits(0.98123), digits(1234.5), digits(0.0), digits(0.00012345)
    ('0.981', '1,230', '0', '0.000123')
    """
    if not isfinite(value):
        return NOTHING
    rounded = float(f"{value:.3g}")
    decimals = max(0, 2 - floor(log10(abs(rounded)))) if rounded else 0
    text = f"{rounded:,.{decimals}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text).replace("-", "−")


def count(value: float | None) -> str:
    """A whole number with thousands set apart: 5,232.

    >>> count(5232), count(None)
    ('5,232', '–')
    """
    return NOTHING if value is None else f"{int(value):,}"


def plural(value: int, singular: str, many: str = "") -> str:
    """'1 image', '2 images'; '0 patients'.

    >>> plural(1, "image"), plural(5232, "study", "studies").replace(SPACE, " ")
    ('1\\xa0image', '5,232 studies')
    """
    return f"{count(value)}{SPACE}{singular if value == 1 else many or singular + 's'}"


def share_range(low: float, high: float) -> str:
    """Two shares as a range of percentages.

    >>> share_range(0.41, 0.592).replace(SPACE, " ")
    '41.0 to 59.2 %'
    """
    return f"{100 * low:.1f} to {percent(high)}"


def duration(seconds: float | None) -> str:
    """A time span in the two largest units that matter.

    >>> [duration(value).replace(SPACE, " ") for value in (0.42, 12.34, 75, 3700, 90000)]
    ['0.4 s', '12 s', '1 min 15 s', '1 h 2 min', '25 h 0 min']
    """
    if seconds is None or seconds != seconds:
        return NOTHING
    if seconds < 9.95:
        return f"{seconds:.1f}{SPACE}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}{SPACE}s"
    if whole < 3600:
        return f"{whole // 60}{SPACE}min {whole % 60}{SPACE}s"
    minutes = round(seconds / 60)
    return f"{minutes // 60}{SPACE}h {minutes % 60}{SPACE}min"


def moment(iso: str | None) -> str:
    """A time stamp for people. What is no time stamp is printed as it is.

    >>> moment("2026-03-07T14:05:09+00:00").replace(SPACE, " ")
    '7 March 2026, 14:05 UTC'
    """
    if not iso:
        return NOTHING
    try:
        when = datetime.fromisoformat(iso)
    except ValueError:
        return iso
    zone = f"{SPACE}UTC" if when.utcoffset() is not None and not when.utcoffset() else ""
    return f"{when.day}{SPACE}{when:%B}{SPACE}{when.year}, {when:%H:%M}{zone}"


def seconds_between(start: str | None, end: str | None) -> float | None:
    """Seconds from one time stamp to another, None when either is missing.

    >>> seconds_between("2026-03-07T14:00:00+00:00", "2026-03-07T14:01:30+00:00")
    90.0
    """
    try:
        return (datetime.fromisoformat(end or "") - datetime.fromisoformat(start or "")).total_seconds()
    except (ValueError, TypeError):
        return None


def listing(words: Sequence[str], joint: str = "and") -> str:
    """Words as a sentence lists them.

    >>> listing(["normal", "bacteria", "virus"])
    'normal, bacteria and virus'
    """
    *first, last = words or [""]
    return f"{', '.join(first)} {joint} {last}" if first else last


def sentence(text: str) -> str:
    """Capital first letter and a full stop, for notes that stages wrote as phrases.

    >>> sentence("patients are unknown"), sentence("Kept as it is.")
    ('Patients are unknown.', 'Kept as it is.')
    """
    text = text.strip()
    if not text:
        return ""
    return text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")


SPLIT_NAMES = {"train": "training", "val": "validation", "test": "test", "unused": "left out"}


def split_name(split: str) -> str:
    """'val' -> 'validation'; a name of the user's own stays.

    >>> split_name("val"), split_name("second reading")
    ('validation', 'second reading')
    """
    return SPLIT_NAMES.get(split, split)


def machine_text(machine: Machine) -> str:
    """GPU if there was one, CPU, cores, system.

    >>> machine_text(Machine(cpu="A processor", cores=2, system="Linux x86_64")).replace("\\xa0", " ")
    'A processor, 2 cores, Linux x86_64'
    """
    cores = plural(machine.cores, "core") if machine.cores else None
    return ", ".join(part for part in (machine.gpu, machine.cpu, cores, machine.system) if part)
