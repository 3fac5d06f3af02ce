"""What single filters look for: the images that fire them most, and inputs synthesised to fire them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from markupsafe import Markup

from hilum.report.explained import Explained
from hilum.report.figures import FAINT, in_style, look, new_figure, svg
from hilum.report.heat import box_on_image, colour_uri, framed, small
from hilum.report.pictures import Image, data_uri
from hilum.report.wording import count, digits, listing, number, percent, plural

THUMB, SYNTHETIC = 150, 130
"""Pixels along the longer side of an image with a box, and of a synthesised input."""

SHOWN = 7
"""Synthesised inputs that stand open; the others fold out."""

DEAD_NAMED = 12


def letter(label: str) -> str:
    """The class as the seed report marks it on an image.

    >>> letter("normal"), letter("virus")
    ('N', 'V')
    """
    return label[:1].upper()


def fired(that: Explained) -> dict[str, Any] | None:
    """The grid of filters and images with the receptive field of the strongest unit; None where not made."""
    facts = that.facts.get("maximal")
    if not facts or not that.folder.maximal_file.exists():
        return None
    arrays, _ = that.folder.read_arrays(that.folder.maximal_file, that.facts["weights_digest"])
    rows = [
        {
            "filter": int(which),
            "cells": [
                _fired(that, arrays, row, place)
                for place in range(arrays["case_id"].shape[1])
                if arrays["case_id"][row, place]
            ],
        }
        for row, which in enumerate(arrays["filters"])
    ]
    for one in rows:
        letters = [cell["letter"] for cell in one["cells"]]
        one["counts"] = ", ".join(f"{letters.count(mark)} {mark}" for mark in sorted(set(letters)))
    labels = sorted(set(that.labels.values()), key=lambda name: (name != "normal", name))
    return {
        "rows": rows,
        "layer": facts["layer"],
        "of": count(facts["of"]),
        "images": _scanned(facts["images"], len(that.labels)),
        "maps": "{} × {}".format(*facts["maps"]),
        "box": _box_words(that, arrays),
        "letters": listing([f"{letter(label)} {label}" for label in labels]),
        "padded": _padded(facts),
        "dead": dead_words(facts),
    }


def _fired(that: Explained, arrays: Mapping[str, np.ndarray], row: int, place: int) -> dict[str, Any]:
    """One image with its box; the frame has gaps where the unit also sees padding."""
    case = str(arrays["case_id"][row, place])
    grey = that.grey(case, THUMB)
    top, left, bottom, right = arrays["box"][row, place].tolist()
    padded = bool(arrays["sees_padding"][row, place])
    box = box_on_image((top, left, bottom, right), that.pixels, grey.shape)
    label = that.labels.get(case, "")
    return {
        "picture": Image(case, colour_uri(framed(grey, box, dotted=padded), 75), *grey.shape),
        "case": case,
        "label": label,
        "letter": letter(label),
        "colour": look(label, [*that.one.classes, label]).colour,
        "padded": padded,
        "activation": number(float(arrays["activation"][row, place]), 2),
    }


def _scanned(images: int, known: int) -> str:
    """How many images were looked through.

    >>> _scanned(5, 5).replace("\xa0", " "), _scanned(3, 5).replace("\xa0", " ")
    ('all 5 images', '3 images drawn at random')
    """
    return (
        f"all {plural(images, 'image')}" if images == known else f"{plural(images, 'image')} drawn at random"
    )


def _box_words(that: Explained, arrays: Mapping[str, np.ndarray]) -> str:
    """How much of the image a unit sees."""
    boxes = arrays["box"][arrays["case_id"] != ""]
    if not len(boxes):
        return ""
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    rows, cols = that.size
    return percent(float(np.median(areas)) / (rows * cols), 0)


def _padded(facts: Mapping[str, Any]) -> str:
    if not facts["padded"]:
        return "No unit shown here sees the padding beyond the image’s border."
    return (
        f"{facts['padded']} of {facts['shown']} strongest units (broken frame, marked “border”) also see the"
        " padding beyond the image’s border: part of what fires them may be that border and not the child."
    )


def dead_words(facts: Mapping[str, Any]) -> str:
    """Which filters never fire.

    >>> dead_words({"dead": [], "of": 8})
    'Every one of the 8 filters fires on some image.'
    """
    dead = facts["dead"]
    if not dead:
        return f"Every one of the {facts['of']} filters fires on some image."
    names = ", ".join(map(str, dead[:DEAD_NAMED])) + (" and others" if len(dead) > DEAD_NAMED else "")
    verb = "fires" if len(dead) == 1 else "fire"
    return f"{len(dead)} of {facts['of']} filters never {verb} or answer every image alike (dead): {names}."


# -- synthesised inputs --------------------------------------------------------------------------------------


def synthesised(that: Explained) -> dict[str, Any] | None:
    """Inputs that drive a filter, by the plain way and by the careful one, with their activation curves."""
    facts = that.facts.get("synthesis")
    if not facts or not that.folder.synthesis_file.exists():
        return None
    arrays, _ = that.folder.read_arrays(that.folder.synthesis_file, that.facts["weights_digest"])
    ways = [way for way in ("plain", "clean") if way in arrays]
    cells = [
        {
            "filter": int(which),
            "pictures": [
                {
                    "way": way,
                    "picture": _grey_picture(arrays[way][place], f"filter {which}"),
                    "rise": f"{digits(arrays[f'{way}_activation'][place, 0])} to"
                    f" {digits(arrays[f'{way}_activation'][place, -1])}",
                }
                for way in ways
            ],
        }
        for place, which in enumerate(arrays["filters"])
    ]
    name = f"climb-{that.one.task}"
    titles = {"plain": "Plain ascent", "clean": "Careful ascent"}
    return {
        "open": cells[:SHOWN],
        "folded": cells[SHOWN:],
        "start": that.plain(facts["start"], SYNTHETIC),
        "start_case": facts["start"],
        "layer": facts["layer"],
        "filters": plural(len(facts["filters"]), "filter"),
        "of": count(facts["of"]),
        "steps": count(facts["steps"]),
        "lr": count(facts["lr"]) if facts["lr"] >= 1 else str(facts["lr"]),
        "clean_steps": count(facts["clean_steps"]),
        "clean": "clean" in ways,
        "curves": [
            climbing(arrays[f"{way}_activation"], arrays["filters"], titles[way], f"{name}-{way}")
            for way in ways
        ],
    }


def _grey_picture(values: np.ndarray, name: str) -> Image:
    """A picture of any range: black is its darkest hundredth, white its brightest."""
    low, high = np.percentile(values, [1, 99])
    share = np.clip((values - low) / max(float(high - low), 1e-12), 0, 1)
    grey = np.rint(255 * share).astype(np.uint8)
    grey = small(grey, SYNTHETIC)
    return Image(name, data_uri(grey, 80), *grey.shape)


@in_style
def climbing(activation: np.ndarray, filters: np.ndarray, title: str, name: str) -> Markup:
    """The mean activation "filters steps+1" of each filter over the steps; one line per filter."""
    figure = new_figure()
    axes = figure.subplots()
    steps = np.arange(activation.shape[1])
    thin = len(filters) > SHOWN
    for row, which in zip(activation, filters, strict=True):
        if thin:
            axes.plot(steps, row, color=FAINT, linewidth=0.7, alpha=0.7)
        else:
            axes.plot(steps, row, linewidth=1.2, label=str(int(which)))
    top, start = float(np.abs(activation).max()), max(float(np.abs(activation[:, 0]).max()), 1e-6)
    if top > 100 * start:  # plain ascent without limits: powers of ten, straight between -start and start
        power = int(np.ceil(np.log10(start)))
        axes.set_yscale("symlog", linthresh=10.0**power, linscale=0.5)
        powers = range(power, int(np.log10(top)) + 1, max(1, int(np.log10(top / start)) // 4))
        axes.set_yticks([0, *(10.0**one for one in powers)], ["0", *(digits(10.0**one) for one in powers)])
        axes.minorticks_off()
    axes.set_title(title)
    axes.set_xlabel("step")
    axes.set_ylabel("mean of the filter’s map")
    if not thin:
        axes.legend(title="filter", fontsize=7.5, title_fontsize=7.5, ncols=2, loc="best")
    ends = f"from {digits(activation[:, 0].mean())} to {digits(activation[:, -1].mean())} on average"
    return svg(
        figure, name, f"{title}: activation of {len(filters)} filters over {len(steps) - 1} steps, {ends}"
    )
