"""The leaderboard of detectors as plain text for the terminal."""

from typing import Any

from hilum.evaluation.show import columns, figure
from hilum.run import Run

PARTS = {"measure": "held-back val patients", "test": "test"}


def leaderboard_text(run: Run) -> str:
    """Per part a line for each detector, then the shortcuts' figures on the same images."""
    figures = run.anomaly.figures()
    lines = []
    for part, title in PARTS.items():
        rows = {row: one[part] for row, one in figures["detectors"].items() if part in one}
        if not rows:
            continue
        pairs = figures["matching"].get(part, {}).get("pairs", 0)
        first = next(iter(rows.values()))
        images = f"{title} (healthy {first['n_healthy']}, abnormal {first['n_abnormal']})"
        head = (
            images,
            "AUROC",
            *first["causes"],
            f"matched ({pairs} pairs)",
            "false alarms",
            "abnormal found",
        )
        table = [head, *(_line(row, block) for row, block in rows.items())]
        lines += [*columns(table), *_shortcuts(figures["shortcuts"].get(part, {}), pairs), ""]
    truth = {row: one["truth"] for row, one in figures["detectors"].items() if one.get("truth")}
    for row, one in truth.items():
        lines.append(
            f"{row}, maps against known lesions: pixel AUROC {one['pixel_auroc']:.3f},"
            f" AUPRO {one['aupro']:.3f}, pointing {one['pointing']['k']}/{one['pointing']['n']}"
        )
    lines.append(f"best (highest AUROC on matched images): {figures['best']}")
    return "\n".join(lines)


def _line(row: str, block: dict[str, Any]) -> tuple[str, ...]:
    matched = block.get("matched")
    return (
        row,
        figure(block["auroc"]),
        *(f"{one['auroc']['value']:.3f}" for one in block["causes"].values()),
        figure(matched) if matched else "none",
        figure(block["false_alarms"]),
        figure(block["sensitivity"]),
    )


def _shortcuts(found: dict[str, Any], pairs: int) -> list[str]:
    """The best single number and all together, on the same images."""
    if not found.get("single"):
        return []
    best, joint = found["single"][0], found["joint"]
    together = joint if isinstance(joint, str) else f"{joint['auroc']:.3f}"
    return [f"shortcuts on these images: {best['label']} {best['auroc']:.3f}; all together {together}"]
