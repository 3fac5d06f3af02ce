"""The audit: what is odd about a set of images, before anything is trained on it.

`audit` gives a dictionary that goes to audit.json as it is. Its keys:

    n_cases, n_patients    whole numbers
    labels                 [label, ...]  healthy first
    counts                 {split: {label: {"images", "patients"}}}  as the source declares; '' is no split
    counts_used            {task: {split: {label: {...}}}}  in the splits handed in
    unreadable             [{"case_id", "path", "reason"}]
    exact_duplicates       {"n_groups", "n_images", "n_across_splits", "n_across_labels", "n_across_patients",
                            "groups": [{"case_ids", "across_splits", "across_labels", "across_patients"}]}
    near_duplicates        {"criterion", "candidates", "checked", "n_pairs", "n_across_splits",
                            "n_across_labels", "n_across_patients", "pairs": [{"case_ids", "correlation",
                            "across_splits", "across_labels", "across_patients"}]}
                            one image stands for each exact group
    patients_across_splits {"declared" or task: {"n_patients", "n_images", "examples": [{"patient",
                            "images": {split: n}}]}}
    sizes                  {"width": quantiles, "height": quantiles, "bytes": quantiles, "n_sizes",
                            "commonest": [{"width", "height", "images"}]}
                           quantiles: {"min", "p5", "median", "p95", "max"}, or None without readable images
    modes                  {"rgb, 8 bit": n}
    aspect_by_label        {label: quantiles}  of width / height
    shortcuts_on           {"splits": [...], "n_images", "n_patients"}  never test
    shortcuts              [{"name", "label", "unit", "task", "auroc", "low", "high", "higher_in"}]
                           best first within each task; low and high are None for fewer than 2 patients
    joint                  {task: {"auroc", "low", "high", "positive", "negative", "features", "n",
                            "n_patients", "folds"}}
    not_computed           [sentence]  what the data did not allow
    findings               [sentence]  worst first

AUROCs come with 95 % intervals over patients (`hilum.data.shortcuts`); the duplicates' criterion is in
`hilum.data.duplicates`; what each number measures is in `hilum.data.facts`.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from hilum.data.cases import SPLITS, Cases
from hilum.data.duplicates import CRITERION, near_pairs
from hilum.data.facts import Facts, gather
from hilum.data.shortcuts import joint, questions, single

if TYPE_CHECKING:
    from rich.console import Group

_ACROSS = ("split", "label", "patient")
_LISTED = 500  # so many groups, pairs or patients are written out; the numbers count all
_FEW = 100  # with fewer images a split decides nothing: 95 % intervals of an accuracy are wider than 0.1
_STRONG = 0.7  # an AUROC from which a shortcut is worth a sentence


def audit(
    cases: Cases,
    split_columns: dict[str, pd.Series] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Audits the cases, JSON-ready as the module describes. Unreadable images are listed and left out.

    `split_columns`: by task, the split used (case_id -> train, val, test or unused), so that leaks in it are
    found too. `progress` is called with (done, total) while images are measured.
    """
    used = {
        task: column.reindex(cases.table["case_id"]).fillna("")
        for task, column in (split_columns or {}).items()
    }
    facts = gather(cases, progress)
    readable = facts.table["readable"].to_numpy()
    table = cases.table.copy()
    splits = {
        "declared": table["split"],
        **{task: column.set_axis(table.index) for task, column in used.items()},
    }
    splits = {name: column.where(column.isin(SPLITS), "") for name, column in splits.items()}
    good = _Images(
        table[readable].reset_index(drop=True),
        Facts(facts.table[readable].reset_index(drop=True), facts.thumbnails[readable]),
        {name: column[readable].reset_index(drop=True) for name, column in splits.items()},
    )
    unreadable = table.assign(reason=facts.table["reason"])[~readable]
    found: dict[str, Any] = {
        "n_cases": len(table),
        "n_patients": int(table["patient"].nunique()),
        "labels": list(cases.labels),
        "counts": _counts(table, splits["declared"]),
        "counts_used": {task: _counts(table, splits[task]) for task in used},
        "unreadable": unreadable[["case_id", "path", "reason"]].to_dict("records"),
        "exact_duplicates": _exact(good),
        "near_duplicates": _near(good),
        "patients_across_splits": {name: _patients_across(table, column) for name, column in splits.items()},
        "sizes": _sizes(good.facts.table),
        "modes": _modes(good.facts.table),
        "aspect_by_label": {
            label: _quantiles(good.facts.table["aspect"][good.table["label"] == label])
            for label in cases.labels
        },
        **_shortcuts(good),
    }
    return {**found, "findings": findings(found)}


class _Images:
    """The readable images: their rows of the cases table, their facts and their splits, all in one order."""

    def __init__(self, table: pd.DataFrame, facts: Facts, splits: dict[str, pd.Series]) -> None:
        self.table, self.facts, self.splits = table, facts, splits

    def across(self, rows: Iterable[int]) -> dict[str, bool]:
        """Whether images that are the same picture differ in split (in any of the splits), label, patient."""
        some = list(rows)
        split = any(len(set(column.iloc[some]) - {""}) > 1 for column in self.splits.values())
        label, patient = (len(set(self.table[name].iloc[some])) > 1 for name in ("label", "patient"))
        return {"across_splits": split, "across_labels": label, "across_patients": patient}


def _counts(table: pd.DataFrame, split: pd.Series) -> dict[str, dict[str, dict[str, int]]]:
    counts: dict[str, dict[str, dict[str, int]]] = {}
    for name in (*SPLITS, ""):
        inside = table[split == name]
        if len(inside):
            counts[name] = {
                str(label): {"images": len(rows), "patients": int(rows["patient"].nunique())}
                for label, rows in inside.groupby("label")
            }
    return counts


def _exact(images: _Images) -> dict[str, Any]:
    groups = [
        {"case_ids": images.table["case_id"].iloc[rows].tolist(), **images.across(rows)}
        for rows in images.facts.table.groupby("pixel_digest").indices.values()
        if len(rows) > 1
    ]
    return {
        "n_groups": len(groups),
        "n_images": sum(len(group["case_ids"]) for group in groups),
        **_how_many_across(groups),
        "groups": sorted(groups, key=_worst_first)[:_LISTED],
    }


def _near(images: _Images) -> dict[str, Any]:
    facts = images.facts.table
    rows = facts.drop_duplicates("pixel_digest").index.to_numpy()
    near = near_pairs(facts["phash"].iloc[rows].tolist(), images.facts.thumbnails[rows])
    pairs = [
        {
            "case_ids": images.table["case_id"].iloc[rows[pair]].tolist(),
            "correlation": float(correlation),
            **images.across(rows[pair]),
        }
        for pair, correlation in zip(near.pairs, near.correlation, strict=True)
    ]
    return {
        "criterion": CRITERION,
        "candidates": near.candidates,
        "checked": near.checked,
        "n_pairs": len(pairs),
        **_how_many_across(pairs),
        "pairs": sorted(pairs, key=_worst_first)[:_LISTED],
    }


def _how_many_across(groups: list[dict[str, Any]]) -> dict[str, int]:
    return {f"n_across_{name}s": sum(group[f"across_{name}s"] for group in groups) for name in _ACROSS}


def _worst_first(group: dict[str, Any]) -> tuple[bool, ...]:
    return tuple(not group[f"across_{name}s"] for name in _ACROSS)


def _patients_across(table: pd.DataFrame, split: pd.Series) -> dict[str, Any]:
    inside = table.assign(split=split)[split != ""]
    torn = inside.groupby("patient").filter(lambda rows: len(set(rows["split"])) > 1)
    examples = [
        {"patient": str(patient), "images": rows["split"].value_counts().sort_index().to_dict()}
        for patient, rows in torn.groupby("patient")
    ]
    return {"n_patients": len(examples), "n_images": len(torn), "examples": examples[:_LISTED]}


def _sizes(facts: pd.DataFrame) -> dict[str, Any]:
    commonest = facts.groupby(["width", "height"]).size().sort_values(ascending=False, kind="stable")
    return {
        **{name: _quantiles(facts[name]) for name in ("width", "height", "bytes")},
        "n_sizes": len(commonest),
        "commonest": [
            {"width": int(width), "height": int(height), "images": int(images)}
            for (width, height), images in commonest.head(5).items()  # type: ignore[misc]
        ],
    }


def _modes(facts: pd.DataFrame) -> dict[str, int]:
    words = facts["mode"] + ", " + facts["bits"].astype(int).astype(str) + " bit"
    return {str(mode): int(images) for mode, images in words.value_counts().items()}


def _quantiles(values: pd.Series) -> dict[str, float] | None:
    if values.empty:
        return None
    names = ("min", "p5", "median", "p95", "max")
    return dict(zip(names, np.percentile(values, (0, 5, 50, 95, 100)).tolist(), strict=True))


def _shortcuts(images: _Images) -> dict[str, Any]:
    """On images that are test in no split at all: the test set is there to be measured on, once."""
    kept = np.ones(len(images.table), bool)
    for column in images.splits.values():
        kept &= (column != "test").to_numpy()
    table = images.table[kept].reset_index(drop=True)
    facts = images.facts.table[kept].reset_index(drop=True)
    asked, missing = questions(table["label"])
    rows, together = [], {}
    for question in asked:
        rows += single(question, facts, table["patient"])
        result = joint(question, facts, table["patient"])
        if isinstance(result, str):
            missing.append(result)
        else:
            together[question.task] = result
    return {
        "shortcuts_on": {
            "splits": sorted(set(table["split"]) - {""}, key=SPLITS.index),
            "n_images": len(table),
            "n_patients": int(table["patient"].nunique()),
        },
        "shortcuts": rows,
        "joint": together,
        "not_computed": missing,
    }


def findings(found: dict[str, Any]) -> list[str]:
    """Plain sentences about an audit, worst first; for the terminal and the report."""
    return [
        *_about_unreadable(found),
        *_about_leaks(found),
        *_about_duplicates(found),
        *_about_strong_shortcuts(found),
        *_about_splits(found),
        *_about_sizes(found),
        *_about_harmless_duplicates(found),
        *_about_weak_shortcuts(found),
        *(f"Not computed: {sentence}." for sentence in found["not_computed"]),
    ]


def _about_unreadable(found: dict[str, Any]) -> list[str]:
    bad = found["unreadable"]
    if not bad:
        return []
    names = ", ".join(f"{row['case_id']} ({row['reason']})" for row in bad[:3])
    more = f" and {len(bad) - 3:,} more" if len(bad) > 3 else ""
    return [f"{len(bad):,} of {_many(found['n_cases'], 'file')} can't be read: {names}{more}."]


def _about_leaks(found: dict[str, Any]) -> list[str]:
    sentences = []
    for name, leak in found["patients_across_splits"].items():
        if leak["n_patients"]:
            who = f"{_many(leak['n_patients'], 'patient')} with {_many(leak['n_images'], 'image')}"
            where = "the declared split" if name == "declared" else f"the split used for {name}"
            sentences.append(
                f"{who} in more than one part of {where}: a model can know them again, "
                "so figures from it are too good."
            )
    return sentences


def _about_duplicates(found: dict[str, Any]) -> list[str]:
    exact, near = found["exact_duplicates"], found["near_duplicates"]
    sentences = []
    for block, whole in (
        (exact, f"{_many(exact['n_groups'], 'group')} of identical images"),
        (near, f"{_many(near['n_pairs'], 'pair')} of images that show the same image"),
    ):
        for key, harm in (
            ("n_across_splits", "across splits: the same image is learnt from and asked about"),
            ("n_across_labels", "across labels: one of the labels is wrong"),
            ("n_across_patients", "across patients: the patient names can't be relied on"),
        ):
            if block[key]:
                sentences.append(f"{block[key]:,} of {whole} lie {harm}.")
    return sentences


def _about_strong_shortcuts(found: dict[str, Any]) -> list[str]:
    sentences = []
    for task, together in sorted(found["joint"].items(), key=lambda item: -item[1]["auroc"]):
        alone = [row for row in found["shortcuts"] if row["task"] == task]
        if together["auroc"] >= _STRONG:
            names = ", ".join(_short(row) for row in alone[:3])
            what = f"only {names}" if len(alone) <= 3 else f"only {names} and the like"
            sentences.append(
                f"A classifier that sees {what}, and no lung, tells {together['positive']} from "
                f"{together['negative']} with AUROC {_area(together)}: "
                "a model may have learnt no more than that."
            )
        if alone and alone[0]["auroc"] >= _STRONG:
            best = alone[0]
            sentences.append(
                f"{_short(best).capitalize()} alone reaches AUROC {_area(best)} for {task}; "
                f"it is higher in {best['higher_in']}."
            )
    return sentences


def _about_weak_shortcuts(found: dict[str, Any]) -> list[str]:
    return [
        f"All {len(together['features'])} numbers together, without a look at the lungs, tell "
        f"{together['positive']} from {together['negative']} with AUROC {_area(together)} only."
        for together in found["joint"].values()
        if together["auroc"] < _STRONG
    ]


def _about_splits(found: dict[str, Any]) -> list[str]:
    sentences = []
    for split in ("val", "test"):
        counts = found["counts"].get(split)
        if counts is None:
            continue
        images = sum(label["images"] for label in counts.values())
        lacking = [label for label in found["labels"] if label not in counts]
        if images < _FEW or lacking:
            none = f" and no {' or '.join(lacking)}" if lacking else ""
            sentences.append(
                f"The declared {split} split holds {_many(images, 'image')}{none}: too little to measure by."
            )
    return sentences


def _about_sizes(found: dict[str, Any]) -> list[str]:
    sizes = found["sizes"]
    if sizes["n_sizes"] != 1 or sizes["commonest"][0]["images"] < 2:
        return []
    width, height = sizes["commonest"][0]["width"], sizes["commonest"][0]["height"]
    return [
        f"All images are {width} x {height} pixels: they were probably resized before, and the images' own "
        "aspect ratios can't be known."
    ]


def _about_harmless_duplicates(found: dict[str, Any]) -> list[str]:
    exact, near = found["exact_duplicates"], found["near_duplicates"]
    sentences = []
    if exact["n_groups"]:
        inside = ", ".join(f"one {name}" for name in _ACROSS if not exact[f"n_across_{name}s"])
        whole = (
            f"{_many(exact['n_groups'], 'group')} of identical images ({_many(exact['n_images'], 'image')})"
        )
        sentences.append(
            f"{whole}{', within ' + inside if inside else ''}: these images count more than once."
        )
    if near["n_pairs"]:
        sentences.append(f"{_many(near['n_pairs'], 'pair')} of images show the same image in two versions.")
    if near["checked"] < near["candidates"]:
        sentences.append(
            f"Of {_many(near['candidates'], 'possible near duplicate')} only the closest {near['checked']:,} "
            "were checked."
        )
    return sentences


def _short(row: dict[str, Any]) -> str:
    """The name of a number without its explanation in brackets."""
    return row["label"].split(" (")[0]


def _area(row: dict[str, Any]) -> str:
    if row["low"] is None:
        return f"{row['auroc']:.2f}"
    return f"{row['auroc']:.2f} (95 % interval {row['low']:.2f} to {row['high']:.2f})"


def _many(number: int, noun: str) -> str:
    """
    >>> _many(1, "image"), _many(5232, "image")
    ('1 image', '5,232 images')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def terminal_table(found: dict[str, Any]) -> "Group":
    """The audit for the terminal: counts, shortcuts and findings, as something that rich can print."""
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table

    counts = Table(title="Images (patients)", title_justify="left")
    counts.add_column("split")
    for label in found["labels"]:
        counts.add_column(escape(label), justify="right")
    for split, by_label in found["counts"].items():
        cells = [by_label.get(label, {"images": 0, "patients": 0}) for label in found["labels"]]
        counts.add_row(
            split or "not declared", *(f"{cell['images']:,} ({cell['patients']:,})" for cell in cells)
        )

    on = found["shortcuts_on"]
    shortcuts = Table(
        title=f"Shortcuts: AUROC without a look at the lungs, {on['n_images']:,} images", title_justify="left"
    )
    for name, justify in (
        ("task", "left"),
        ("number", "left"),
        ("AUROC", "right"),
        ("95 %", "right"),
        ("higher in", "left"),
    ):
        shortcuts.add_column(name, justify=justify)  # type: ignore[arg-type]
    for task, together in found["joint"].items():
        shortcuts.add_row(task, "[bold]all together[/bold]", *_cells(together), "")
        for row in found["shortcuts"]:
            if row["task"] == task:
                shortcuts.add_row("", row["label"], *_cells(row), escape(row["higher_in"]))
    lines = [f"{place}. {escape(sentence)}" for place, sentence in enumerate(found["findings"], 1)]
    return Group(counts, shortcuts, *(lines or ["Nothing odd was found."]))


def _cells(row: dict[str, Any]) -> tuple[str, str]:
    interval = "" if row["low"] is None else f"{row['low']:.2f} to {row['high']:.2f}"
    return f"{row['auroc']:.2f}", interval
