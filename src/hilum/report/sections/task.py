"""One section per task: what was found, where the model errs, whether to believe it, how it was trained."""

from typing import Any

import pandas as pd

from hilum.data.tasks import possible_tasks
from hilum.report import commands
from hilum.report.beside import seed_comparison
from hilum.report.curves import calibration_panels, operating_panels, training_panels
from hilum.report.explanations.reading import (
    TaskExplanations,
    mistake_map,
    mistake_maps_note,
    read_explanations,
)
from hilum.report.figures import look
from hilum.report.pictures import picture_of
from hilum.report.results import Results, headline, results
from hilum.report.sections import Section
from hilum.report.subgrouped import subgroup_rows
from hilum.report.wording import (
    METRICS,
    count,
    duration,
    figure,
    interval,
    listing,
    metric,
    number,
    of,
    percent,
    split_name,
)
from hilum.run import Run

TITLES = {"binary": "Normal vs pneumonia", "multiclass": "Bacterial or viral"}
MISTAKES, RIGHTS = 5, 2
"""Pictures per group: of the surest mistakes, and of the surest right answers."""


def binary(run: Run) -> Section | None:
    """Normal against everything else."""
    return task_section(run, "binary")


def multiclass(run: Run) -> Section | None:
    """Normal, bacteria, virus."""
    return task_section(run, "multiclass")


def task_section(run: Run, task: str) -> Section | None:
    """The section of one task; how to make it where the data allow it; None where they don't."""
    one = results(run, task)
    if one is None:
        if task not in possible_tasks(run.cases().labels):
            return None
        return Section(task, TITLES[task], "missing.html", _missing(run, task))
    paths = run.cases().table.set_index("case_id")["path"]
    maps = read_explanations(run, task)
    return Section(
        task,
        TITLES[task],
        "task.html",
        {
            "lead": headline(one),
            "warnings": _warnings(one),
            "confusion": _confusion(one),
            "operating": operating_panels(one),
            "calibration": calibration_panels(one),
            "shift": _shift(one),
            "mistakes": _mistakes(one, paths, maps),
            "heated": mistake_maps_note(maps),
            "rights": _rights(one, paths),
            "legend": [{"name": name, "colour": look(name, one.classes).colour} for name in one.classes],
            "training": training_panels(one),
            "card": _card(one),
            "figures": _all_figures(one),
            "per_class": _per_class(one),
            "subgroups": subgroup_rows(one),
            "seed": seed_comparison(one),
            "size": one.size,
            "split": split_name(one.split),
            "replicates": count(one.block.get("replicates")),
            "commands": [commands.evaluate(run), commands.report(run)],
        },
    )


def _missing(run: Run, task: str) -> dict[str, Any]:
    trained = run.task(task).card_file.exists()
    return {
        "sentence": "The model is trained but not yet evaluated."
        if trained
        else "This task is not trained yet.",
        "command": commands.evaluate(run) if trained else commands.train_task(run, task),
    }


def _warnings(one: Results) -> list[str]:
    """What makes the figures better than they are."""
    said = []
    if one.split == "val":
        said.append(
            f"These are validation figures: the same images chose {listing(one.chosen_on_val)}, so they are a"
            " little"
            " too good. A figure on test images, which take part in no choice, is the one to quote."
        )
    if one.division.get("leaky"):
        shared = one.division.get("shared_patients")
        who = (
            f"{count(shared)} patients have images on both sides"
            if shared
            else "The same images are on both sides"
        )
        said.append(f"The split leaks: {who}, so the figures are better than they would be on new patients.")
    return said


# -- right and wrong ---------------------------------------------------------------------------------------


def _confusion(one: Results) -> dict[str, Any]:
    """Counts and row shares; the shade of a cell is its row share."""
    rows = []
    for label, counts in zip(one.classes, one.block["confusion"], strict=True):
        total = sum(counts)
        cells = [
            {
                "count": count(n),
                "share": percent(n / total if total else None, 1),
                "shade": round(n / total, 3) if total else 0,
                "right": label == predicted,
            }
            for n, predicted in zip(counts, one.classes, strict=True)
        ]
        rows.append({"label": label, "total": count(total), "cells": cells})
    return {"classes": one.classes, "rows": rows, "rule": _rule(one)}


def _rule(one: Results) -> str:
    """How a probability becomes a name."""
    threshold = one.card.get("threshold")
    if threshold:
        return (
            f"An image is classified as {threshold['class']} when its probability of {threshold['class']} is at least"
            f" {number(threshold['value'])} ({_where_chosen(threshold)})."
        )
    return "An image is given the name with the highest probability."


def _where_chosen(threshold: dict[str, Any]) -> str:
    rules = {"youden": "highest sensitivity + specificity", "half": "one half, without a choice"}
    rule = rules.get(threshold.get("rule", ""), threshold.get("rule", ""))
    if threshold.get("rule") == "half":
        return f"rule: {rule}"
    return f"rule: {rule}, chosen on {split_name(threshold.get('chosen_on', ''))} images"


def _mistakes(one: Results, paths: pd.Series, maps: TaskExplanations | None) -> list[dict[str, Any]]:
    """For each label, the images that got another name, surest first."""
    rows = _surest_first(one)
    wrong = rows[rows["target"] != rows["predicted"]]
    groups = []
    for label in one.classes:
        of_label = wrong[wrong["target"] == label]
        total = int((rows["target"] == label).sum())
        groups.append(
            {
                "title": f"Labelled {label}, predicted otherwise: {len(of_label)} of {count(total)} images",
                "images": _pictures(one, of_label.head(MISTAKES), paths, maps),
                "more": max(0, len(of_label) - MISTAKES),
            }
        )
    return groups


def _rights(one: Results, paths: pd.Series) -> list[dict[str, Any]]:
    """The images of each class that the model named rightly and most surely."""
    rows = _surest_first(one)
    right = rows[rows["target"] == rows["predicted"]]
    best = pd.concat([right[right["target"] == label].head(RIGHTS) for label in one.classes])
    return _pictures(one, best, paths)


def _surest_first(one: Results) -> pd.DataFrame:
    """The held-out rows by falling probability of the name that was given; equals in order of case_id."""
    rows = one.rows.copy()
    rows["sure"] = [row[f"prob_{row['predicted']}"] for _, row in rows.iterrows()]
    return rows.sort_values(["sure", "case_id"], ascending=[False, True], kind="stable")


def _pictures(
    one: Results, rows: pd.DataFrame, paths: pd.Series, maps: TaskExplanations | None = None
) -> list[dict[str, Any]]:
    return [
        _picture(one, row, str(paths.get(row["case_id"], row["case_id"])), maps) for _, row in rows.iterrows()
    ]


def _picture(one: Results, row: pd.Series, path: str, maps: TaskExplanations | None) -> dict[str, Any]:
    """`maps`: the heat map of what spoke for the name that was given stands below the image, if there is
    one."""
    shares = [(name, float(row[f"prob_{name}"])) for name in one.classes]
    return {
        "picture": picture_of(path),
        "heat": mistake_map(maps, row["case_id"]),
        "case": row["case_id"],
        "label": row["label"],
        "called": row["predicted"],
        "right": row["target"] == row["predicted"],
        "stated": _stated(one, row),
        "shares": [
            {"width": f"{100 * share:.2f}", "colour": look(name, one.classes).colour}
            for name, share in shares
        ],
    }


def _stated(one: Results, row: pd.Series) -> str:
    """Two classes: the probability of the abnormal one, whatever was called, because the threshold asks for it.
    More classes: the probability of the name that was given."""
    name = one.classes[1] if len(one.classes) == 2 else row["predicted"]
    return f"P({name}) = {number(row[f'prob_{name}'], 2)}"


def _shift(one: Results) -> dict[str, Any] | None:
    """The groups of images in which the camera gives nothing away, and the worst of them."""
    found = one.block.get("shift")
    if not found:
        return None
    worst = found["worst_group"]
    rows = [
        {
            "name": group["name"],
            "images": f"{count(group['healthy'])} healthy, {count(group['abnormal'])} abnormal, "
            f"{count(group['patients'])} patients",
            "accuracy": _cell("accuracy", group["accuracy"]),
            "auroc": _cell("auroc", group["auroc"]) if group["auroc"] else None,
            "worst": bool(worst and worst["name"] == group["name"]),
        }
        for group in found["groups"]
    ]
    sentence = ""
    if worst:
        sentence = (
            f"Worst group: {worst['name']}, accuracy {figure('accuracy', worst)}"
            f" ({interval('accuracy', worst)}; {of(worst)})."
        )
    return {"rows": rows, "sentence": sentence, "note": found["note"]}


# -- tables ------------------------------------------------------------------------------------------------


def _card(one: Results) -> list[tuple[str, str]]:
    """The model card as rows of a table; what it doesn't hold is left out."""
    card, training = one.card, one.card.get("training", {})
    architecture = card.get("architecture", {})
    options = ", ".join(f"{name} = {value}" for name, value in (architecture.get("options") or {}).items())
    best = training.get("best_metric") or {}
    kept = f", kept the one after epoch {training['best_epoch']}" if training.get("best_epoch") else ""
    if best.get("value") is not None:
        kept += f" (best {best['name']}: {number(best['value'])})"
    threshold = card.get("threshold")
    rows = [
        ("Network", " with ".join(part for part in (architecture.get("name", ""), options) if part)),
        ("Parameters", count(card.get("parameters"))),
        ("Pixels", _pixels(card.get("pixels") or {})),
        ("Recipe", card.get("recipe") if isinstance(card.get("recipe"), str) else ""),
        ("Trained on", _trained_on(card, training)),
        ("Seed", str(training.get("seed", ""))),
        ("Epochs", f"{training.get('epochs', '')}{kept}"),
        ("Time", duration(training["seconds"]) if training.get("seconds") is not None else ""),
        (
            "Device, precision",
            ", ".join(str(training[k]) for k in ("device", "precision") if training.get(k)),
        ),
        (
            "Threshold",
            f"{threshold['class']} ≥ {number(threshold['value'])}; {_where_chosen(threshold)}"
            if threshold
            else "",
        ),
        ("Weights", card.get("weights_digest", "")),
        ("Intended use", card.get("intended_use", "")),
    ]
    return [(name, value) for name, value in rows if value]


def _pixels(pixels: dict[str, Any]) -> str:
    """The pixel contract in words."""
    if not pixels:
        return ""
    rows, columns = pixels["size"]
    fit = {
        "squeeze": "stretched to this size whatever the image's shape",
        "pad": "shrunk in its own shape, the rest black",
    }.get(pixels.get("fit", ""), pixels.get("fit", ""))
    scale = (
        "each image centred and scaled by its own mean and standard deviation"
        if pixels.get("standardize") == "image"
        else f"centred by {number(pixels.get('mean'))} and scaled by {number(pixels.get('sd'))}, mean and"
        " standard"
        " deviation of the training images (grey from 0 to 1)"
    )
    clip = pixels.get("clahe")
    levelled = f"; contrast levelled tile by tile (CLAHE, clip limit {clip:g})" if clip else ""
    frame_fraction = pixels.get("frame_fraction", 1)
    drawn = f"; an image that is asked about fills {percent(frame_fraction, 0)} of each side, black around it"
    return (
        f"{rows} × {columns} (rows × columns), {fit}{levelled}{drawn if frame_fraction != 1 else ''}; {scale}"
    )


def _trained_on(card: dict[str, Any], training: dict[str, Any]) -> str:
    patients = training.get("patients") or (card.get("data", {}).get("patients") or {}).get("train")
    images = training.get("images")
    if images is None:
        return ""
    return f"{count(images)} images" + (
        f" of {count(patients)} patients" if patients and patients != images else ""
    )


def _all_figures(one: Results) -> dict[str, Any]:
    """Every figure of every split: the held-out split first."""
    splits = [
        one.split,
        *(name for name in ("test", "val", "train") if name in one.metrics and name != one.split),
    ]
    keys = [key for key in METRICS if key in one.block]
    return {
        "columns": [f"{split_name(split).capitalize()}: {one.size_of(split)}" for split in splits],
        "rows": [
            {
                "name": metric(key).name,
                "meaning": _meaning(key, one),
                "cells": [_cell(key, one.metrics[split].get(key)) for split in splits],
            }
            for key in keys
        ],
    }


def _meaning(key: str, one: Results) -> str:
    said = metric(key)
    return said.more or said.meaning if len(one.classes) > 2 else said.meaning


def _cell(key: str, entry: dict[str, Any] | None) -> dict[str, str]:
    """Value, counts and interval; the reason where there is none."""
    if not entry or entry.get("value") is None:
        return {"value": "not defined", "of": "", "interval": (entry or {}).get("why", "")}
    known = interval(key, entry) if entry.get("low") is not None else ""
    notes = [note for note in (known, entry.get("note", ""), entry.get("why", "")) if note]
    return {"value": figure(key, entry), "of": of(entry), "interval": "; ".join(notes)}


def _per_class(one: Results) -> dict[str, Any] | None:
    """More than two classes: one row per class of the held-out split, and one for abnormal or not."""
    per_class = one.block.get("per_class")
    if not per_class:
        return None
    blocks = {f"{name} against the rest": entries for name, entries in per_class.items()}
    if one.block.get("normal_vs_abnormal"):
        blocks["abnormal or not"] = one.block["normal_vs_abnormal"]
    present = {key for entries in blocks.values() for key in entries}
    keys = [key for key in METRICS if key in present]
    return {
        "columns": [metric(key).name for key in keys],
        "rows": [
            {"name": name, "cells": [_cell(key, entries[key]) if key in entries else None for key in keys]}
            for name, entries in blocks.items()
        ],
    }
