"""The space of cases: the map, the neighbours, and what a vote of neighbours is worth beside the head."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from hilum.errors import RunError
from hilum.evaluation.seed_report import CLASSES as SEED_CLASSES
from hilum.evaluation.seed_report import KNN_TEST, RESNET34_TEST, block_of
from hilum.report import commands
from hilum.report.detectors import strangeness
from hilum.report.explorer import MOST, as_script, drawn, plotly_packed, script_data, still_map
from hilum.report.figures import look
from hilum.report.pictures import film
from hilum.report.results import Results, found, results
from hilum.report.sections import Section
from hilum.report.sections.task import TITLES
from hilum.report.sprites import sprites
from hilum.report.wording import (
    NOTHING,
    SPACE,
    count,
    figure,
    interval,
    listing,
    number,
    of,
    percent,
    plural,
    sentence,
    split_name,
)
from hilum.run import Run

SUSPECTS, PAIRS = 12, 4
"""Pictures of label suspects, and of pairs that look like duplicates."""

MAP_TITLES = {"tsne": "t-SNE", "umap": "UMAP", "pca": "PCA", "lda": "LDA"}
TRANSFORMS = {
    "none": "vectors as they are",
    "standardize": "each dimension scaled to standard deviation 1",
    "pca": "whitened by PCA",
    "lda": "turned by LDA so that the classes lie apart",
}
BASELINES = {
    "raw_pixels": "raw pixels",
    "hog": "HOG (edges and their directions)",
    "random_network": "an untrained network",
}
WEIGHTS = {"uniform": "each neighbour has one vote", "distance": "nearer neighbours count more"}


@dataclass(frozen=True)
class Embedded:
    """One task's results with what the embedding stage left behind."""

    one: Results
    facts: dict[str, Any]
    neighbors: pd.DataFrame
    projection: pd.DataFrame
    suspects: pd.DataFrame
    duplicates: pd.DataFrame

    @property
    def parts(self) -> list[str]:
        """The held-out splits that were measured, the one to quote first."""
        rows = self.facts["table"]
        return [part for part in ("test", "val") if any(part in row for row in rows)]

    @property
    def k(self) -> int:
        """How many neighbours vote."""
        return int(self.facts["space"]["k"])

    @property
    def seed_is_comparable(self) -> bool:
        """The seed report names three classes of real films."""
        drawn_films = self.one.card.get("data", {}).get("source") == "phantom"
        return self.one.task == "etiology" and self.one.classes == SEED_CLASSES and not drawn_films


def space(run: Run) -> Section | None:
    """The section of the richest task that has embeddings; how to make it where none has; None where nothing
    is trained."""
    if not run.tasks:
        return None
    tasks = [name for name in reversed(run.tasks) if run.task(name).embeddings.figures_file.exists()]
    found_here = [one for name in tasks if (one := _embedded(run, name)) is not None]
    if not found_here:
        return Section("space", "The space of cases", "missing.html", _missing(run))
    first = found_here[0]
    return Section("space", "The space of cases", "space.html", _values(run, first, found_here[1:]))


def _missing(run: Run) -> dict[str, str]:
    return {
        "sentence": "The models’ vectors are not drawn yet.",
        "command": commands.embed(run),
    }


def _embedded(run: Run, task: str) -> Embedded | None:
    """RunError when the vectors were made with other weights than the model has."""
    one = results(run, task)
    if one is None:
        return None
    folder = run.task(task).embeddings
    facts = folder.figures()
    if facts["weights_digest"] != one.card["weights_digest"]:
        raise RunError(
            f"{folder.figures_file} was made with other weights than the model has",
            f"run: hilum embed {run.path}",
        )
    return Embedded(
        one,
        facts,
        folder.neighbors(),
        folder.projection(),
        folder.suspects() if folder.suspects_file.exists() else pd.DataFrame(),
        folder.duplicates() if folder.duplicates_file.exists() else pd.DataFrame(),
    )


def _values(run: Run, that: Embedded, others: list[Embedded]) -> dict[str, Any]:
    cases = run.cases()
    paths = cases.table.set_index("case_id")["path"]
    films = _films(run, that)
    shown = drawn(films)
    maps = {name: MAP_TITLES.get(name, name) for name in _map_names(that, films)}
    pictures = sprites(cases.where(cases.table["case_id"].isin(shown["case_id"])))
    words = f"The {that.k} most alike of other patients’ training films, with their distance"
    data = script_data(shown, maps, that.neighbors, that.one.classes, pictures, words)
    return {
        "lead": _lead(that),
        "question": TITLES[that.one.task],
        "tables": [_table(one) for one in (that, *others)],
        "confusions": _confusions(that),
        "sobering": _sobering(that),
        "space": _space_words(that),
        "selection": _selection(that),
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
        "on_map": _on_map(shown, films),
        "honesty": _honesty(that),
        "honest_line": _honest_line(that),
        "examples": _examples(that, films, paths),
        "retrieval": _retrieval(that),
        "density": _density(that),
        "suspects": _suspects(that, paths),
        "duplicates": _duplicates(that, paths),
        "commands": [commands.embed(run), commands.report(run)],
    }


def _films(run: Run, that: Embedded) -> pd.DataFrame:
    """A row per film on the map with its place, label and what the head called it."""
    predictions = that.one.predictions.drop(columns=["split"])
    unknown = that.projection.loc[~that.projection["case_id"].isin(predictions["case_id"]), "case_id"]
    if len(unknown):
        raise RunError(
            f"{count(len(unknown))} cases on the map have no prediction, the first is {unknown.iloc[0]!r}",
            f"run: hilum evaluate {run.path}, then: hilum embed {run.path}",
        )
    films = that.projection.merge(predictions, on="case_id", validate="one_to_one")
    strange = strangeness(run)
    return films if strange is None else films.assign(strangeness=films["case_id"].map(strange))


def _map_names(that: Embedded, films: pd.DataFrame) -> list[str]:
    """The maps that were drawn, in the order of the stage, t-SNE first."""
    names = [name for name in that.facts.get("maps", {}) if f"{name}_x" in films]
    return sorted(names, key=lambda name: name != "tsne")


def _halves(films: pd.DataFrame) -> list[tuple[str, pd.Series]]:
    """What was learned from, and what was placed afterwards."""
    train = films["split"] == "train"
    held_out = listing([split_name(part) for part in ("val", "test") if (films["split"] == part).any()])
    halves = [("training films", train), (f"{held_out} films", ~train)]
    return [(f"{count(rows.sum())} {said}", rows) for said, rows in halves if rows.any()]


def _on_map(shown: pd.DataFrame, films: pd.DataFrame) -> str:
    said = plural(len(shown), "film")
    if len(shown) == len(films):
        return f"All {said} of the run are on the map."
    return (
        f"{said} of {count(len(films))} are on the map (at most {count(MOST)}): all held-out films first,"
        " then training films drawn at random. Neighbours that are not on the map are not listed."
    )


def _ways(data: dict[str, Any]) -> list[tuple[str, str]]:
    """How the films can be coloured."""
    scores = [(key, one["name"]) for key, one in data["scores"].items()]
    return [
        ("label", "label"),
        ("called", "what the model calls it"),
        ("error", "right or wrong"),
        ("split", "split"),
        ("patient", "patient with several films"),
        *scores,
    ]


# -- the table ---------------------------------------------------------------------------------------------


def _sobering(that: Embedded) -> str:
    """Said where something that was never trained names films as well as the network's vectors do."""
    part, mine = that.parts[0], _row(that, "knn")
    rivals = [row for row in that.facts["table"] if row["name"] in BASELINES and part in row]
    if mine is None or part not in mine or not rivals:
        return ""
    best = max(rivals, key=lambda row: row[part]["accuracy"]["value"])
    theirs = best[part]["accuracy"]
    if theirs["value"] < mine[part]["accuracy"]["value"]:
        return ""
    return (
        f"Without any training, neighbours by {BASELINES[best['name']]} name {figure('accuracy', theirs)}"
        f" ({of(theirs)}), no fewer than neighbours by the network’s vectors: on these films training has not"
        " brought neighbours any closer."
    )


def _row(that: Embedded, name: str) -> dict[str, Any] | None:
    return next((row for row in that.facts["table"] if row["name"] == name), None)


def _lead(that: Embedded) -> str:
    """How the vote of neighbours does beside the head, and what the seed report's did."""
    part = that.parts[0]
    knn, head = _row(that, "knn"), _row(that, "head")
    if knn is None or part not in knn:
        return "The films lie on a map by how alike the model finds them."
    mine = knn[part]["accuracy"]
    said = (
        f"By vote, the {that.k} most alike training films name {found('accuracy', mine)} of the"
        f" {count(knn[part]['n_cases'])} {split_name(part)} films correctly"
    )
    if head is not None and part in head:
        theirs = head[part]["accuracy"]
        said += f": {_gap(mine, theirs)} the network’s own head ({figure('accuracy', theirs)}, {of(theirs)})"
    if not that.seed_is_comparable:
        return f"{said}."
    vote, network = (block_of(one)["accuracy"] for one in (KNN_TEST, RESNET34_TEST))
    return (
        f"{said}. In the seed report the vote named {percent(vote['value'], 2)} ({of(vote)}) of the official"
        f" test films, {_gap(vote, network)} its network’s own head."
    )


def _gap(mine: dict[str, Any], theirs: dict[str, Any]) -> str:
    """How far a vote lies from the head, in percentage points."""
    points = 100 * (mine["value"] - theirs["value"])
    if abs(points) < 0.05:
        return "as many as"
    return f"{abs(points):.1f}{SPACE}points {'more' if points > 0 else 'fewer'} than"


def _title(words: str) -> str:
    """A capital first letter, but not for kNN.

    >>> _title("linear probe"), _title("kNN on pixels")
    ('Linear probe', 'kNN on pixels')
    """
    return words if words[1:2].isupper() else words[:1].upper() + words[1:]


def _distance(value: float) -> str:
    """Three digits, so that distances of a row can be compared.

    >>> _distance(3.4), _distance(0.00123456), _distance(512.0)
    ('3.40', '0.00123', '512')
    """
    return f"{value:#.3g}".rstrip(".")


def _table(that: Embedded) -> dict[str, Any]:
    """A row per way to name a film; accuracy on each held-out split, the rest on the first."""
    parts = that.parts
    blocks = {part: next(row[part] for row in that.facts["table"] if part in row) for part in parts}
    seed = _seed_column(that)
    rows = [
        {
            "title": _title(row["title"]),
            "note": row.get("note", ""),
            "strong": row["name"] in ("knn", "head"),
            "accuracy": [_cell("accuracy", row.get(part)) for part in parts],
            "more": [_cell(key, row.get(parts[0])) for key in ("balanced_accuracy", "auroc")],
            "seed": seed.get(row["name"], NOTHING),
        }
        for row in that.facts["table"]
    ]
    return {
        "title": TITLES[that.one.task],
        "parts": [
            {"name": split_name(part), "films": plural(blocks[part]["n_cases"], "film")} for part in parts
        ],
        "first": split_name(parts[0]),
        "rows": rows,
        "seed": bool(seed),
        "chosen_on_val": "val" in parts and bool(that.one.chosen_on_val),
        "replicates": count(blocks[parts[0]].get("replicates")),
    }


def _cell(key: str, block: dict[str, Any] | None) -> dict[str, str]:
    entry = (block or {}).get(key)
    if not entry or entry.get("value") is None:
        return {"value": NOTHING, "of": "", "interval": ""}
    known = interval(key, entry) if entry.get("low") is not None else ""
    return {"value": figure(key, entry), "of": of(entry), "interval": known}


def _seed_column(that: Embedded) -> dict[str, str]:
    """The seed report's figures on the official test films, for the rows that it has."""
    if not that.seed_is_comparable:
        return {}
    printed = {"head": RESNET34_TEST, "knn_seed": KNN_TEST}
    entries = {name: block_of(table)["accuracy"] for name, table in printed.items()}
    return {name: f"{percent(entry['value'], 2)} ({of(entry)})" for name, entry in entries.items()}


def _confusions(that: Embedded) -> list[dict[str, Any]]:
    """The confusion matrix of every row on the first held-out split, and the seed report's two."""
    part = that.parts[0]
    tables = [
        (_title(row["title"]), row[part]["classes"], row[part]["confusion"])
        for row in that.facts["table"]
        if part in row
    ]
    if that.seed_is_comparable:
        tables += [
            ("Seed report: ResNet34, official test films", SEED_CLASSES, RESNET34_TEST),
            ("Seed report: kNN, k = 7, official test films", SEED_CLASSES, KNN_TEST),
        ]
    return [_confusion(title, classes, table) for title, classes, table in tables]


def _confusion(title: str, classes: Any, table: Any) -> dict[str, Any]:
    rows = []
    for label, counts in zip(classes, table, strict=True):
        shares = [n / max(sum(counts), 1) for n in counts]
        cells = [
            {
                "count": count(n),
                "share": percent(share, 0),
                "shade": round(share, 3),
                "right": label == called,
            }
            for n, share, called in zip(counts, shares, classes, strict=True)
        ]
        rows.append({"label": label, "cells": cells})
    right = sum(table[place][place] for place in range(len(classes)))
    total = sum(map(sum, table))
    return {"title": title, "classes": classes, "rows": rows, "right": f"{right}/{total}"}


def _space_words(that: Embedded) -> str:
    """In which space films are compared, as a sentence."""
    chosen = that.facts["space"]
    how = (
        "chosen by cross-validation over the patients of the training films"
        if chosen.get("selected_by") == "cross-validation"
        else "as the recipe says"
    )
    return (
        f"Films are compared by {chosen['distance']} distance between the network’s vectors"
        f" (layer “{chosen['layer']}”, {count(that.facts.get('dimensions'))} numbers per film;"
        f" {TRANSFORMS.get(chosen['transform'], chosen['transform'])}); {that.k} neighbours,"
        f" {WEIGHTS.get(chosen['weights'], chosen['weights'])}; {how}. A film’s neighbours are training films"
        " of other patients."
    )


def _selection(that: Embedded) -> list[list[str]]:
    """The ways that cross-validation compared, best first."""
    return [
        [
            TRANSFORMS.get(one["transform"], str(one["transform"])),
            str(one["distance"]),
            str(one["weights"]),
            str(one["k"]),
            number(one.get("log_loss")),
            percent(one.get("accuracy")),
            percent(one.get("balanced_accuracy")),
        ]
        for one in that.facts.get("selection", [])[:12]
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
        f" {number(one.get('trustworthiness'))} (1: films that are close on the map"
        " are close in the space)"
    )
    if flat is not None and full is not None:
        said += (
            f", and neighbours on the map name {percent(flat)} of the {split_name(part)} films correctly"
            f" where neighbours in the full space name {percent(full)}"
        )
    if one.get("stability") is not None:
        kept = percent(one["stability"], 0)
        said += f"; drawn again with other seeds it keeps {kept} of each film’s ten nearest"
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


# -- neighbours, suspects, pairs ---------------------------------------------------------------------------


def _examples(that: Embedded, films: pd.DataFrame, paths: pd.Series) -> list[dict[str, Any]]:
    """For each class, of the first held-out split, the film that the head names rightly and most surely, and
    the one that it names wrongly and most surely; each with its neighbours."""
    part = that.parts[0]
    held = films[films["split"] == part].copy()
    held["sure"] = [row[f"prob_{row['predicted']}"] for row in _records(held)]
    held = held.sort_values(["sure", "case_id"], ascending=[False, True], kind="stable")
    by_case = that.neighbors.sort_values("rank", kind="stable").groupby("case_id")
    labels = films.set_index("case_id")["label"]
    rows = []
    for target in that.one.classes:
        of_class = held[held["target"] == target]
        right = of_class["target"] == of_class["predicted"]
        for row in _records(pd.concat([of_class[right].head(1), of_class[~right].head(1)])):
            if row["case_id"] not in by_case.groups:
                continue
            near = _records(by_case.get_group(row["case_id"]))
            rows.append(_example(that, row, near, labels, paths))
    return rows


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as dictionaries from column to value."""
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _example(
    that: Embedded, row: dict[str, Any], near: list[dict[str, Any]], labels: pd.Series, paths: pd.Series
) -> dict[str, Any]:
    alike = [
        {
            "picture": film(paths[one["neighbor"]], longest=160),
            "case": one["neighbor"],
            "label": labels[one["neighbor"]],
            "colour": look(labels[one["neighbor"]], [*that.one.classes, labels[one["neighbor"]]]).colour,
            "distance": _distance(one["distance"]),
        }
        for one in near[: that.k]
    ]
    same = sum(int(one["same_class"]) for one in near[: that.k])
    right = row["target"] == row["predicted"]
    return {
        "picture": film(paths[row["case_id"]], longest=160),
        "case": row["case_id"],
        "label": row["label"],
        "called": row["predicted"],
        "right": right,
        "sure": percent(row["sure"], 0),
        "colour": look(row["label"], [*that.one.classes, row["label"]]).colour,
        "near": alike,
        "said": f"{same} of {len(alike)} neighbours are {row['target']}",
    }


def _retrieval(that: Embedded) -> dict[str, Any] | None:
    """How many of the films that come back have the query's label."""
    blocks = {part: that.facts.get("retrieval", {}).get(part) for part in that.parts}
    blocks = {part: block for part, block in blocks.items() if block}
    if not blocks:
        return None
    ks = list(next(iter(blocks.values()))["precision_at_k"])
    return {
        "ks": ks,
        "rows": [
            {
                "name": split_name(part),
                "cells": [
                    *(percent(block["precision_at_k"].get(k)) for k in ks),
                    number(block.get("mean_average_precision")),
                    number(block.get("chance")),
                    count(block.get("queries")),
                ],
            }
            for part, block in blocks.items()
        ],
    }


def _density(that: Embedded) -> list[list[str]]:
    """How close the films of a class lie, and how much of their neighbourhood is their own."""
    return [
        [name, _distance(one["mean_knn_distance"]), percent(one["own_class_share"]), count(one["n"])]
        for name, one in that.facts.get("density", {}).items()
        if one.get("mean_knn_distance") is not None
    ]


def _suspects(that: Embedded, paths: pd.Series) -> dict[str, Any] | None:
    """Training films whose label may be wrong, most suspicious first, each with its reasons."""
    facts = that.facts.get("suspects")
    if facts is None:
        return None
    films = [
        {
            "picture": film(paths[row["case_id"]]),
            "case": row["case_id"],
            "label": row["target"],
            "suggested": row["suggested"],
            "reasons": _reasons(that, row),
        }
        for row in _records(that.suspects.head(SUSPECTS))
    ]
    return {
        "films": films,
        "total": plural(facts["n"], "training film"),
        "counts": (
            f"{count(facts.get('confident_learning'))} by confident learning, {count(facts.get('knn'))} by"
            f" their neighbours, {count(facts.get('both'))} by both"
        ),
        "more": max(0, len(that.suspects) - SUSPECTS),
        "note": sentence(facts.get("note", "")),
    }


def _reasons(that: Embedded, row: dict[str, Any]) -> list[str]:
    """Why a label is doubted, in words."""
    reasons = []
    if int(row["confident_learning"]):
        reasons.append(
            f"a model that never saw this patient gives {row['target']} {percent(row['self_confidence'], 0)}"
        )
    if int(row["knn_disagrees"]):
        share = row["neighbor_share"]
        reasons.append(f"{percent(share, 0)} of its neighbours are {row['target']}")
    return reasons or [f"probability of {row['target']}: {percent(row['self_confidence'], 0)}"]


def _duplicates(that: Embedded, paths: pd.Series) -> dict[str, Any] | None:
    """Pairs that are nearly one film to the model, those that the pixel audit missed first."""
    facts = that.facts.get("duplicates")
    if facts is None:
        return None
    new = that.duplicates
    if len(new):
        new = new[(new["in_audit"] == 0) & (new["confirmed"] == 1)]
    pairs = [
        {
            "films": [
                {"picture": film(paths[row[side]], 200), "case": row[side]} for side in ("case_a", "case_b")
            ],
            "distance": _distance(row["distance"]),
            "said": "; ".join(
                (
                    "one patient" if int(row["same_patient"]) else "two patients",
                    "one label" if int(row["same_class"]) else "two labels",
                    listing(sorted({split_name(part) for part in str(row["splits"]).split("+")})),
                )
            ),
        }
        for row in _records(new.head(PAIRS))
    ]
    agreed, near = count(facts.get("confirmed")), plural(facts["pairs"], "pair")
    said = f"Of the {near} that lie closest together, {agreed} look like one film twice"
    if len(new):
        said += (
            f", and {count(len(new))} of them were not found by the audit of pixels. The closest of these:"
        )
    else:
        said += "; the audit of pixels had found them all." if facts.get("confirmed") else "."
    return {"pairs": pairs, "said": said, "note": sentence(facts.get("note", ""))}
