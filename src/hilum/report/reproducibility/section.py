"""Reproducibility: the command, the recipe, seeds, digests, versions and model cards."""

from hilum.artifacts.card import ModelCard
from hilum.artifacts.run import RunFacts, SplitFacts
from hilum.report import commands
from hilum.report.section import Section
from hilum.report.titles import title_in
from hilum.report.wording import machine_text
from hilum.run import Run


def make(run: Run) -> Section:
    """All that an engineer needs to do it again, and a reviewer to check it."""
    facts = run.facts()
    cards = {name: run.task(name).card() for name in run.tasks}
    return Section(
        "reproducibility",
        "Reproducibility",
        "reproducibility/template.html",
        {
            "command": commands.whole(run),
            "report_command": commands.report(run),
            "serve_command": commands.serve(run),
            "recipe": run.recipe_file.read_text(encoding="utf-8") if run.recipe_file.exists() else "",
            "facts": _rows(facts, cards),
            "cards": [
                (title_in(run, name), run.task(name).card_file.read_text(encoding="utf-8")) for name in cards
            ],
        },
    )


def _rows(facts: RunFacts, cards: dict[str, ModelCard]) -> list[tuple[str, str]]:
    """Digests, seeds and versions."""
    rows = [
        ("Digest of the data", facts.data.digest),
        *((f"Digest of the weights, {name}", card.weights_digest) for name, card in cards.items()),
        *((f"Split, {name}", _split(split)) for name, split in facts.split.items()),
        *(
            (f"Training seed, {name}", str(card.training.seed))
            for name, card in cards.items()
            if card.training
        ),
        ("Versions", ", ".join(f"{name} {version}" for name, version in facts.versions.items())),
        ("Python", facts.python),
        ("Commit of hilum", facts.commit),
        ("Machine", machine_text(facts.machine)),
    ]
    return [(name, value) for name, value in rows if value]


def _split(split: SplitFacts) -> str:
    fold = f", fold {split.fold} of {split.folds} (counted from 0)" if split.folds else ""
    return f"{split.scheme}, seed {split.seed}{fold}"
