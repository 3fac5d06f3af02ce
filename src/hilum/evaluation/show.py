"""Figures as plain text for the terminal. What is printed here can be piped: no colour, no bars."""

import csv
import io
import json
from typing import Any

from hilum.evaluation.answer import answer_text, notes
from hilum.run import Run

SHOWN = (
    "accuracy",
    "balanced_accuracy",
    "auroc",
    "average_precision",
    "sensitivity",
    "specificity",
    "f1",
    "mcc",
    "brier",
    "log_loss",
)


def figure(entry: dict[str, Any]) -> str:
    """A figure with its interval and counts.

    >>> figure({"value": 0.9, "low": 0.8, "high": 0.95, "k": 9, "n": 10})
    '0.900 [0.800, 0.950] 9/10'
    """
    if entry.get("value") is None:
        return "not defined"
    text = f"{entry['value']:.3f}"
    if entry.get("low") is not None:
        text += f" [{entry['low']:.3f}, {entry['high']:.3f}]"
    if "k" in entry:
        text += f" {entry['k']}/{entry['n']}"
    return text


def metrics_table(run: Run) -> str:
    """The metrics of every task of a run, one line per figure, one column per split."""
    lines = []
    for name in run.tasks:
        metrics = run.task(name).metrics()
        splits = [split for split in ("val", "test") if split in metrics] or list(metrics)
        rows = [(name, *[f"{split} (n={metrics[split]['n_cases']})" for split in splits])]
        rows += [(key, *[figure(metrics[split][key]) for split in splits]) for key in SHOWN]
        rows += _shifted([metrics[split] for split in splits])
        lines += [*columns(rows), ""]
    return "\n".join(lines).rstrip()


def _shifted(blocks: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """What is left among matched images, and the accuracy of the worst group (hilum.evaluation.shift)."""
    found = [block.get("shift") or {"groups": [], "worst_group": None} for block in blocks]
    matched = [next((one for one in some["groups"] if one["kind"] == "matched"), {}) for some in found]
    rows = [
        (f"matched {name}", *[figure(one.get(name) or {}) for one in matched])
        for name in ("accuracy", "auroc")
    ]
    worst = [some["worst_group"] or {} for some in found]
    said = [f"{figure(one)} {one.get('name', '')}".rstrip() for one in worst]
    return [*rows, ("worst group", *said)]


def reliability_table(run: Run) -> str:
    """How far each task's answers can be trusted, one line per figure; empty where that was not measured."""
    lines = []
    for name in run.tasks:
        folder = run.task(name)
        if not folder.reliability_file.exists():
            continue
        found = folder.reliability()
        calibration, conformal = found["calibration"], found["conformal"]
        used, sets = calibration["used"], conformal[conformal["answer"]]
        crossed = ", cross-fitted" if found["cross_fitted"] else ""
        rows = [
            (name, f"{found['judged_on']} (n={found['n_cases']}{crossed})"),
            ("calibration error", figure(calibration["ways"]["none"]["ece"])),
            (f"  after {used} scaling", figure(calibration["ways"][used]["ece"])),
            (f"sets hold the truth, promised {1 - conformal['alpha']:g}", figure(sets["coverage"])),
            ("  classes named", figure(sets["mean_size"])),
            ("  abstained", figure(sets["unknown"])),
            ("risk-coverage area", figure(found["selective"]["probability"]["aurc"])),
        ]
        lines += [*columns(rows), ""]
    return "\n".join(lines).rstrip()


def predictions_text(rows: list[dict[str, Any]], form: str) -> str:
    """Predictions as 'table', 'json' or 'csv'."""
    if form == "json":
        return json.dumps(rows, indent=2)
    classes = list(rows[0]["probabilities"])
    answered = "answer" in rows[0]
    head = ["file", "predicted", *classes, *(["answer"] if answered else [])]
    body = [
        [
            row["file"],
            row["predicted"],
            *(f"{row['probabilities'][c]:.4f}" for c in classes),
            *([answer_text(row)] if answered else []),
        ]
        for row in rows
    ]
    if form == "csv":
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([head, *body])
        return text.getvalue().rstrip("\n")
    said = [*notes(rows), "Research use only; not a medical device."]
    return "\n".join([*columns([tuple(head), *map(tuple, body)]), "", *said])


def columns(rows: list[tuple[str, ...]]) -> list[str]:
    """Cells padded to the widest of their column."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
