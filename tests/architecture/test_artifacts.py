"""What a stage writes is read: a field that nobody reads is dead, unless docs/files.md says whom it is for."""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from pkgutil import iter_modules

from hilum import artifacts
from hilum.artifacts.base import Part

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "hilum"


def parts() -> list[type[Part]]:
    """All models of hilum.artifacts."""
    for module in iter_modules(artifacts.__path__):
        importlib.import_module(f"{artifacts.__name__}.{module.name}")
    return [part for part in below(Part) if part.__module__.startswith(artifacts.__name__)]


def below(part: type[Part]) -> Iterator[type[Part]]:
    for each in part.__subclasses__():
        yield each
        yield from below(each)


def read_names() -> set[str]:
    """Every attribute that the source or a template reads, and every name in a string: some are read by key."""
    names: set[str] = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                names.add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                names.add(node.value)
    for path in SOURCE.rglob("*.html"):
        names.update(re.findall(r"\.(\w+)", path.read_text(encoding="utf-8")))
    return names


def for_users() -> set[str]:
    """The fields in the table of docs/files.md."""
    text = (ROOT / "docs" / "files.md").read_text(encoding="utf-8")
    table = text[text.index("which are there for you") : text.index("## metrics.json")]
    return set(re.findall(r"`(\w+)`", table))


def test_every_field_of_an_artifact_is_read_or_documented() -> None:
    known = read_names() | for_users() | {"schema_version"}
    fields = [(part.__name__, name) for part in parts() for name in part.__annotations__]
    assert len(fields) > 300
    assert [f"{part}.{name}" for part, name in fields if name not in known and name != "model_config"] == []


def test_no_artifact_leaves_a_field_free() -> None:
    """dict[str, Any] is for settings as a user wrote them, and for options of a method."""
    free = {
        f"{part.__name__}.{name}"
        for part in parts()
        for name, field in part.model_fields.items()
        if "Any" in str(field.annotation)
    }
    assert free == {
        "Architecture.options",
        "CellRow.changes",
        "CellRow.recipe",
        "DetectorCard.recipe_in_full",
        "DetectorFigures.options",
        "Leakage.recipe",
        "MadeFrom.grid",
        "ModelCard.recipe_in_full",
        "ModelFacts.recipe_in_full",
    }


def test_the_report_reads_attributes() -> None:
    """A section neither looks up results by a key that may be missing nor hands on untyped values."""
    allowed = {"section.py"}  # of each room: the values of its template
    looked_up, free = [], []
    for path in (SOURCE / "report").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        place = path.relative_to(SOURCE).as_posix()
        looked_up += [f"{place}: {call}" for call in re.findall(r"\.get\(\"\w+\"", text)]
        free += [place for _ in re.findall(r"dict\[str, Any\]", text) if path.name not in allowed]
    assert looked_up == []
    assert set(free) <= {
        "report/embedding/explorer.py",
        "report/embedding/images.py",
    }  # JSON of a script; CSV rows
