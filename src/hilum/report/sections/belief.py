"""How far the maps may be believed: the table of methods, phantom images, lungs, and the filters that matter."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from hilum.report.believing import depends, figures_of, matters, steady
from hilum.report.explained import Explained
from hilum.report.figures import INK, in_style, new_figure, svg
from hilum.report.wording import LEVEL, NOTHING, SPACE, count, digits, number, percent, plural

FILTERS = 10
"""Rows of the table of filters that matter."""

COLUMNS = (
    (
        "deletion",
        "Deletion",
        "area under the probability as the marked pixels are taken away; low is good",
    ),
    ("insertion", "Insertion", "the same while the marked pixels are added; high is good"),
    ("infidelity", "Infidelity", "squared error of the change that the map foretells; low is good"),
    ("sensitivity", "Sensitivity-n", "correlation of what pixels sum to with what they cost; high is good"),
    ("randomised", "Random weights", "likeness to the map of a network with random weights; near 0 is good"),
    ("noise", "Noise", "likeness to the map of the image with a little noise; near 1 is good"),
    ("shift", "Shift", "likeness to the map of the image shifted a little; near 1 is good"),
)
"""Keys of a row of faithfulness, how they are headed, and what they say."""

TRUTH = (
    ("pointing", "Pointing game", "how often the highest point lies in the drawn lesion"),
    ("energy", "Energy inside", "share of the evidence for the class inside the lesion"),
    ("iou", "Overlap", "intersection over union of the lesion and the strongest area of its size"),
)


def entry(value: Any, share: bool = False) -> dict[str, str]:
    """A number, or {"value", "low", "high", "k", "n"}, as a cell.

    >>> entry(0.5)["value"], entry({"value": 0.25, "low": 0.2, "high": 0.3})["interval"]
    ('0.50', '0.20 to 0.30')
    """
    block = value if isinstance(value, Mapping) else {"value": value}
    found = block.get("value")
    if found is None or found != found:
        return {"value": NOTHING, "of": "", "interval": ""}
    said = percent(found) if share else number(found, 2)
    of = f"{count(block['k'])}/{count(block['n'])}" if block.get("k") is not None else ""
    low, high = block.get("low"), block.get("high")
    if low is None or high is None:
        return {"value": said, "of": of, "interval": ""}
    ends = f"{100 * low:.1f} to {percent(high)}" if share else f"{number(low, 2)} to {number(high, 2)}"
    return {"value": said, "of": of, "interval": ends}


def plain(value: Any) -> float | None:
    """The bare number of an entry."""
    return value.get("value") if isinstance(value, Mapping) else value


def line(that: Explained, method: str, case_id: str) -> str:
    """One line under a picture, in words and with its numbers; empty where nothing was measured."""
    rows = {row["name"]: row for row in (that.facts.get("faithfulness") or {}).get("rows", [])}
    mine = rows.get(method)
    if mine is None:
        return ""
    values = {key: plain(mine.get(key)) for key, _, _ in COLUMNS}
    own = (mine.get("images") or {}).get(case_id) or {}
    values |= {key: own[key] for key in ("deletion", "insertion") if own.get(key) is not None}
    said = []
    chance = rows.get("random")
    if chance is not None and values["deletion"] is not None and values["insertion"] is not None:
        theirs = (chance.get("images") or {}).get(case_id) or {}
        random = {key: float(theirs.get(key, plain(chance[key]))) for key in ("deletion", "insertion")}
        said.append(matters({key: float(values[key] or 0) for key in random}, random))
    said += [depends(values["randomised"]), steady(values["noise"])]
    words = " ".join(part for part in said if part)
    return f"{words} ({figures_of(values)})" if words else ""


def believed(that: Explained) -> dict[str, Any] | None:
    """The table of all methods, with random numbers and an edge detector as rows."""
    facts = that.facts.get("faithfulness")
    if not facts or not facts.get("rows"):
        return None
    columns = [one for one in COLUMNS if any(plain(row.get(one[0])) is not None for row in facts["rows"])]
    return {
        "columns": [{"title": title, "meaning": meaning} for _, title, meaning in columns],
        "rows": [
            {
                "title": row["title"],
                "baseline": row.get("kind", "method") != "method",
                "cells": [entry(row.get(key)) for key, _, _ in columns],
            }
            for row in facts["rows"]
        ],
        "images": plural(facts["images"], "image"),
        "note": facts.get("note", ""),
        "agreement": facts.get("agreement"),
    }


def truth(that: Explained) -> dict[str, Any] | None:
    """On phantom images: how well each method finds the drawn lesion."""
    facts = that.facts.get("truth")
    if not facts or not facts.get("rows"):
        return None
    columns = [one for one in TRUTH if any(plain(row.get(one[0])) is not None for row in facts["rows"])]
    methods = [row for row in facts["rows"] if row.get("kind", "method") == "method"]
    best = max(methods, key=lambda row: plain(row.get("pointing")) or 0.0) if methods else None
    return {
        "columns": [{"title": title, "meaning": meaning} for _, title, meaning in columns],
        "rows": [
            {
                "title": row["title"],
                "baseline": row.get("kind", "method") != "method",
                "cells": [entry(row.get(key), share=key != "iou") for key, _, _ in columns],
            }
            for row in facts["rows"]
        ],
        "images": plural(facts["images"], "image"),
        "lead": (
            f"The best, {best['title']}, points into the lesion in"
            f" {entry(best['pointing'], share=True)['value']} of them."
            if best is not None
            else ""
        ),
        "note": facts.get("note", ""),
    }


def lungs(that: Explained) -> dict[str, Any] | None:
    """Which share of each map lies inside the lungs, beside the share of the image that they fill."""
    facts = that.facts.get("lungs")
    if not facts or not facts.get("rows"):
        return None
    return {
        "rows": [
            {
                "title": row["title"],
                "baseline": row.get("kind", "method") != "method",
                "share": entry(row["share"], share=True),
            }
            for row in facts["rows"]
        ],
        "area": percent(plain(facts.get("area"))),
        "images": plural(facts["images"], "image"),
        "error": facts.get("error", ""),
    }


# -- filters and layers --------------------------------------------------------------------------------------


def ablation(that: Explained) -> dict[str, Any] | None:
    """The filters whose loss costs most."""
    facts = that.facts.get("ablation")
    if not facts or not facts.get("rows"):
        return None
    classes = list(that.one.classes)
    rows = facts["rows"][:FILTERS]
    first = rows[0]
    hit = min(classes, key=lambda name: first["classes"].get(name) or 0.0)
    return {
        "classes": classes,
        "rows": [
            {
                "filter": str(row["filter"]),
                "layer": row.get("layer", facts.get("layer", "")),
                "loss": signed(row["loss"]),
                "cells": [signed(row["classes"].get(name)) for name in classes],
            }
            for row in rows
        ],
        "images": plural(facts["images"], "image"),
        "of": count(facts.get("of")),
        "lead": (
            f"The costliest is filter {first['filter']}: without it the loss changes by"
            f" {signed(first['loss'])}, and the probability of the true class falls most for images labelled"
            f" {hit}."
            f" Without the whole layer the loss changes by {signed(facts['whole']['loss'])}; what single"
            " filters cost does not add up to that, because others stand in for them."
        ),
    }


def signed(value: float | None) -> str:
    """A change with its sign.

    >>> signed(0.0123), signed(-0.5)
    ('+0.0123', '−0.5')
    """
    if value is None or value != value:
        return NOTHING
    return f"+{digits(value)}" if value > 0 else digits(value)


def probes(that: Explained) -> dict[str, Any] | None:
    """How well the classes can be told by a straight cut through each layer."""
    facts = that.facts.get("probes")
    if not facts or not facts.get("rows"):
        return None
    rows = facts["rows"]
    best = max(rows, key=lambda row: plain(row["accuracy"]) or 0.0)
    return {
        "drawing": probe_curve(rows, plain(facts.get("head")), f"probes-{that.one.task}"),
        "lead": (
            f"A linear probe names {percent(plain(best['accuracy']))} of the images correctly from layer"
            f" “{best['layer']}”, from the first layer {percent(plain(rows[0]['accuracy']))}."
        ),
        "note": (
            f"Fitted on {plural(facts['fitted'], 'training image')}, measured on"
            f" {plural(facts['measured'], 'held-out image')} of other patients; lines are {LEVEL} intervals"
            " over patients. A good probe shows that the class can be read from a layer, not that the network"
            " reads it there."
        ),
    }


@in_style
def probe_curve(rows: list[Mapping[str, Any]], head: float | None, name: str) -> Markup:
    """Accuracy of a linear probe over the layers in their order, with its interval."""
    figure = new_figure(5.2, 2.95)
    axes = figure.subplots()
    places = range(len(rows))
    values = [100 * (plain(row["accuracy"]) or 0.0) for row in rows]
    axes.plot(places, values, "-", color=INK, marker=".", markersize=6)
    for place, row in zip(places, rows, strict=True):
        block = row["accuracy"]
        if isinstance(block, Mapping) and block.get("low") is not None:
            axes.plot([place, place], [100 * block["low"], 100 * block["high"]], color=INK, linewidth=0.9)
    if head is not None:
        axes.axhline(100 * head, color=INK, linewidth=0.8, linestyle=":", label="the network’s head")
        axes.legend(loc="lower right")
    axes.set_xticks(list(places), [row["layer"] for row in rows], rotation=35, ha="right", fontsize=7.5)
    axes.set_title("Linear probe by layer")
    axes.set_ylabel("images named correctly, %")
    spoken = ", ".join(f"{row['layer']} {value:.1f} %" for row, value in zip(rows, values, strict=True))
    return svg(figure, name, f"Accuracy of a linear probe by layer: {spoken}")


def concepts(that: Explained) -> dict[str, Any] | None:
    """How often moving towards a concept raises a class."""
    facts = that.facts.get("concepts")
    if not facts or not facts.get("rows"):
        return None
    names = list(that.one.classes)
    return {
        "classes": names,
        "rows": [
            {
                "title": row["title"],
                "accuracy": percent(row["accuracy"], 0),
                "cells": [concept(row["classes"].get(name)) for name in names],
            }
            for row in facts["rows"]
        ],
        "note": (
            f"Layer “{facts['layer']}”, {plural(facts['images'], 'phantom image')}. Told apart: balanced accuracy"
            f" of a linear classifier on patients that it has not seen; 50{SPACE}% is guessing. Raises a"
            " class: share of its images whose evidence rises when the layer’s answer moves towards the"
            " concept; a star where this differs from directions of shuffled labels (rank-sum test,"
            " Bonferroni) and the concept can be told apart. A concept holds whatever goes along with it in"
            " these images."
        ),
    }


def concept(value: Mapping[str, Any] | None) -> str:
    """A share, with a star where it is no chance.

    >>> concept({"value": 1.0, "matters": True}).replace("\\xa0", " "), concept(None)
    ('100 % *', '–')
    """
    if value is None:
        return NOTHING
    return percent(value["value"], 0) + (f"{SPACE}*" if value.get("matters") else "")


def agreement(block: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """How alike the maps of two methods are: rank correlations, as a table."""
    if not block:
        return None
    rows = [
        {"title": name, "cells": [number(value, 2) for value in values]}
        for name, values in zip(block["names"], block["values"], strict=True)
    ]
    return {"names": block["names"], "rows": rows}
