"""Overview: what this is, when and where it was made, and what it must not be used for."""

import pandas as pd

from hilum.artifacts.run import DataFacts, RunFacts
from hilum.report.section import Section
from hilum.report.wording import count, duration, machine_text, moment, plural, seconds_between
from hilum.run import Run

_CHILDREN = (
    "The images show children aged 1 to 5 from one hospital; the figures say nothing about other people."
)
PEOPLE = {
    "kaggle": _CHILDREN,
    "medmnist": _CHILDREN,
    "phantom": "The images are synthetic and show no patients; the figures say nothing about people.",
}
"""Whom the images of a source show."""

UNKNOWN_PEOPLE = "The data does not record whom the images show; the figures hold for such images only."


def make(run: Run) -> Section:
    """Name, data, date, commit, machine, time taken, purpose."""
    facts = run.facts()
    people = PEOPLE.get(facts.data.source) or _people(run)
    return Section(
        "overview",
        "Overview",
        "overview/template.html",
        {
            "name": run.name,
            "purpose": f"Research use only; not a medical device. {people}",
            "finished": facts.finished is not None,
            "not_done": _not_done(facts),
            "facts": _rows(facts),
        },
    )


def _people(run: Run) -> str:
    """Age and sex of the people that the images show, where the data says them."""
    table = run.cases().table if run.cases_file.exists() else pd.DataFrame()
    parts = []
    if "age" in table:
        years = pd.to_numeric(table["age"], errors="coerce").dropna()
        known = f"known for {count(len(years))} of {plural(len(table), 'image')}"
        parts += [f"aged {years.min():g} to {years.max():g} years ({known})"] if len(years) else []
    if "sex" in table:
        counted = {word: int((table["sex"] == sex).sum()) for sex, word in (("F", "female"), ("M", "male"))}
        parts += [f"{word} in {plural(n, 'image')}" for word, n in counted.items() if n]
    if not parts:
        return UNKNOWN_PEOPLE
    return f"The images show people {', '.join(parts)}; the figures hold for such images only."


def _rows(facts: RunFacts) -> list[tuple[str, str]]:
    """The rows of the table; what the run does not say is left out."""
    rows = [
        ("Data", _data(facts.data)),
        ("Recipe", facts.preset),
        ("Started", moment(facts.started) if facts.started else ""),
        ("Time taken", _time(facts)),
        ("Machine", machine_text(facts.machine)),
        ("Software", _software(facts)),
    ]
    return [(name, value) for name, value in rows if value]


def _data(data: DataFacts) -> str:
    parts = [data.place]
    if data.n_cases is not None:
        of_patients = f" of {plural(data.n_patients, 'patient')}" if data.n_patients is not None else ""
        parts.append(plural(data.n_cases, "image") + of_patients)
    return ", ".join(part for part in parts if part)


def _time(facts: RunFacts) -> str:
    """Working time over all stages; from start to end where the stages are not known."""
    known = [stage.seconds for stage in facts.stages.values() if stage.seconds is not None]
    seconds = sum(known) if known else seconds_between(facts.started, facts.finished)
    return duration(seconds) if seconds is not None else ""


def _software(facts: RunFacts) -> str:
    parts = [
        f"hilum {facts.hilum}" if facts.hilum else "",
        f"commit {facts.commit}" if facts.commit else "",
    ]
    return ", ".join(part for part in parts if part)


def _not_done(facts: RunFacts) -> list[tuple[str, str]]:
    """Stages that were skipped or failed, each with its reason."""
    return [(name, stage.reason) for name, stage in facts.stages.items() if stage.reason]
