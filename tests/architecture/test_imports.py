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
    ("files", "progress", "builders", "config", "threads", "workers", "ahead"),
    ("artifacts",),
    ("lungs",),
    ("data",),
    ("models",),
    ("folders",),
    ("run",),
    ("inference",),
    ("training",),
    ("evaluation",),
    ("robustness", "embedding", "anomaly", "explain", "comparison"),
    ("stages", "report"),
    ("recipe",),
    ("driver", "follower"),
    ("runner",),
    ("serving",),
    ("scale", "web"),
    ("cli",),
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
# Siblings that would tangle: none of these may import another of the same layer ...
SIBLINGS = {"robustness", "embedding", "anomaly", "explain", "comparison"}
# ... and the report reads artifacts only: of these layers nothing but what it is drawn from.
REPORT_READS = {
    "errors",
    "files",
    "progress",
    "builders",
    "config",
    "artifacts",
    "data",
    "folders",
    "run",
    "report",
}
ALLOWED = {("folders", "models")}  # a task folder opens its model when asked to
WITHOUT_TORCH = (
    "artifacts",
    "data",
    "report",
    "run",
    "files",
    "errors",
    "stages",
    "recipe",
    "driver",
    "runner",
    "cli",
)


def files(source: Path = SOURCE) -> list[Path]:
    return sorted(source.rglob("*.py"))


def module_of(path: Path, source: Path = SOURCE) -> str:
    """stages/train.py -> stages.train; stages/__init__.py -> stages."""
    return ".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path, known: set[str]) -> set[str]:
    """The modules of hilum that a file imports, wherever in the file it does so. Imports for type checkers
    alone count for the layers too, but not for circles: they never run."""
    return {name for name, _ in _imports(path, known)}


def running_imports(path: Path, known: set[str]) -> set[str]:
    """Those that run."""
    return {name for name, runs in _imports(path, known) if runs}


def _imports(path: Path, known: set[str]) -> set[tuple[str, bool]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for node in ast.walk(block)
    }
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "hilum":
            base = node.module.removeprefix("hilum").lstrip(".")
            for alias in node.names:
                inner = f"{base}.{alias.name}".lstrip(".")
                found.add((inner if inner in known else base, id(node) not in for_types))
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("hilum."):
                    found.add((alias.name.removeprefix("hilum."), id(node) not in for_types))
    return {(name, runs) for name, runs in found if name}


def circles(source: Path) -> list[list[str]]:
    """Modules that import each other in a round, over files and folders alike."""
    known = {module_of(path, source) for path in files(source)}
    arrows = {module_of(path, source): running_imports(path, known) & known for path in files(source)}
    reach = {name: set(following) for name, following in arrows.items()}
    for middle in reach:
        for name in reach:
            if middle in reach[name]:
                reach[name] |= reach[middle]
    tied = sorted(name for name in reach if name in reach[name])
    return [[name, *sorted(reach[name] & set(tied))] for name in tied]


KNOWN = {module_of(path) for path in files()}


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_arrows_point_down(path: Path) -> None:
    if module_of(path) == "__init__":
        return  # the public names come from everywhere, lazily
    here = module_of(path).split(".")[0]
    assert here in RANK, f"{path.name}: give {here!r} a layer"
    for module in imports(path, KNOWN):
        other = module.split(".")[0]
        assert other in RANK, f"{path.relative_to(SOURCE)} imports hilum.{module}, which is not there"
        allowed = RANK[other] <= RANK[here] or (here, other) in ALLOWED
        assert allowed, f"{path.relative_to(SOURCE)} imports hilum.{module}, which lies above hilum.{here}"
        assert other == here or not {here, other} <= SIBLINGS, f"{path} imports its sibling hilum.{module}"
        assert here != "report" or other in REPORT_READS, f"{path} imports hilum.{module}: no artifact"
        assert (here, other) != ("stages", "report"), f"{path} imports hilum.{module}: stages draw nothing"


def test_every_folder_has_a_layer_and_every_layer_a_folder() -> None:
    real = {path.stem for path in SOURCE.glob("*.py")} | {
        path.parent.name for path in SOURCE.glob("*/__init__.py")
    }
    assert real - {"__init__"} == set(RANK)


def test_no_module_imports_itself_in_a_round() -> None:
    assert circles(SOURCE) == []


def test_the_old_circle_is_found_when_it_is_put_back(tmp_path: Path) -> None:
    """study -> comparison/leakage -> comparison/train -> study, the last one inside a function."""
    for name, text in {
        "__init__.py": "",
        "study.py": "def stage():\n    from hilum.comparison.leakage import leakage\n",
        "comparison/__init__.py": "",
        "comparison/leakage.py": "from hilum.comparison.train import run\n",
        "comparison/train.py": "def run():\n    from hilum.study import train_task\n",
        "comparison/table.py": "from hilum.comparison.train import run\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    tied = ["comparison.leakage", "comparison.train", "study"]
    assert circles(tmp_path) == [[name, *tied] for name in tied]


def test_imports_are_seen_inside_functions_and_below_type_checking(tmp_path: Path) -> None:
    file = tmp_path / "some.py"
    file.write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from hilum.run import Run\n"
        "def f():\n    from hilum.report.build import build_report\n    import hilum.cli\n"
    )
    assert imports(file, {"run", "report.build", "cli"}) == {"run", "report.build", "cli"}
    assert running_imports(file, {"run", "report.build", "cli"}) == {"report.build", "cli"}


@pytest.mark.parametrize("name", WITHOUT_TORCH)
def test_no_torch_where_none_is_needed(name: str) -> None:
    """Every module of these parts, imported in a fresh interpreter, leaves torch unloaded."""
    modules = [f"hilum.{module}" for module in sorted(KNOWN) if module.split(".")[0] == name]
    assert modules
    code = f"import sys, importlib\nfor m in {modules!r}: importlib.import_module(m)\n"
    code += "sys.exit('torch' in sys.modules or 'lightning' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
