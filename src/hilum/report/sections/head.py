"""Head: what this is, when and where it was made, and what it must not be used for."""

from typing import Any

from hilum.report.sections import Section
from hilum.report.wording import count, duration, moment, seconds_between
from hilum.run import Run

_CHILDREN = (
    "The images show children aged 1 to 5 from one hospital; the figures say nothing about other people."
)
PEOPLE = {
    "kaggle": _CHILDREN,
    "medmnist": _CHILDREN,
    "phantom": "The images are drawn by a program and show no patients: the figures say nothing about people.",
}
"""Whom the images of a source show."""

UNKNOWN_PEOPLE = "Whom the images show is not recorded here; the figures hold for such images only."


def head(run: Run) -> Section:
    """Name, data, date, commit, machine, time taken, purpose."""
    facts = run.facts()
    data = facts.get("data", {})
    people = PEOPLE.get(data.get("source", ""), UNKNOWN_PEOPLE)
    return Section(
        "head",
        "Overview",
        "head.html",
        {
            "name": facts.get("name") or run.path.name,
            "purpose": f"Research use only; not a medical device. {people}",
            "finished": "finished" in facts,
            "facts": _facts(facts, data),
        },
    )


def _facts(facts: dict[str, Any], data: dict[str, Any]) -> list[tuple[str, str]]:
    """The rows of the head's table; what the run doesn't say is left out."""
    rows = [
        ("Data", _data(data)),
        ("Recipe", facts.get("preset") or ""),
        ("Started", moment(facts.get("started")) if facts.get("started") else ""),
        ("Time taken", _time(facts)),
        ("Machine", machine(facts)),
        ("Software", _software(facts)),
    ]
    return [(name, value) for name, value in rows if value]


def _data(data: dict[str, Any]) -> str:
    parts = [data.get("given") or data.get("root") or ""]
    if data.get("n_cases") is not None:
        size = f"{count(data['n_cases'])} images"
        patients = data.get("n_patients")
        parts.append(f"{size} of {count(patients)} patients" if patients is not None else size)
    return ", ".join(part for part in parts if part)


def _time(facts: dict[str, Any]) -> str:
    """Working time over all stages; from start to end where the stages are not known."""
    stages = [one.get("seconds") for one in facts.get("stages", {}).values()]
    known = [seconds for seconds in stages if seconds is not None]
    seconds = sum(known) if known else seconds_between(facts.get("started"), facts.get("finished"))
    return duration(seconds) if seconds is not None else ""


def machine(facts: dict[str, Any]) -> str:
    """The machine in one line: GPU if there was one, CPU, cores, system."""
    about = facts.get("machine") or {}
    if not isinstance(about, dict):
        return str(about)
    cores = about.get("cores")
    known = {"gpu", "cpu", "cores", "system"}
    parts = [
        about.get("gpu"),
        about.get("cpu"),
        f"{cores} cores" if cores else None,
        about.get("system"),
        *(f"{name} {value}" for name, value in about.items() if name not in known and value is not None),
    ]
    return ", ".join(str(part) for part in parts if part)


def _software(facts: dict[str, Any]) -> str:
    parts = [
        f"hilum {facts['hilum']}" if facts.get("hilum") else "",
        facts.get("commit") and f"commit {facts['commit']}",
    ]
    return ", ".join(part for part in parts if part)
