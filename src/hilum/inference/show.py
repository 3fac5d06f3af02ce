"""Predictions as text: JSON and CSV for programs, a table for people."""

import csv
import io
import json
from collections.abc import Sequence

from rich.table import Table

from hilum.inference.prediction import Prediction

NOTE = "Research use only; not a medical device."


def predictions_json(predictions: Sequence[Prediction]) -> str:
    """A JSON list with the keys of `Prediction`, see docs/predict.md.

    >>> predictions_json([])
    '[]'
    """
    return json.dumps([prediction.model_dump(mode="json") for prediction in predictions], indent=2)


def predictions_csv(predictions: Sequence[Prediction], classes: Sequence[str]) -> str:
    """One row per image with the same content, nested keys joined by "_"; empty for null. The column `findings` is
    there where an image has them.

    >>> predictions_csv([], ["normal", "pneumonia"]).split(",")[7:9]
    ['probability_normal', 'probability_pneumonia']
    """
    columns = _columns(classes)
    if all(prediction.findings is None for prediction in predictions):
        columns.remove("findings")
    rows = [_flat(prediction, classes) for prediction in predictions]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([["" if row[name] is None else row[name] for name in columns] for row in rows])
    return text.getvalue().rstrip("\n")


def _columns(classes: Sequence[str]) -> list[str]:
    return [
        *("file", "prediction", "abstained", "reason"),
        *("abnormal_probability", "abnormal_threshold", "abnormal_positive"),
        *(f"probability_{name}" for name in classes),
        *("findings", "prediction_set", "coverage", "ood_p_value", "ood_flagged"),
        *("attribution", "error", "model_name", "model_digest"),
    ]


def _flat(prediction: Prediction, classes: Sequence[str]) -> dict[str, object]:
    """The cells of one row, by column."""
    abnormal, ood, probabilities = prediction.abnormal, prediction.ood, probabilities_of(prediction)
    cells = [
        *(prediction.file, prediction.prediction, prediction.abstained, prediction.reason),
        *((abnormal.probability, abnormal.threshold, abnormal.positive) if abnormal else (None,) * 3),
        *(probabilities.get(name) for name in classes),
        *(present_text(prediction), set_text(prediction.prediction_set), prediction.coverage),
        *((ood.p_value, ood.flagged) if ood else (None, None)),
        *(prediction.attribution, prediction.error, prediction.model.name, prediction.model.digest),
    ]
    return dict(zip(_columns(classes), cells, strict=True))


def probabilities_of(prediction: Prediction) -> dict[str, float]:
    """The probability of each class, or of each finding.

    >>> from hilum.inference.prediction import ModelName
    >>> probabilities_of(Prediction.failed("x.png", "x.png is empty", ModelName(name="binary", digest=None)))
    {}
    """
    if prediction.findings is not None:
        return {name: finding.probability for name, finding in prediction.findings.items()}
    return prediction.probabilities or {}


def present_text(prediction: Prediction) -> str:
    """The findings that are present; "none" where no one is, "" for a model of one class.

    >>> from hilum.inference.prediction import ModelName
    >>> present_text(Prediction.failed("x.png", "x.png is empty", ModelName(name="binary", digest=None)))
    ''
    """
    if prediction.findings is None:
        return ""
    return ", ".join(name for name, finding in prediction.findings.items() if finding.positive) or "none"


def set_text(prediction_set: list[str] | None) -> str:
    """A prediction set in words; "none" where no class is probable enough, "" where the model has no sets.

    >>> set_text(["bacteria", "virus"]), set_text([]), set_text(None)
    ('bacteria or virus', 'none', '')
    """
    return "" if prediction_set is None else " or ".join(prediction_set) or "none"


def predictions_table(predictions: Sequence[Prediction], classes: Sequence[str]) -> Table:
    """A table for the terminal. Columns that are empty for every image are left out.

    >>> from hilum.inference.prediction import ModelName
    >>> failed = Prediction.failed("x.png", "x.png is empty", ModelName(name="binary", digest=None))
    >>> [column.header for column in predictions_table([failed], ["normal", "pneumonia"]).columns]
    ['file', 'prediction', 'error']
    """
    head = ["file", "prediction", "P(abnormal)", *classes, "prediction set", "OOD p-value"]
    head += ["reason", "attribution", "error"]
    rows = [_cells(number, prediction, classes) for number, prediction in enumerate(predictions)]
    kept = [place for place in range(len(head)) if place < 2 or any(row[place] for row in rows)]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for place in kept:
        table.add_column(head[place], overflow="fold")
    for row in rows:
        table.add_row(*(row[place] for place in kept))
    return table


def _cells(number: int, prediction: Prediction, classes: Sequence[str]) -> list[str]:
    abnormal, ood, probabilities = prediction.abnormal, prediction.ood, probabilities_of(prediction)
    return [
        prediction.file or f"image {number}",
        "abstained" if prediction.abstained else prediction.prediction or present_text(prediction),
        f"{abnormal.probability:.4f}" if abnormal else "",
        *(f"{probabilities[name]:.4f}" if name in probabilities else "" for name in classes),
        set_text(prediction.prediction_set),
        f"{ood.p_value:.4f}" if ood else "",
        prediction.reason or "",
        prediction.attribution or "",
        prediction.error or "",
    ]


def notes(predictions: Sequence[Prediction]) -> str:
    """What a reader of the table must know, one sentence a line.

    >>> notes([])
    'Research use only; not a medical device.'
    """
    coverage = next((some.coverage for some in predictions if some.coverage is not None), None)
    lines = []
    if coverage is not None:
        lines.append(
            f"The prediction set holds the true class for {100 * coverage:.4g} % of images like the calibration images."
        )
    if any(prediction.ood for prediction in predictions):
        lines.append(
            "The OOD p-value is small when the image is unlike the images that the model was trained on."
        )
    return "\n".join([*lines, NOTE])


def unreadable_text(predictions: Sequence[Prediction]) -> str:
    """How many images could not be read; "" when all could.

    >>> unreadable_text([])
    ''
    """
    failed = sum(prediction.error is not None for prediction in predictions)
    if not failed:
        return ""
    return f"{failed:,} of {len(predictions):,} images could not be read; see the column error"
