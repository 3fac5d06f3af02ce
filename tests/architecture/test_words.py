"""The field's words: the old ones stay out of names, help, JSON keys, recipes, report and docs."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).name

# What no text of the project says, with the word to use instead.
TEXT = {
    r"films?": "image, radiograph",
    r"drawn (?:image|radiograph)s?": "synthetic image, phantom",
    r"sick|ill": "abnormal",
    r"etiology": "multiclass",
    r"surest|surely wrong": "most confident, confidently wrong",
    r"names? (?:it )?rightly|named rightly|called right(?:ly)?|named correctly": "classified correctly",
    r"I do not know": "abstained",
    r"ledger": "leakage",
    r"strange(?:ness|r|st|ly)?": "anomaly score, out-of-distribution",
    r"odd (?:image|radiograph)s?": "OOD images",
    r"spoilt": "corrupted",
    r"notions?": "concept",
    r"wrong side|crossed|taken alike": "shortcut-conflicting images, acquisition group",
    r"p_known_\w+": "p_value",
    r"in one minute": "summary",
    r"what it looks at": "explanations",
    r"how far (?:can|may) (?:it|the answer|the answers) be (?:trusted|believed)": "reliability, faithfulness",
    r"--again": "--force",
}
# What no identifier is called.
NAMES = {
    "one", "found", "said", "asked", "called", "told", "again", "choice", "choices", "lacking", "believing",
    "trusting", "beside", "zoom", "wish", "subject", "board", "leaked", "film", "films", "sick",
}  # fmt: skip
ENDINGS = ("Choice", "Wish", "Subject", "Film", "Films")
# The two places that must name old words, and no others: a recipe of format 1 is recognised by its keys, and
# users of 0.1 need a table of what is called otherwise now. Only the matched text is spared, not the file.
SPARED = {
    "benchmarks/before.py": r"^ +from hilum\.evaluation\.stage import .*$",
    "src/hilum/recipe.py": r"^FORMAT_1_KEYS = .*$",
    "docs/decisions/0007-stages.md": r"^\| old name \| new name \|\n(?:\|.*\n)+",
}


def tracked(*suffixes: str) -> list[Path]:
    """The project's own files of these kinds; where there is no git, those in its folders."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    names = listed.stdout.splitlines() or [
        str(path.relative_to(ROOT))
        for folder in ("src", "tests", "docs", "benchmarks")
        for path in (ROOT / folder).rglob("*")
    ]
    return [ROOT / name for name in names if name.endswith(suffixes) and (ROOT / name).exists()]


TEXTS = [
    path for path in tracked(".py", ".html", ".js", ".css", ".yaml", ".md", ".json") if path.name != HERE
]
CODE = [path for path in tracked(".py") if path.is_relative_to(ROOT / "src")]


def old_words(text: str) -> list[str]:
    """Every old word in a text, with the word to use."""
    return [
        f"line {text.count(chr(10), 0, hit.start()) + 1}: {hit.group()!r}, say {new!r}"
        for old, new in TEXT.items()
        for hit in re.finditer(rf"(?<![A-Za-z-])(?:{old})(?![A-Za-z])", text, re.IGNORECASE)
    ]


def without_spared(path: Path) -> str:
    """A file's text without what SPARED names in it, with the same number of lines."""
    text, spared = path.read_text(encoding="utf-8"), SPARED.get(path.relative_to(ROOT).as_posix())
    return (
        re.sub(spared, lambda hit: "\n" * hit.group().count("\n"), text, flags=re.MULTILINE)
        if spared
        else text
    )


def identifiers(source: str) -> set[str]:
    """The names that a file gives: variables, parameters, fields, functions, classes."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
    return names


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_texts_say_the_field_s_words(path: Path) -> None:
    assert old_words(without_spared(path)) == []


@pytest.mark.parametrize("name", SPARED)
def test_what_is_spared_is_there_and_is_needed(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert len(re.findall(SPARED[name], text, flags=re.MULTILINE)) == 1
    assert old_words(text) != []


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_names_are_nouns_of_the_thing(path: Path) -> None:
    names = identifiers(path.read_text(encoding="utf-8"))
    old = {name for name in names if name.strip("_").lower() in NAMES or name.endswith(ENDINGS)}
    assert old == set(), "see the glossary in docs/glossary.md"


def test_the_test_finds_old_words() -> None:
    assert [line.split(",")[0] for line in old_words("A film.\nOdd images; sick_image, a filmstrip")] == [
        "line 1: 'film'", "line 2: 'sick'", "line 2: 'Odd images'",
    ]  # fmt: skip
    assert identifiers("def f(one): found = one\nclass A: x: int = 1") == {"f", "one", "found", "A", "x"}
