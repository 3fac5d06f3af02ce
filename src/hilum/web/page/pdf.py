"""One printable page per image: the picture, the answer in figures and sentences, and what it must not be used for.

Drawn by matplotlib, which hilum depends on anyway. Nothing is written to disk.
"""

import io
import textwrap
from collections.abc import Sequence
from datetime import date
from threading import Lock
from typing import TYPE_CHECKING, Any

from hilum.inference.prediction import Prediction
from hilum.inference.show import NOTE, probabilities_of, set_text
from hilum.report.figures import FAINT, INK, look
from hilum.report.wording import digits, percent, sentence
from hilum.web.page.sheets import Sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

A4 = (8.27, 11.69)
LEFT, RIGHT, TOP, GAP = 0.09, 0.91, 0.925, 0.02
LONGEST = 60
"""Letters of a heading."""

_LOCK = Lock()


def sheets_pdf(sheets: Sequence[Sheet]) -> bytes:
    """A PDF with one A4 page per sheet.

    >>> from hilum.inference.prediction import ModelName
    >>> failed = Prediction.failed("image 1", "image 1 is empty", ModelName(name="binary", digest=None))
    >>> sheets_pdf([Sheet(failed, None, None, "")])[:5]
    b'%PDF-'
    """
    from matplotlib.backends.backend_pdf import PdfPages
    from matplotlib.figure import Figure

    file = io.BytesIO()
    facts = {"Title": "Answers of hilum", "Subject": NOTE, "CreationDate": None}
    with _LOCK, PdfPages(file, metadata=facts) as pages:
        for number, sheet in enumerate(sheets, start=1):
            figure = Figure(figsize=A4)
            _draw(figure, sheet, f"{number} of {len(sheets)}")
            pages.savefig(figure)
    return file.getvalue()


def _draw(figure: "Figure", sheet: Sheet, place: str) -> None:
    answer = sheet.answer
    _text(figure, LEFT, 0.955, (answer.file or "image")[:LONGEST], 17, weight="bold")
    _text(figure, RIGHT, 0.958, f"hilum, {date.today():%d %B %Y}".replace(", 0", ", "), 9, FAINT, ha="right")
    top = _pictures(figure, sheet) if sheet.picture is not None else 0.9
    top = _verdict(figure, answer, top)
    top = _bars(figure, answer, top)
    _sentences(figure, _facts(answer, sheet.caption), top)
    _text(figure, LEFT, 0.045, NOTE, 11, weight="bold")
    _text(figure, RIGHT, 0.045, place, 9, FAINT, ha="right")


def _text(
    figure: "Figure", x: float, y: float, words: str, size: float, colour: str = INK, **more: Any
) -> None:
    figure.text(x, y, words, fontsize=size, color=colour, va="top", parse_math=False, **more)


def _pictures(figure: "Figure", sheet: Sheet) -> float:
    """The image, with its attribution map on the right where there is one; gives where the text begins."""
    shown = [pixels for pixels in (sheet.picture, sheet.overlay) if pixels is not None]
    width = (RIGHT - LEFT - GAP * (len(shown) - 1)) / len(shown)
    rows, cols = shown[0].shape[:2]
    height = min(0.5, width * A4[0] / A4[1] * rows / cols)
    for place, pixels in enumerate(shown):
        axes = figure.add_axes((LEFT + place * (width + GAP), TOP - height, width, height))
        axes.set_axis_off()
        axes.set_anchor("N")
        axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="bilinear")
    return TOP - height - 0.02


def _verdict(figure: "Figure", answer: Prediction, top: float) -> float:
    words = "Unreadable" if answer.error else "Abstained" if answer.abstained else _class_text(answer)
    _text(figure, LEFT, top, words[:LONGEST], 15, weight="bold")
    reason = answer.error or answer.reason
    return _sentences(figure, [sentence(reason)], top - 0.028) if reason else top - 0.036


def _class_text(answer: Prediction) -> str:
    if answer.findings is not None:
        present = [name for name, finding in answer.findings.items() if finding.positive]
        return sentence(", ".join(present) or "no finding").rstrip(".")
    return sentence(answer.prediction or "no class").rstrip(".")


def _rows(answer: Prediction) -> list[tuple[str, float, float | None]]:
    """Name, probability and operating point of each bar."""
    if answer.findings is not None:
        return [(name, each.probability, each.threshold) for name, each in answer.findings.items()]
    classes: list[tuple[str, float, float | None]] = [
        (name, value, None) for name, value in probabilities_of(answer).items()
    ]
    if answer.abnormal is None:
        return classes
    return [("abnormal", answer.abnormal.probability, answer.abnormal.threshold), *classes]


def _bars(figure: "Figure", answer: Prediction, top: float) -> float:
    """Calibrated probabilities as bars, the operating points as lines across them; gives where the text goes on."""
    rows = _rows(answer)[:16]
    if not rows:
        return top
    height = 0.021 * len(rows)
    axes = figure.add_axes((LEFT + 0.15, top - height, RIGHT - LEFT - 0.25, height))
    for place, (name, value, threshold) in enumerate(rows):
        colour = (
            "#55606c"
            if name == "abnormal" or answer.findings
            else look(name, list(probabilities_of(answer))).colour
        )
        axes.barh(place, 1, 0.5, color="#e6e9ed")
        axes.barh(place, value if 0 <= value <= 1 else 0, 0.5, color=colour)
        if threshold is not None and 0 <= threshold <= 1:
            axes.plot([threshold] * 2, [place - 0.42, place + 0.42], color=INK, linewidth=2)
        axes.text(-0.02, place, name[:24], ha="right", va="center", fontsize=9.5, color=INK, parse_math=False)
        axes.text(1.02, place, _share(value), va="center", fontsize=9.5, color=INK)
    axes.set_xlim(0, 1)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_axis_off()
    return top - height - 0.015


def _share(probability: float) -> str:
    """Never 100 % or 0 %, as no image is certain."""
    if probability >= 0.9995:
        return "> 99.9 %"
    return "< 0.1 %" if probability < 0.0005 else percent(probability)


def _facts(answer: Prediction, caption: str) -> list[str]:
    lines = []
    if answer.abnormal is not None:
        where = "at or above" if answer.abnormal.positive else "below"
        lines.append(
            f"The probability of abnormal is {where} the operating point of {percent(answer.abnormal.threshold)}, "
            "the line across the first bar."
        )
    if answer.prediction_set is not None:
        coverage = (
            f" Such a set holds the true class for {100 * answer.coverage:.4g} % of images like the calibration images."
            if answer.coverage is not None
            else ""
        )
        lines.append(f"Prediction set: {set_text(answer.prediction_set)}.{coverage}")
    if answer.ood is not None:
        state = "flagged" if answer.ood.flagged else "not flagged"
        lines.append(f"Out-of-distribution check: {state}, p-value {digits(answer.ood.p_value)}.")
    if caption:
        lines.append(f"Attribution: {caption}")
    weights = f", weights {answer.model.digest[:16]}" if answer.model.digest else ""
    return [
        *lines,
        f"Model: {answer.model.name}{weights}. Probabilities are calibrated where the model's card says how.",
    ]


def _sentences(figure: "Figure", lines: Sequence[str], top: float) -> float:
    for line in lines:
        wrapped = textwrap.wrap(line, 102)[:6]
        _text(figure, LEFT, top, "\n".join(wrapped), 9.5, linespacing=1.45)
        top -= 0.0175 * len(wrapped) + 0.006
    return top - 0.004
