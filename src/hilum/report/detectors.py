"""What the anomaly stage has found, read and checked once for the sections that speak of it."""

from typing import Any

import pandas as pd

from hilum.errors import RunError
from hilum.report import commands
from hilum.report.wording import NOTHING, interval, number, plural
from hilum.run import Run

TITLE = "Strange to healthy lungs"
ENSEMBLE = "ensemble"

PARTS = {"test": "test images", "measure": "held-back images"}
"""The images that are measured on, the ones to quote first; 'measure': of val, healthy and abnormal."""


def facts_of(run: Run) -> dict[str, Any]:
    """figures.json; RunError when a detector was fitted again since."""
    facts = run.anomaly.figures()
    for row, one in facts["detectors"].items():
        if (
            row != ENSEMBLE
            and run.anomaly.detector(row).card().get("weights_digest") != one["weights_digest"]
        ):
            raise RunError(
                f"{run.anomaly.figures_file} was made with another {row} than lies beside it",
                f"run: {commands.anomaly(run)}",
            )
    return facts


def part_of(facts: dict[str, Any]) -> str:
    """The images to quote first: test where there are any, else those held back for measuring."""
    best = facts["detectors"][facts["best"]]
    return next((part for part in PARTS if part in best), "measure")


def summary(run: Run) -> str:
    """One sentence for section 2; empty where there is no leaderboard."""
    if not run.anomaly.figures_file.exists():
        return ""
    facts = facts_of(run)
    block = facts["detectors"][facts["best"]].get(part_of(facts))
    if block is None:
        return ""
    return (
        f"{TITLE}: without a single abnormal image to learn from, {named(facts['best'])} ranks abnormal above healthy"
        f" with AUROC {area(block['auroc'])}{against(facts, part_of(facts), block)}"
    )


def strangeness(run: Run) -> pd.Series | None:
    """case_id -> 1 minus the conformal p-value by the best detector, 0..1; None where there is no leaderboard.

    Ranks among healthy images, not raw scores, whose few extremes would take all the colours."""
    if not run.anomaly.figures_file.exists():
        return None
    best = facts_of(run)["best"]
    table = run.anomaly.scores().set_index("case_id")
    return 1 - table[f"{best}_p"]


def named(row: str) -> str:
    """A row's name in words.

    >>> named("patch_memory@random"), named("ensemble")
    ('patch memory (random)', 'the ensemble')
    """
    if row == ENSEMBLE:
        return "the ensemble"
    name, _, variant = row.partition("@")
    words = name.rpartition(".")[2].replace("_", " ")
    return f"{words} ({variant.replace('_', ' ')})" if variant else words


def area(entry: dict[str, Any] | None) -> str:
    """AUROC with its interval."""
    if not entry or entry.get("value") is None:
        return NOTHING
    known = f" ({interval('auroc', entry)})" if entry.get("low") is not None else ""
    return f"{number(entry['value'])}{known}"


def against(facts: dict[str, Any], part: str, block: dict[str, Any]) -> str:
    """The same, among images that simple numbers can't tell apart."""
    matched = block.get("matched")
    if not matched or matched.get("value") is None:
        return "."
    return (
        f", and with {area(matched)} among {plural(matched['pairs'], 'pair')} of healthy and abnormal images that"
        " simple numbers about the file can’t tell apart."
    )
