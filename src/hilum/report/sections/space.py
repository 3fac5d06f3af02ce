"""The space of cases: the map, the neighbours, and what a vote of neighbours is worth beside the head."""

from typing import Any

import pandas as pd

from hilum.errors import RunError
from hilum.report import commands
from hilum.report.anomaly.figures import anomaly_scores
from hilum.report.embedded import Embedded, embedded
from hilum.report.explorer import MOST, as_script, drawn, plotly_packed, script_data, still_map
from hilum.report.sections import Section
from hilum.report.sections.space_cases import density, duplicates, examples, retrieval, suspects
from hilum.report.sections.space_table import confusions, lead, selection, sobering, space_words, table
from hilum.report.sections.task import TITLES
from hilum.report.sprites import sprites
from hilum.report.wording import (
    count,
    listing,
    number,
    percent,
    plural,
    split_name,
)
from hilum.run import Run

MAP_TITLES = {"tsne": "t-SNE", "umap": "UMAP", "pca": "PCA", "lda": "LDA"}


def space(run: Run) -> Section | None:
    """The section of the richest task that has embeddings; how to make it where none has; None where nothing
    is trained."""
    if not run.tasks:
        return None
    tasks = [name for name in reversed(run.tasks) if run.task(name).embeddings.figures_file.exists()]
    found_here = [one for name in tasks if (one := embedded(run, name)) is not None]
    if not found_here:
        return Section("space", "The space of cases", "missing.html", _missing(run))
    first = found_here[0]
    return Section("space", "The space of cases", "space.html", _values(run, first, found_here[1:]))


def _missing(run: Run) -> dict[str, str]:
    return {
        "sentence": "The models’ vectors are not drawn yet.",
        "command": commands.embed(run),
    }


def _values(run: Run, that: Embedded, others: list[Embedded]) -> dict[str, Any]:
    cases = run.cases()
    paths = cases.table.set_index("case_id")["path"]
    images = _images(run, that)
    shown = drawn(images)
    maps = {name: MAP_TITLES.get(name, name) for name in _map_names(that, images)}
    pictures = sprites(cases.where(cases.table["case_id"].isin(shown["case_id"])))
    words = f"The {that.k} most alike of other patients’ training images, with their distance"
    data = script_data(shown, maps, that.neighbors, that.one.classes, pictures, words)
    return {
        "lead": lead(that),
        "question": TITLES[that.one.task],
        "tables": [table(one) for one in (that, *others)],
        "confusions": confusions(that),
        "sobering": sobering(that),
        "space": space_words(that),
        "selection": selection(that),
        "maps": list(maps.values()),
        "ways_to_colour": _ways(data),
        "splits": [(part, split_name(part)) for part in data["splits"]],
        "data": as_script(data),
        "plotly": plotly_packed() if maps else "",
        "stills": [
            still_map(shown[rows], name, that.one.classes, f"{title}: {said}", f"{title} map, {said}")
            for name, title in list(maps.items())[:1]
            for said, rows in _halves(shown)
        ],
        "legend": [{"name": one["name"], "colour": one["colour"]} for one in data["classes"]],
        "on_map": _on_map(shown, images),
        "honesty": _honesty(that),
        "honest_line": _honest_line(that),
        "examples": examples(that, images, paths),
        "retrieval": retrieval(that),
        "density": density(that),
        "suspects": suspects(that, paths),
        "duplicates": duplicates(that, paths),
        "commands": [commands.embed(run), commands.report(run)],
    }


def _images(run: Run, that: Embedded) -> pd.DataFrame:
    """A row per image on the map with its place, label and what the head called it."""
    predictions = that.one.predictions.drop(columns=["split"])
    unknown = that.projection.loc[~that.projection["case_id"].isin(predictions["case_id"]), "case_id"]
    if len(unknown):
        raise RunError(
            f"{count(len(unknown))} cases on the map have no prediction, the first is {unknown.iloc[0]!r}",
            f"run: hilum evaluate {run.path}, then: hilum embed {run.path}",
        )
    images = that.projection.merge(predictions, on="case_id", validate="one_to_one")
    scores = anomaly_scores(run)
    return images if scores is None else images.assign(strangeness=images["case_id"].map(scores))


def _map_names(that: Embedded, images: pd.DataFrame) -> list[str]:
    """The maps that were drawn, in the order of the stage, t-SNE first."""
    names = [name for name in that.facts.get("maps", {}) if f"{name}_x" in images]
    return sorted(names, key=lambda name: name != "tsne")


def _halves(images: pd.DataFrame) -> list[tuple[str, pd.Series]]:
    """What was learned from, and what was placed afterwards."""
    train = images["split"] == "train"
    held_out = listing([split_name(part) for part in ("val", "test") if (images["split"] == part).any()])
    halves = [("training images", train), (f"{held_out} images", ~train)]
    return [(f"{count(rows.sum())} {said}", rows) for said, rows in halves if rows.any()]


def _on_map(shown: pd.DataFrame, images: pd.DataFrame) -> str:
    said = plural(len(shown), "image")
    if len(shown) == len(images):
        return f"All {said} of the run are on the map."
    return (
        f"{said} of {count(len(images))} are on the map (at most {count(MOST)}): all held-out images first,"
        " then training images drawn at random. Neighbours that are not on the map are not listed."
    )


def _ways(data: dict[str, Any]) -> list[tuple[str, str]]:
    """How the images can be coloured."""
    scores = [(key, one["name"]) for key, one in data["scores"].items()]
    return [
        ("label", "label"),
        ("called", "what the model calls it"),
        ("error", "right or wrong"),
        ("split", "split"),
        ("patient", "patient with several images"),
        *scores,
    ]


# -- the map -----------------------------------------------------------------------------------------------


def _honest_line(that: Embedded) -> str:
    """May one believe the map? Of the first map, on the first held-out split."""
    maps = that.facts.get("maps", {})
    if not maps:
        return ""
    name = "tsne" if "tsne" in maps else next(iter(maps))
    one, part = maps[name], that.parts[0]
    flat, full = one.get("knn_map", {}).get(part), one.get("knn_space", {}).get(part)
    said = (
        f"A flat map can’t show every distance. On this one ({MAP_TITLES.get(name, name)}) trustworthiness is"
        f" {number(one.get('trustworthiness'))} (1: images that are close on the map"
        " are close in the space)"
    )
    if flat is not None and full is not None:
        said += (
            f", and neighbours on the map name {percent(flat)} of the {split_name(part)} images correctly"
            f" where neighbours in the full space name {percent(full)}"
        )
    if one.get("stability") is not None:
        kept = percent(one["stability"], 0)
        said += f"; drawn again with other seeds it keeps {kept} of each image’s ten nearest"
    return f"{said}. Gaps and sizes of clumps mean little; who lies beside whom means more."


def _honesty(that: Embedded) -> dict[str, Any] | None:
    """The figures of every map."""
    maps, parts = that.facts.get("maps", {}), that.parts
    if not maps:
        return None
    rows = []
    for name, one in maps.items():
        flat, full = one.get("knn_map") or {}, one.get("knn_space") or {}
        pairs = [f"{percent(flat.get(part))} / {percent(full.get(part))}" for part in parts]
        settings = ", ".join(f"{key} {value}" for key, value in (one.get("settings") or {}).items())
        rows.append(
            {
                "title": MAP_TITLES.get(name, name),
                "note": "; ".join(part for part in (settings, one.get("note", "")) if part),
                "cells": [
                    number(one.get("trustworthiness")),
                    *pairs,
                    percent(one.get("stability"), 0),
                    count(one.get("n")),
                ],
            }
        )
    return {"parts": [split_name(part) for part in parts], "rows": rows}
