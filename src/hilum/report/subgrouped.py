"""The table of subgroups of a task: how good the model is on each, and the gap between best and worst."""

from collections.abc import Mapping
from typing import Any

from hilum.report.results import Results
from hilum.report.wording import NOTHING, figure, interval, listing, of, plural

KINDS = {
    "size": "Size of the file",
    "exposure": "Brightness of the image",
    "cause": "Label",
    "images": "Images of the patient",
}


def subgroup_rows(one: Results) -> dict[str, Any] | None:
    """Rows of the table, and a sentence; None for a run that was evaluated before there were subgroups."""
    found = one.block.get("subgroups")
    if not found:
        return None
    rows = [
        _row(kind, group, entry["gap"] if place == 0 else None)
        for kind, entry in found.items()
        for place, group in enumerate(entry["groups"])
    ]
    return {"sentence": sentence(found), "rows": rows}


def sentence(found: Mapping[str, Any]) -> str:
    """Which kinds of images show a gap that the interval tells from none.

    >>> gap = {"value": 0.1, "low": 0.05, "high": 0.2, "best": "dark", "worst": "bright"}
    >>> sentence({"exposure": {"gap": gap}})
    'The share named correctly differs by brightness of the image (dark against bright).'
    """
    told = [
        f"{KINDS[kind].lower()} ({entry['gap']['best']} against {entry['gap']['worst']})"
        for kind, entry in found.items()
        if entry["gap"].get("low") is not None and entry["gap"]["low"] > 0
    ]
    if not told:
        return "No gap between subgroups can be told from chance."
    return f"The share named correctly differs by {listing(told)}."


def _row(kind: str, group: Mapping[str, Any], gap: Mapping[str, Any] | None) -> dict[str, str]:
    accuracy, auroc = group["accuracy"], group["auroc"]
    return {
        "name": f"{KINDS[kind]}: {group['name']}",
        "about": group["about"],
        "images": f"{plural(group['n_cases'], 'image')} of {plural(group['n_patients'], 'patient')}",
        "accuracy": f"{figure('accuracy', accuracy)} ({of(accuracy)})",
        "accuracy_interval": interval("accuracy", accuracy),
        "auroc": figure("auroc", auroc),
        "auroc_interval": interval("auroc", auroc) if auroc.get("low") is not None else "",
        "gap": _gap(gap) if gap else "",
    }


def _gap(gap: Mapping[str, Any]) -> str:
    """The gap in percentage points."""
    said = f"{100 * gap['value']:.1f} points, {gap['best']} against {gap['worst']}"
    if gap.get("low") is None:
        return said if gap["value"] else NOTHING
    low, high = (f"{100 * gap[end]:.1f}".replace("-", "−") for end in ("low", "high"))
    return f"{said} ({low} to {high})"
