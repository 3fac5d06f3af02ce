"""What `hilum predict` does: predictions to standard output, progress and counts to standard error."""

from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path

from rich.console import Console

from hilum.inference.memory import memory_in_words
from hilum.inference.prediction import Prediction
from hilum.inference.predictor import Predictor
from hilum.inference.show import (
    notes,
    predictions_csv,
    predictions_json,
    predictions_table,
    unreadable_text,
)
from hilum.inference.stream import Image, listed
from hilum.progress import advancing, say
from hilum.serving.predictor import predictor_for

PIPE_WIDTH = 10_000
"""Columns of a table that goes to a file or another program: no cell is wrapped there."""


def predict_command(
    images: Sequence[Path],
    model: Path | None,
    form: str,
    attribution: Path | None,
    device: str,
    strict: bool,
    runtime: str = "torch",
) -> bool:
    """Predicts and prints; false for exit code 2: no image could be read, or not all with `strict`.

    `form`: "table", "json" or "csv"; `runtime`: as in `predictor_for`. Errors as in `hilum.predict`.

    >>> predict_command([Path("gone")], None, "table", None, "cpu", strict=False)
    Traceback (most recent call last):
    hilum.errors.DataError: image gone does not exist; check the path
    """
    files = listed(images)
    if files.skipped:
        say(files.skipped_text())
    with memory_in_words("predicting"):
        predictions, classes = _predict(files.images, predictor_for(model, device, runtime), attribution)
    _print(predictions, classes, form)
    unreadable = unreadable_text(predictions)
    if unreadable:
        say(unreadable)
    return not unreadable or (not strict and any(prediction.error is None for prediction in predictions))


def _predict(
    images: Sequence[Image], predictor: Predictor, attribution: Path | None
) -> tuple[list[Prediction], tuple[str, ...]]:
    """The predictions, under a progress bar, and the classes of the model."""
    if attribution is not None:
        from hilum.serving.attribution import Pictures

        predictor = replace(predictor, painter=Pictures.of(predictor, attribution))
    predictions: list[Prediction] = []
    with advancing("predicting") as advance:
        for prediction in predictor.stream(images):
            predictions.append(prediction)
            advance(len(predictions), len(images))
    return predictions, predictor.classes


def _print(predictions: Sequence[Prediction], classes: Sequence[str], form: str) -> None:
    if form == "json":
        print(predictions_json(predictions))
    elif form == "csv":
        print(predictions_csv(predictions, classes))
    else:
        table = predictions_table(predictions, classes)
        console = Console()
        if console.is_terminal:
            console.print(table)
        else:
            wide = Console(file=StringIO(), width=PIPE_WIDTH)
            with wide.capture() as captured:
                wide.print(table)
            print("\n".join(line.rstrip() for line in captured.get().splitlines()))
        print(f"\n{notes(predictions)}")
