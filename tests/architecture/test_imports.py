"""Imports point one way. The test reads the sources, so an import inside a function counts as well."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "hilum"

# A module may import from its own layer and from every layer before it.
LAYERS = (
    ("errors",),
    ("files", "progress", "builders", "config"),
    ("artifacts",),
    ("data",),
    ("models",),
    ("run",),
    ("inference",),
    ("training",),
    ("evaluation",),
    ("robustness", "embedding", "anomaly", "explain", "comparison"),
    ("report", "stages"),
    ("recipe",),
    ("study",),
    ("serving", "scale"),
    ("cli",),
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
# Siblings that would tangle: none of these may import another of the same layer ...
STRANGERS = {"robustness", "embedding", "anomaly", "explain", "comparison", "report", "stages"}
# ... and these arrows are meant: the study draws the report; a run opens its models when asked to.
ALLOWED = {("study", "report"), ("run", "models")}
WITHOUT_TORCH = ("data", "report", "run", "files", "errors", "cli")


def parts() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def part_of(path: Path) -> str:
    return path.relative_to(SOURCE).with_suffix("").parts[0]


def imported(path: Path) -> list[str]:
    """The parts of hilum that a file imports, wherever in the file it does so."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
            if node.module == "hilum":
                names += [f"hilum.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return [name.split(".")[1] for name in names if name.startswith("hilum.") and name != "hilum.__version__"]


@pytest.mark.parametrize("path", parts(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_arrows_point_down(path: Path) -> None:
    if path.name == "__init__.py" and path.parent == SOURCE:
        return  # the public names come from everywhere, lazily
    here = part_of(path)
    assert here in RANK, f"{path.name}: give {here!r} a layer"
    for other in imported(path):
        allowed = RANK[other] <= RANK[here] or (here, other) in ALLOWED
        assert allowed, f"{path.relative_to(SOURCE)} imports hilum.{other}, which lies above hilum.{here}"
        if other != here and {here, other} <= STRANGERS and RANK[here] == RANK[other]:
            pytest.fail(f"{path.relative_to(SOURCE)} imports its sibling hilum.{other}")


def test_the_test_sees_imports_inside_functions(tmp_path: Path) -> None:
    file = tmp_path / "some.py"
    file.write_text("def f():\n    from hilum.report.build import build_report\n    import hilum.cli\n")
    assert imported(file) == ["report", "cli"]


@pytest.mark.parametrize("name", WITHOUT_TORCH)
def test_no_torch_where_none_is_needed(name: str) -> None:
    """Every module of these parts, imported in a fresh interpreter, leaves torch unloaded."""
    files = [path for path in parts() if part_of(path) == name]
    modules = ["hilum." + ".".join(p.relative_to(SOURCE).with_suffix("").parts) for p in files]
    modules = [module.removesuffix(".__init__") for module in modules]
    code = f"import sys, importlib\nfor m in {modules!r}: importlib.import_module(m)\n"
    code += "sys.exit('torch' in sys.modules or 'lightning' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
