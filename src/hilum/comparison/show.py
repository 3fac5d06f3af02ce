"""The table of a comparison as plain text for the terminal."""

from collections.abc import Mapping
from typing import Any

from hilum.evaluation.show import columns

HEAD = (
    "recipe",
    "accuracy",
    "sd",
    "AUROC",
    "sd",
    "difference",
    "p (Holm)",
    "matched",
    "worst group",
    "parameters",
    "seconds",
    "trainings",
)


def comparison_text(result: Mapping[str, Any]) -> str:
    """A line per cell in the order of the grid; a cell that failed has its sentence instead of figures."""
    rows = [HEAD, *(_row(cell) for cell in result["cells"] if "spread" in cell)]
    lines = columns(rows) if len(rows) > 1 else []
    failed = [f"{cell['name']}: {cell['error']}" for cell in result["cells"] if cell.get("error")]
    waiting = [cell["name"] for cell in result["cells"] if "spread" not in cell and not cell.get("error")]
    if result["against"]:
        lines.append(f"difference: accuracy minus that of {result['against']}, 95 % interval over patients")
    if any(cell.get("shift") for cell in result["cells"]):
        lines.append(
            "matched, worst group: accuracy on pairs that the camera can't tell apart, and where it is lowest"
        )
    if waiting:
        lines.append(f"not trained yet: {', '.join(waiting)}")
    return "\n".join([*lines, *failed])


def _row(cell: Mapping[str, Any]) -> tuple[str, ...]:
    accuracy, auroc = cell["spread"]["accuracy"], cell["spread"]["auroc"]
    gap, p = "", ""
    if cell.get("paired"):
        entry = cell["paired"]["difference"]["accuracy"]
        gap = f"{entry['value']:+.3f}"
        if entry.get("low") is not None:
            gap += f" [{entry['low']:+.3f}, {entry['high']:+.3f}]"
        p = f"{cell['paired']['mcnemar']['p_holm']:.3f}"
    return (
        cell["name"],
        _number(accuracy["mean"]),
        _number(accuracy["sd"]),
        _number(auroc["mean"]),
        _number(auroc["sd"]),
        gap,
        p,
        *_camera(cell.get("shift")),
        f"{cell['parameters']:,}",
        f"{cell['seconds']:.1f}",
        f"{cell['trainings']}/{cell['expected']}",
    )


def _camera(found: Mapping[str, Any] | None) -> tuple[str, str]:
    """Accuracy on matched pairs and in the worst group."""
    groups = found["groups"] if found else ()
    matched = next((one["accuracy"]["value"] for one in groups if one["kind"] == "matched"), None)
    worst = found["worst_group"] if found else None
    return _number(matched), _number(worst["value"] if worst else None)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
