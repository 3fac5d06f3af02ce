"""Embedding space: similar images, votes of neighbours next to the head, the map, labels to review."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from hilum.report import commands
from hilum.report.absent import absent
from hilum.report.embedding import classifiers, images, projections
from hilum.report.embedding.explorer import MOST, as_script, on_the_map, script_data
from hilum.report.embedding.plots import stills
from hilum.report.embedding.sprites import sprites
from hilum.report.embedding.task import TaskEmbedding, task_embedding
from hilum.report.section import Section
from hilum.report.wording import count, plural, split_name
from hilum.run import Run

ANCHOR, TITLE = "embedding", "Embedding space"


def make(run: Run) -> Section | None:
    """The section of the task with the most classes that has embeddings, with the tables of the others; why
    there is none where none has; None where nothing is trained.

    >>> from hilum.artifacts.run import RunFacts
    >>> import tempfile
    >>> from hilum.files import write_json
    >>> with tempfile.TemporaryDirectory() as place:
    ...     run = Run.create(place, RunFacts(), {"tasks": {}})
    ...     write_json(run.task("binary").card_file, {})
    ...     make(run).values["sentence"]
    'This stage has not run yet.'
    """
    if not run.tasks:
        return None
    embeddings = [
        embedding for name in reversed(run.tasks) if (embedding := task_embedding(run, name)) is not None
    ]
    if not embeddings:
        return absent(run, stage="embed", anchor=ANCHOR, title=TITLE)
    return Section(ANCHOR, TITLE, "embedding/template.html", _values(run, embeddings[0], embeddings[1:]))


def _values(run: Run, embedding: TaskEmbedding, others: Sequence[TaskEmbedding]) -> dict[str, Any]:
    paths = run.cases().table.set_index("case_id")["path"]
    return {
        "lead": classifiers.lead(embedding),
        "task": classifiers.title_of(embedding.figures),
        "tables": [classifiers.table(each) for each in (embedding, *others)],
        "confusions": classifiers.confusions(embedding),
        "baseline_warning": classifiers.baseline_warning(embedding),
        "space": classifiers.space_words(embedding),
        "candidates": classifiers.candidates(embedding),
        **_map_values(run, embedding),
        "faithfulness": projections.faithfulness_table(embedding),
        "faithfulness_line": projections.faithfulness_sentences(embedding),
        "left_out": projections.left_out(embedding),
        "examples": images.examples(embedding, paths),
        "retrieval": images.retrieval(embedding),
        "density": images.density(embedding),
        "suspects": images.suspects(embedding, paths),
        "duplicates": images.duplicates(embedding, paths),
        "commands": [commands.stage(run, "embed"), commands.report(run)],
    }


def _map_values(run: Run, embedding: TaskEmbedding) -> dict[str, Any]:
    """What the interactive and the still map need; no more than empty where there is no map."""
    maps = {name: embedding.figures.projections[name].title for name in projections.map_names(embedding)}
    if not maps:
        return {"maps": []}
    shown, cases = on_the_map(embedding.images), run.cases()
    pictures = sprites(cases.where(cases.table["case_id"].isin(shown["case_id"])))
    title = f"The {embedding.k} most similar training images of other patients, with their distance"
    data = script_data(
        _with_anomaly_scores(run, shown),
        maps,
        embedding.neighbors,
        embedding.figures.classes,
        pictures,
        title,
    )
    return {
        "maps": list(maps.values()),
        "colourings": _colourings(data),
        "splits": [(split, split_name(split)) for split in data["splits"]],
        "data": as_script(data),
        "stills": stills(shown, *next(iter(maps.items())), embedding.figures.classes),
        "legend": [{"name": each["name"], "colour": each["colour"]} for each in data["classes"]],
        "on_map": _on_map(shown, embedding.images),
    }


def _with_anomaly_scores(run: Run, table: pd.DataFrame) -> pd.DataFrame:
    """With the column anomaly_score where the anomaly stage has run: 1 minus the conformal p-value by its best
    detector, 0 to 1. Ranks among normal images, not raw scores, whose few extremes would take all the colours."""
    if not run.anomaly.figures_file.exists():
        return table
    best = run.anomaly.figures().best
    scores = run.anomaly.scores().set_index("case_id")
    return table.assign(anomaly_score=table["case_id"].map(1 - scores[f"{best}_p"]))


def _on_map(shown: pd.DataFrame, table: pd.DataFrame) -> str:
    images_shown = plural(len(shown), "image")
    if len(shown) == len(table):
        return f"All {images_shown} of the run are on the map."
    return (
        f"{images_shown} of {count(len(table))} are on the map (at most {count(MOST)}): all held-out images first,"
        " then a random sample of training images. Neighbours that are not on the map are not listed."
    )


def _colourings(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the images can be coloured by."""
    return [
        ("label", "label"),
        ("predicted", "predicted class"),
        ("error", "correct or wrong"),
        ("split", "split"),
        ("patient", "patient with several images"),
        *((key, score["name"]) for key, score in data["scores"].items()),
    ]
