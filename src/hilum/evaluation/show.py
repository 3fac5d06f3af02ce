"""Figures as plain text for the terminal. What is printed here can be piped: no colour, no bars."""

from collections.abc import Mapping
from typing import Any

from hilum.artifacts.base import Figure
from hilum.artifacts.metrics import Metrics, Shift
from hilum.artifacts.reliability import Ood, Reliability
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


def figure(entry: Figure | Mapping[str, Any] | None) -> str:
    """A figure with its interval and counts.

    >>> figure({"value": 0.9, "low": 0.8, "high": 0.95, "k": 9, "n": 10})
    '0.900 [0.800, 0.950] 9/10'
    """
    shown = entry if isinstance(entry, Figure) else Figure.model_validate(_known(entry or {}))
    if shown.value is None:
        return "not defined"
    text = f"{shown.value:.3f}"
    if shown.low is not None:
        text += f" [{shown.low:.3f}, {shown.high:.3f}]"
    elif shown.reason:
        text += f" [{shown.reason}]"
    return f"{text} {shown.counts}".rstrip()


def _known(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "value": None,
        **{key: entry[key] for key in ("value", "low", "high", "k", "n", "reason") if key in entry},
    }


def metrics_table(run: Run) -> str:
    """The metrics of every task of a run, one line per figure, one column per split."""
    lines = []
    for name in run.class_tasks:
        metrics = Metrics.load(run.task(name).metrics_file).splits
        splits = [split for split in ("val", "test") if split in metrics] or list(metrics)
        rows = [(name, *[f"{split} (n={metrics[split].n_cases})" for split in splits])]
        rows += [(key, *[figure(getattr(metrics[split], key)) for split in splits]) for key in SHOWN]
        rows += _acquisition([metrics[split].shift for split in splits])
        lines += [*columns(rows), ""]
    return "\n".join([*lines, *_findings(run)]).rstrip()


def _findings(run: Run) -> list[str]:
    """AUROC of each finding, one line per finding, where a model states several per image."""
    folder = run.task("findings")
    if not folder.findings_file.exists():
        return []
    metrics = folder.findings()
    splits = [split for split in ("val", "test") if split in metrics.splits] or list(metrics.splits)
    blocks = [metrics.splits[split] for split in splits]
    rows = [("findings, auroc", *(f"{split} (n={metrics.splits[split].n_cases})" for split in splits))]
    for place, name in enumerate(metrics.classes):
        rows.append((name, *(figure(block.findings[place].auroc) for block in blocks)))
    return columns([*rows, ("mean", *(figure(block.mean["auroc"]) for block in blocks))])


def _acquisition(blocks: list[Shift | None]) -> list[tuple[str, ...]]:
    """Figures of shortcut-matched pairs, and the accuracy of the worst acquisition group."""
    matched = [block.matched if block else None for block in blocks]
    worst = [block.worst_group if block else None for block in blocks]
    return [
        ("matched accuracy", *[figure(group.accuracy if group else None) for group in matched]),
        ("matched auroc", *[figure(group.auroc if group else None) for group in matched]),
        ("worst group", *[f"{figure(group)} {group.name if group else ''}".rstrip() for group in worst]),
    ]


def reliability_table(run: Run) -> str:
    """Calibration, prediction sets and selective prediction of each task, one line per figure; empty where that
    was not measured."""
    lines = []
    for name in run.tasks:
        folder = run.task(name)
        if not folder.reliability_file.exists():
            continue
        reliability = Reliability.load(folder.reliability_file)
        calibration, conformal = reliability.calibration, reliability.conformal
        sets = conformal.in_use.figures
        cross_fitted = ", cross-fitted" if reliability.cross_fitted else ""
        rows = [
            (name, f"{reliability.judged_on} (n={reliability.n_cases}{cross_fitted})"),
            ("calibration error", figure(calibration.before.ece)),
            (f"  after {calibration.used} scaling", figure(calibration.after.ece)),
            (f"coverage of sets, nominal {conformal.nominal:g}", figure(sets.coverage)),
            ("  classes per set", figure(sets.mean_size)),
            ("  abstained", figure(sets.abstained)),
            ("risk-coverage area", figure(reliability.selective["probability"].aurc)),
            *_ood(reliability.ood),
        ]
        lines += [*columns(rows), ""]
    return "\n".join(lines).rstrip()


def _ood(ood: Ood | None) -> list[tuple[str, str]]:
    """What the guard on the embedding flags, or why there is none."""
    if ood is None:
        return []
    if ood.reason:
        return [("no guard", ood.reason)]
    test = [("  test images", figure(ood.test))] if ood.test else []
    return [
        (f"flagged as OOD, rate {ood.rate:g}", f"ranked among {ood.n} validation images"),
        *test,
        *((f"  {share.title}", figure(share)) for share in ood.altered),
    ]


def columns(rows: list[tuple[str, ...]]) -> list[str]:
    """Cells padded to the widest of their column."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
