"""What it looks at: maps of a normal, a bacterial and a viral image, each with how far it may be believed."""

from typing import Any

import numpy as np

from hilum.report import commands
from hilum.report.explained import PROBABILITY, Explained, explained, raw_colours, raw_map
from hilum.report.figures import look
from hilum.report.heat import bar_colours
from hilum.report.sections import Section
from hilum.report.sections.belief import (
    ablation,
    agreement,
    believed,
    concepts,
    line,
    lungs,
    probes,
    truth,
)
from hilum.report.sections.filters import fired, synthesised
from hilum.report.titles import TITLES
from hilum.report.wording import count, digits, listing, plural, probability, sentence, split_name
from hilum.run import Run

TITLE = "What it looks at"

KINDS = (
    ("occlusion",),
    ("grad_cam", "grad_cam_plus_plus", "layer_cam"),
    ("integrated_gradients", "smooth_grad", "deep_lift", "saliency"),
)
"""One column of the row of pictures per kind of method: the first that was made."""

UNITS = {
    "occlusion": "lost probability",
    "rise": "probability",
    "saliency": "evidence per unit of grey, per pixel",
    "smooth_grad": "evidence per unit of grey, per pixel",
    "integrated_gradients": "evidence per pixel",
    "deep_lift": "evidence per pixel",
}
"""What one unit of a method's map is; evidence is the class's logit minus the mean of the others."""

QUESTIONS = {
    "occlusion": "What happens to the probability when a square of the image is covered?",
    "grad_cam": "Where are the network’s late filters active that speak for the class?",
    "grad_cam_plus_plus": "Where are the network’s late filters active that speak for the class?",
    "layer_cam": "Where are the network’s late filters active that speak for the class?",
    "integrated_gradients": "What does each spot add, on the way from a black image to this one?",
    "smooth_grad": "Where would a little more brightness change the answer?",
    "deep_lift": "What does each spot add, against a black image?",
    "saliency": "Where would a little more brightness change the answer?",
    "rise": "How probable is the class, on average, when this spot is left visible?",
}

FILLS = {"zero": "black", "mean": "even grey", "blur": "blurred image", "noise": "noise"}


def explain(run: Run) -> Section | None:
    """The richest task first, the others folded; how to make it where none is explained; None where nothing
    is trained."""
    if not run.tasks:
        return None
    known = [that for name in reversed(run.tasks) if (that := explained(run, name)) is not None]
    if not known:
        return Section("explain", TITLE, "missing.html", _missing(run))
    blocks = [_block(that) for that in known]
    return Section(
        "explain",
        TITLE,
        "explain.html",
        {
            "lead": lead(known[0]),
            "bar": bar_colours(),
            "raw_bar": raw_colours(),
            "first": blocks[0],
            "others": blocks[1:],
            "commands": [commands.explain(run), commands.report(run)],
        },
    )


def _missing(run: Run) -> dict[str, str]:
    return {"sentence": "Nothing is explained yet.", "command": commands.explain(run)}


def lead(that: Explained) -> str:
    """The one sentence: what a covered square costs."""
    swept = that.facts.get("occlusion") or {}
    if not swept:
        return (
            "Which parts of an image the model’s answer rests on, and how far the pictures may be believed."
        )
    fallen = [facts for facts in swept.values() if facts["lowest"] < 0.5 * facts["probability"]]
    worst = min(swept.values(), key=lambda facts: facts["lowest"])
    side = worst["mask"]
    rows, cols = that.size
    share = 100 * side * side / (rows * cols)
    return (
        f"Covering one square of {share:.0f}\u00a0% of the image more than halves the probability of the named"
        f" class in {len(fallen)} of {plural(len(swept), 'image')} that the model names rightly and most"
        f" surely; the most sensitive falls from {probability(worst['probability'])} to"
        f" {probability(worst['lowest'])}."
    )


def _block(that: Explained) -> dict[str, Any]:
    """Everything about one task."""
    columns = _columns(that)
    return {
        "task": that.one.task,
        "question": TITLES[that.one.task],
        "split": split_name(that.examples[0]["split"]) if that.examples else "",
        "columns": columns,
        "rows": [_row(that, row, columns) for row in that.examples],
        "every": _every(that, columns),
        "raw": _raw(that),
        "believed": believed(that),
        "agreement": agreement((that.facts.get("faithfulness") or {}).get("agreement")),
        "truth": truth(that),
        "lungs": lungs(that),
        "ablation": ablation(that),
        "probes": probes(that),
        "concepts": concepts(that),
        "fired": fired(that),
        "synthesised": synthesised(that),
        "failures": [_failure(one) for one in that.facts["failures"]],
        "pixels": "{} × {}".format(*that.size),
    }


def _failure(one: dict[str, str]) -> str:
    """What is missing here, and why."""
    return f"Left out: {one['what']}. The reason: {sentence(one['why'])}"


# -- the rows of pictures ------------------------------------------------------------------------------------


def _columns(that: Explained) -> list[dict[str, Any]]:
    """The first method of each kind, with what full colour stands for."""
    made = that.facts.get("maps", {})
    names = [next((name for name in kind if name in made), None) for kind in KINDS]
    return [_column(that, name) for name in names if name is not None]


def _column(that: Explained, name: str) -> dict[str, Any]:
    block, scale = that.facts["maps"][name], that.scale(name)
    return {
        "name": name,
        "title": block["title"],
        "source": block["source"],
        "signed": block["signed"] or name == "occlusion",
        "question": QUESTIONS.get(name, ""),
        "scale": scale,
        "full": digits(scale),
        "unit": UNITS.get(name, "evidence"),
    }


def beside(value: float, scale: float) -> str:
    """A value with as many decimals as tell it apart on its scale.

    >>> beside(-0.0000012, 1.0), beside(0.98765, 1.0), beside(12.3456, 31.0), beside(0.0123, 0.05)
    ('0.00', '0.99', '12.3', '0.0123')
    """
    if not (np.isfinite(value) and scale > 0):
        return "–"
    decimals = int(np.clip(2 - np.floor(np.log10(scale)), 0, 8))
    return f"{round(value, decimals) + 0.0:.{decimals}f}".replace("-", "−")


def _row(that: Explained, row: dict[str, Any], columns: list[dict[str, Any]]) -> dict[str, Any]:
    shares = row["probabilities"]
    return {
        "case": row["case_id"],
        "label": row["label"],
        "asked": row["asked"],
        "colour": look(row["label"], [*that.one.classes, row["label"]]).colour,
        "image": that.plain(row["case_id"]),
        "stated": f"P({row['asked']}) = {probability(shares[row['asked']])}",
        "cells": [_cell(that, row, column) for column in columns],
    }


def _cell(that: Explained, row: dict[str, Any], column: dict[str, Any]) -> dict[str, Any] | None:
    """One map on its image, its range and what it says."""
    picture = that.picture(row["case_id"], column["name"], column["scale"])
    values = that.evidence(column["name"], row["case_id"])
    if picture is None or values is None:
        return None
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    return {
        "picture": picture,
        "title": column["title"],
        "range": f"{beside(low, column['scale'])} to {beside(high, column['scale'])}",
        "said": _said(that, row, column["name"]),
        "believe": line(that, column["name"], row["case_id"]),
    }


def _said(that: Explained, row: dict[str, Any], name: str) -> str:
    facts = (that.facts.get("occlusion") or {}).get(row["case_id"])
    if name != "occlusion" or facts is None:
        return ""
    change = (
        f"P({facts['target']}) from {probability(facts['probability'])} to {probability(facts['lowest'])}"
    )
    if facts["lowest"] > 0.9 * facts["probability"]:
        return f"No square matters much: covering the marked one takes {change}."
    return f"Covering the marked square takes {change}."


def _every(that: Explained, shown: list[dict[str, Any]]) -> dict[str, Any] | None:
    """All methods on the same images, small."""
    made = that.facts.get("maps", {})
    if len(made) <= len(shown):
        return None
    columns = [_column(that, name) for name in made]
    rows = []
    for row in that.examples:
        cells = [that.picture(row["case_id"], one["name"], one["scale"], longest=150) for one in columns]
        rows.append({"case": row["case_id"], "label": row["label"], "asked": row["asked"], "cells": cells})
    return {"columns": columns, "rows": rows}


# -- occlusion as in the seed report -------------------------------------------------------------------------


def _raw(that: Explained) -> dict[str, Any] | None:
    """The probability of the true class at every position of the mask, as a picture by itself."""
    pictures: list[dict[str, Any]] = []
    facts: dict[str, Any] = {}
    shape = (0, 0)
    for row in that.examples:
        known = that.map_of(PROBABILITY, row["case_id"])
        if known is None:
            continue
        values, facts = known
        shape = values.shape
        pictures.append(
            {
                "source": raw_map(values),
                "image": that.plain(row["case_id"], 200),
                "case": row["case_id"],
                "label": row["label"],
                "target": facts["target"],
                "range": f"{probability(float(values.min()))} to {probability(float(values.max()))}",
                "without": probability(facts["probability"]),
            }
        )
    if not pictures:
        return None
    rows, cols = shape
    return {
        "pictures": pictures,
        "mask": facts["mask"],
        "stride": facts["stride"],
        "fill": FILLS.get(facts["fill"], facts["fill"]),
        "positions": f"{rows} × {cols} = {count(rows * cols)}",
        "inverted": listing([f"P({name})" for name in dict.fromkeys(one["target"] for one in pictures)]),
    }
