"""The number of public functions without an example may fall, never rise.

An example is a doctest in the docstring, or the example at the end of the help of a command.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "hilum"

Function = ast.FunctionDef | ast.AsyncFunctionDef

CEILINGS = {
    "(top)": 36,
    "anomaly": 53,
    "artifacts": 9,
    "cli": 0,
    "comparison": 15,
    "data": 26,
    "embedding": 6,
    "evaluation": 47,
    "explain": 32,
    "inference": 7,
    "lungs": 1,
    "models": 5,
    "report": 44,
    "robustness": 12,
    "scale": 0,
    "serving": 9,
    "stages": 22,
    "training": 19,
    "web": 0,
}
"""Public functions and methods without an example by package. Whoever adds examples lowers the number."""


def public_functions(tree: ast.Module) -> Iterator[tuple[str, Function]]:
    """Name and node of each public function, and of each public method of a public class."""
    for node in tree.body:
        if isinstance(node, Function) and node.name[0] != "_":
            yield node.name, node
        elif isinstance(node, ast.ClassDef) and node.name[0] != "_":
            for part in node.body:
                if isinstance(part, Function) and part.name[0] != "_":
                    yield f"{node.name}.{part.name}", part


def has_example(function: Function) -> bool:
    """A doctest, or the `epilog` of a command, which its help prints."""
    is_command = any(
        isinstance(decorator, ast.Call) and any(each.arg == "epilog" for each in decorator.keywords)
        for decorator in function.decorator_list
    )
    return is_command or ">>> " in (ast.get_docstring(function) or "")


def without_example(package: str) -> list[str]:
    """file.py: name of each public function of a package that lacks an example."""
    files = PACKAGE.glob("*.py") if package == "(top)" else (PACKAGE / package).rglob("*.py")
    return [
        f"{path.relative_to(PACKAGE)}: {name}"
        for path in sorted(files)
        for name, function in public_functions(ast.parse(path.read_text(encoding="utf-8")))
        if not has_example(function)
    ]


@pytest.mark.parametrize("package", CEILINGS)
def test_no_further_public_function_lacks_an_example(package: str) -> None:
    lacking = without_example(package)
    assert len(lacking) <= CEILINGS[package], (
        f"{len(lacking)} public functions of {package} lack an example, at most {CEILINGS[package]} may; "
        f"give one to the new function among:\n" + "\n".join(lacking)
    )


def test_each_package_has_a_ceiling() -> None:
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert packages == set(CEILINGS) - {"(top)"}


def test_what_counts_as_an_example() -> None:
    tree = ast.parse(
        'def shown():\n    """Says 1.\n\n    >>> shown()\n    1\n    """\n'
        'def bare():\n    """Says 1."""\n'
        '@app.command(epilog=example("hilum report RUN"))\ndef command():\n    """Reports."""\n'
        'class Model:\n    def method(self):\n        """Says 1."""\n    def _own(self): ...\n'
        "def _private(): ...\n"
    )
    assert {name: has_example(function) for name, function in public_functions(tree)} == {
        "shown": True,
        "bare": False,
        "command": True,
        "Model.method": False,
    }
