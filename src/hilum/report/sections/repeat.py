"""To repeat this: the command, the recipe, seeds, digests, versions, cards, and what guidelines ask for."""

import json
from typing import Any

from hilum.report import commands
from hilum.report.sections import Section
from hilum.report.sections.head import machine
from hilum.report.sections.task import TITLES
from hilum.run import Run


def repeat(run: Run) -> Section:
    """All that an engineer needs to do it again, and a reviewer to check it."""
    facts = run.facts()
    return Section(
        "repeat",
        "To repeat this",
        "repeat.html",
        {
            "command": commands.whole(run),
            "report_command": commands.report(run),
            "recipe": run.recipe_file.read_text(encoding="utf-8") if run.recipe_file.exists() else "",
            "facts": _facts(run, facts),
            "cards": [
                (name, json.dumps(run.task(name).card(), indent=2, ensure_ascii=False)) for name in run.tasks
            ],
            "checklist": _checklist(run),
        },
    )


def _facts(run: Run, facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Digests, seeds and versions."""
    rows = [
        ("Digest of the data", facts.get("data", {}).get("digest", "")),
        *(
            (f"Digest of the {name} weights", run.task(name).card().get("weights_digest", ""))
            for name in run.tasks
        ),
        *((f"Split of {name}", _split(one)) for name, one in facts.get("split", {}).items()),
        *((f"Seed of {name}", _seed(run, name)) for name in run.tasks),
        ("Versions", ", ".join(f"{name} {value}" for name, value in (facts.get("versions") or {}).items())),
        ("Python", str(facts.get("python") or "")),
        ("Commit of hilum", str(facts.get("commit") or "")),
        ("Machine", machine(facts)),
    ]
    return [(name, value) for name, value in rows if value]


def _split(one: dict[str, Any]) -> str:
    fold = f", fold {one['fold']} of {one['folds']} counted from 0" if one.get("folds") else ""
    return f"{one.get('scheme', '')}, seed {one.get('seed', '')}{fold}"


def _seed(run: Run, name: str) -> str:
    return str(run.task(name).card().get("training", {}).get("seed", ""))


def _checklist(run: Run) -> list[dict[str, str]]:
    """The rows with links to the sections that this page has: results stand with the first trained task."""
    places = {"data": ("data", "The data"), "repeat": ("repeat", "To repeat this")}
    if run.tasks:
        first = run.tasks[0]
        places |= {"task": (first, TITLES[first]), "minute": ("minute", "In one minute")}
    rows = []
    for topic, tripod, claim, place, remark in CHECKLIST:
        anchor, where = places.get(place, ("", ""))
        rows.append(
            {
                "topic": topic,
                "tripod": tripod,
                "claim": claim,
                "anchor": anchor,
                "where": where,
                "remark": remark,
            }
        )
    return rows


CHECKLIST = (
    (
        "Source of data, setting, dates",
        "5, 6",
        "7, 8",
        "data",
        "as far as the source tells; dates and eligibility are not in the files",
    ),
    ("Preparation of the films", "7", "9", "task", "pixel contract in the model card"),
    (
        "Outcome and who set the labels",
        "8",
        "14 to 18",
        "data",
        "labels as the source gives them; how readers agreed is not in the files",
    ),
    ("Size of the sample", "10", "19", "data", "all films that can be read; no calculation beforehand"),
    ("Missing or unreadable films", "11", "13", "data", ""),
    ("Partitions and how disjoint they are", "12a", "20, 21", "data", ""),
    (
        "Model, training, choice of the final model",
        "12c, 21, 22",
        "22 to 26",
        "repeat",
        "recipe and model cards",
    ),
    ("Measures of performance and their uncertainty", "12e, 23a", "28, 29, 35, 36", "task", ""),
    ("Class imbalance", "13", "25", "repeat", "training.balance in the recipe"),
    (
        "Fairness over groups of people",
        "14, 23b",
        "34",
        "",
        "not possible: the files name neither age nor sex",
    ),
    ("Output and threshold", "15", "22, 28", "task", ""),
    ("Analysis of failures", "23a", "37", "task", "surest mistakes as pictures"),
    ("Test on data from elsewhere", "16", "32", "", "not done in this run"),
    ("Limitations", "26", "38", "minute", "leaks, shortcuts, choices made on validation films"),
    ("Code and data", "18e, 18f", "41", "repeat", ""),
    (
        "Ethics, funding, registration, patient involvement",
        "17, 18a to 18d, 19",
        "40, 42",
        "",
        "for the authors to add",
    ),
)
"""Topic, items of TRIPOD+AI (2024), items of CLAIM (2020), the section that speaks of it, remark."""
