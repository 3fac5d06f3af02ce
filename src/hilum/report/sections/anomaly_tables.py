"""Tables of the anomaly section: the leaderboard with shortcuts and literature, OOD images, truth, matching."""

from typing import Any

from hilum.evaluation.published_anomaly import PUBLISHED, TEST_IMAGES
from hilum.report.detectors import ENSEMBLE, PARTS, named
from hilum.report.wording import NOTHING, SPACE, count, figure, interval, listing, number, of, percent, plural


def measured(facts: dict[str, Any], part: str) -> bool:
    return any(part in one for one in facts["detectors"].values())


def leaderboard(facts: dict[str, Any], part: str) -> dict[str, Any]:
    """A row per detector on one set of images, the best matched AUROC first; then the shortcuts."""
    rows = {row: one[part] for row, one in facts["detectors"].items() if part in one}
    order = sorted(rows, key=lambda row: -((rows[row].get("matched") or {}).get("value") or 0.0))
    first = rows[order[0]]
    causes = list(first["causes"])
    shortcuts = facts["shortcuts"].get(part, {})
    matching = facts["matching"].get(part, {})
    return {
        "title": PARTS[part],
        "images": f"{count(first['n_healthy'])} healthy and {count(first['n_abnormal'])} abnormal images of"
        f" {plural(first['n_patients'], 'patient')}",
        "causes": causes,
        "pairs": matching.get("pairs", 0),
        "rate": percent(facts["choices"]["false_alarm_rate"], 0),
        "rows": [_line(facts, row, rows[row], causes) for row in order],
        "shortcuts": _shortcut_lines(shortcuts, matching.get("residual", {})),
        "replicates": count(facts["replicates"]),
    }


def _line(facts: dict[str, Any], row: str, block: dict[str, Any], causes: list[str]) -> dict[str, Any]:
    one = facts["detectors"][row]
    remarks = []
    if row == ENSEMBLE:
        remarks.append("mean p-value of " + listing([named(name) for name in one["members"]]))
    if one.get("pretrained"):
        remarks.append("weights from elsewhere")
    if row == facts["best"]:
        remarks.append("the best by the matched figure on held-back images")
    oracle = block["oracle"]
    return {
        "name": named(row),
        "strong": row == facts["best"],
        "remark": "; ".join(remarks),
        "auroc": _cell("auroc", block["auroc"]),
        "matched": _cell("auroc", block.get("matched")),
        "causes": [_cell("auroc", block["causes"][name]["auroc"]) for name in causes],
        "found": [_cell("sensitivity", block["causes"][name]["sensitivity"]) for name in causes],
        "average_precision": _cell("average_precision", block["average_precision"]),
        "false_alarms": _cell("sensitivity", block["false_alarms"]),
        "sensitivity": _cell("sensitivity", block["sensitivity"]),
        "best_f1": number(oracle["best_f1"]["value"]),
        "best_accuracy": f"{percent(oracle['best_accuracy']['value'])} ({of(oracle['best_accuracy'])})",
    }


def _cell(key: str, entry: dict[str, Any] | None) -> dict[str, str]:
    if not entry or entry.get("value") is None:
        return {"value": NOTHING, "of": "", "interval": ""}
    return {
        "value": figure(key, entry),
        "of": of(entry),
        "interval": interval(key, entry) if entry.get("low") is not None else "",
    }


def _shortcut_lines(found: dict[str, Any], left: dict[str, Any]) -> list[dict[str, str]]:
    """The best single number and all together: on all images, and what is left of them among the pairs."""
    if not found.get("single"):
        return []
    remaining = {one["name"]: one["auroc"] for one in left.get("single") or []}
    best, together, rest = found["single"][0], found.get("joint"), left.get("joint")
    lines = [
        {
            "name": f"one number: {best['label']}",
            "value": number(best["auroc"]),
            "interval": interval("auroc", best),
            "matched": number(remaining.get(best["name"])),
        }
    ]
    if isinstance(together, dict):
        lines.append(
            {
                "name": "all such numbers together",
                "value": number(together["auroc"]),
                "interval": interval("auroc", together),
                "matched": number(rest["auroc"]) if isinstance(rest, dict) else NOTHING,
            }
        )
    return lines


def published() -> dict[str, Any]:
    return {
        "images": TEST_IMAGES,
        "rows": [
            {
                "name": one.name,
                "auroc": ("about " if one.about else "") + number(one.auroc, 2 if one.about else 3),
                "accuracy": percent(one.accuracy),
                "remark": one.remark,
            }
            for one in reversed(PUBLISHED)
        ],
    }


def odd(facts: dict[str, Any]) -> dict[str, Any] | None:
    """Share of OOD images that each detector flags."""
    rows = {row: one["odd"] for row, one in facts["detectors"].items() if one.get("odd")}
    if not rows:
        return None
    kinds = [(one["kind"], one["title"]) for one in next(iter(rows.values()))]
    return {
        "names": [named(row) for row in rows],
        "n": count(next(iter(rows.values()))[0]["n"]),
        "rows": [
            {
                "title": title[0].upper() + title[1:],
                "cells": [
                    {
                        "share": percent(entry["value"], 0),
                        "of": of(entry),
                        "shade": round(0.75 * entry["value"], 3),
                    }
                    for row in rows
                    for entry in rows[row]
                    if entry["kind"] == kind
                ],
            }
            for kind, title in kinds
        ],
    }


def truth(facts: dict[str, Any]) -> dict[str, Any] | None:
    """How well the maps point at lesions that are known to the pixel."""
    rows = {row: one["truth"] for row, one in facts["detectors"].items() if one.get("truth")}
    if not rows:
        return None
    first = next(iter(rows.values()))
    return {
        "images": f"{count(first['n_images'])} held-back images, {count(first['n_abnormal'])} of them with"
        f" {count(first['n_regions'])} lesions",
        "chance": percent(first["pointing"]["chance"], 0),
        "rows": [
            [
                named(row),
                number(one["pixel_auroc"]),
                number(one["aupro"]),
                f"{percent(one['pointing']['value'])} ({of(one['pointing'])})",
            ]
            for row, one in rows.items()
        ],
    }


def matching(facts: dict[str, Any], part: str) -> dict[str, Any]:
    """What the pairs were made from and what is left of each number among them."""
    one = facts["matching"][part]
    if not one["pairs"]:
        return {"title": PARTS[part], "why": one["why"], "rows": []}
    before = {entry["name"]: entry for entry in facts["shortcuts"][part]["single"]}
    left = one["residual"]
    rows = [
        [entry["label"], number(before[entry["name"]]["auroc"]), number(entry["auroc"])]
        for entry in left["single"]
        if entry["name"] in before
    ]
    joint, rest = facts["shortcuts"][part].get("joint"), left.get("joint")
    if isinstance(joint, dict):
        after = number(rest["auroc"]) if isinstance(rest, dict) else NOTHING
        rows.append(["all together, fitted again", number(joint["auroc"]), after])
    rows.append(["the propensity that was matched on", NOTHING, number(one["propensity"])])
    return {
        "title": PARTS[part],
        "why": f"{plural(one['pairs'], 'pair')} out of {plural(one['of_healthy'], 'healthy image')}; the"
        f" logits of a pair differ by {number(one['mean_distance'], 3)} on average and by"
        f" {number(one['caliper'], 2)} at most.",
        "rows": rows,
    }


def options(one: dict[str, Any]) -> str:
    return ", ".join(f"{key}: {value}" for key, value in (one.get("options") or {}).items())


def seconds(one: dict[str, Any]) -> str:
    took = one.get("seconds") or {}
    return (
        f"{took['fit']:.0f}{SPACE}s to fit, {took.get('score', 0):.0f}{SPACE}s to score"
        if "fit" in took
        else ""
    )
