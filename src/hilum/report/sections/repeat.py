"""To repeat this: the command, the recipe, seeds, digests, versions and cards."""

import json
from typing import Any

from hilum.report import commands
from hilum.report.sections import Section
from hilum.report.sections.head import machine
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
