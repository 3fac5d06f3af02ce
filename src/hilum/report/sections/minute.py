"""In one minute: a few sentences and one table for a reader who has no more time."""

from typing import Any

from hilum.report.beside import published
from hilum.report.detectors import summary
from hilum.report.explanations.reading import read_explanations
from hilum.report.explanations.section import lead as explanations_lead
from hilum.report.results import Results, headline, results
from hilum.report.sections import Section
from hilum.report.sections.task import TITLES
from hilum.report.wording import figure, interval, listing, number, of, plural, split_name
from hilum.run import Run


def minute(run: Run) -> Section | None:
    """Sentences and table; None before anything was trained."""
    known = [one for name in TITLES if (one := results(run, name)) is not None]
    if not known:
        return None
    return Section(
        "minute", "In one minute", "minute.html", {"sentences": _sentences(run, known), "rows": _rows(known)}
    )


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
        "images": f"{split_name(split)}: {plural(block['n_cases'], 'image')}",
        "independent": "took part in no choice" if split == "test" else f"chose {listing(one.chosen_on_val)}",
        "accuracy": figure("accuracy", block["accuracy"]),
        "accuracy_interval": interval("accuracy", block["accuracy"]),
        "accuracy_of": of(block["accuracy"]),
        "auroc": figure("auroc", block.get("auroc")),
        "auroc_interval": interval("auroc", block.get("auroc")),
        "seed": published(one, split),
    }


def _sentences(run: Run, known: list[Results]) -> list[str]:
    """What was done, what was found, how independent that is, and what a shortcut alone would reach."""
    return [
        *(f"{TITLES[one.task]}: {headline(one)}" for one in known),
        *([said] if (said := summary(run)) else []),
        *_independence(known),
        *_leaks(known),
        *_shortcuts(run),
        *_looks(run),
    ]


def _independence(known: list[Results]) -> list[str]:
    """Whether the figures come from images that took no part in any choice."""
    on_val = [one for one in known if one.split == "val"]
    if not on_val:
        return [
            "The test images took no part in any choice: weights, epoch and threshold were fixed without them."
        ]
    chosen = listing(list(dict.fromkeys(part for one in on_val for part in one.chosen_on_val)))
    return [
        f"These are validation figures. The same images chose {chosen}, so the figures are a little too good;"
        " there are no test images in this data to check them on."
    ]


def _leaks(known: list[Results]) -> list[str]:
    """One sentence on whether a patient stands on both sides."""
    leaky = [one for one in known if one.division.get("leaky")]
    if not leaky:
        return []
    names = listing([f"“{TITLES[one.task]}”" for one in leaky])
    return [
        f"The split of {names} leaks: the same patients or images are on both sides, so the figures are too"
        " good."
    ]


def _looks(run: Run) -> list[str]:
    """What the richest explained task's model looks at."""
    known = next(
        (that for name in reversed(run.tasks) if (that := read_explanations(run, name)) is not None), None
    )
    return [explanations_lead(known)] if known is not None and known.figures.occlusion else []


def _shortcuts(run: Run) -> list[str]:
    """What all shortcuts together reach, beside what that means."""
    found = run.audit() or {}
    said = []
    for task, joint in found.get("joint", {}).items():
        if task not in run.tasks:
            continue
        said.append(
            f"{joint['positive']} from {joint['negative']} with AUROC {number(joint['auroc'], 2)}"
            + (
                f" ({number(joint['low'], 2)} to {number(joint['high'], 2)})"
                if joint.get("low") is not None
                else ""
            )
        )
    if not said:
        return []
    return [
        f"Simple numbers about file and picture, without a look at the lungs, tell {listing(said)}: a model"
        " must beat"
        " that before it may be said to read lungs."
    ]
