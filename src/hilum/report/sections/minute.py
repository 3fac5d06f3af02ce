"""In one minute: a few sentences and one table for a reader who has no more time."""

from typing import Any

from hilum.report.results import Results, found, headline, results
from hilum.report.sections import Section
from hilum.report.sections.task import TITLES
from hilum.report.wording import figure, interval, listing, of, plural, split_name
from hilum.run import Run

def minute(run: Run) -> Section | None:
    """Sentences and table; None before anything was trained."""
    known = [one for name in TITLES if (one := results(run, name)) is not None]
    if not known:
        return None
    return Section("minute", "In one minute", "minute.html", {"sentences": _sentences(run, known), "rows": _rows(known)})


def _rows(known: list[Results]) -> list[dict[str, Any]]:
    """One row of the table per task and held-out split; test first."""
    rows = []
    for one in known:
        for split in ("test", "val"):
            if split in one.metrics:
                rows.append(_row(one, split))
    return rows


def _row(one: Results, split: str) -> dict[str, Any]:
    block = one.metrics[split]
    return {
        "task": TITLES[one.task],
        "anchor": one.task,
        "films": f"{split_name(split)}: {plural(block['n_cases'], 'film')}",
        "independent": "took part in no choice" if split == "test" else f"chose {one.chosen_on_val}",
        "accuracy": figure("accuracy", block["accuracy"]),
        "accuracy_interval": interval("accuracy", block["accuracy"]),
        "accuracy_of": of(block["accuracy"]),
        "auroc": figure("auroc", block.get("auroc")),
        "auroc_interval": interval("auroc", block.get("auroc")),
        "seed": published(one.task, split),
    }


def _sentences(run: Run, known: list[Results]) -> list[str]:
    """What was done, what was found, how independent that is, and what a shortcut alone would reach."""
    return [
        *(f"{TITLES[one.task]}: {headline(one)}" for one in known),
        *_independence(known),
        *_leaks(known),
        *_shortcuts(run),
    ]
