"""The docs are true: their code runs, their files exist, and docs/cli.md is what the command line says."""

import doctest
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import typer

from hilum import cli
from hilum.run import Run

from .cli_page import SEE_ALSO, commands, options
from .cli_page import page as page_of_commands

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> list[str]:
    """The Python blocks of a page."""
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.name)
def test_python_in_the_docs_runs(
    page: Path, small_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder where runs/phantom-quick is a finished study."""
    shutil.copytree(small_run.path, tmp_path / "runs" / "phantom-quick")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in blocks(page):
        if block.startswith(">>>"):
            example = doctest.DocTestParser().get_doctest(block, names, page.name, str(page), 0)
            assert doctest.DocTestRunner().run(example, clear_globs=False).failed == 0
            names = example.globs
        else:
            exec(compile(block, str(page), "exec"), names)


def links(page: Path) -> list[str]:
    """The files that a page links to; what a block of code holds is no link."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text)
    return [target for target in targets if not target.startswith("http")]


@pytest.mark.parametrize("page", [page for page in PAGES if links(page)], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    assert [target for target in links(page) if not (page.parent / target).exists()] == []


def test_the_page_of_the_command_line_is_what_the_command_line_says() -> None:
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == page_of_commands(), (
        "run: python tests/docs/cli_page.py > docs/cli.md"
    )


def test_every_command_and_option_has_a_help_text_and_a_section() -> None:
    found = dict(commands(typer.main.get_command(cli.app)))
    assert len(found) > 12
    assert set(SEE_ALSO) <= set(found)
    for words, command in found.items():
        assert command.help.strip().endswith("."), words
        for parameter in command.params:
            assert "--help" in parameter.opts or parameter.help.endswith("."), (words, parameter.name)
        lists = [each for each in options(command) if each.multiple]
        assert [each.name for each in lists if "Repeatable." not in each.help] == [], words


@pytest.mark.parametrize("words", ["", "data", *dict(commands(typer.main.get_command(cli.app)))])
def test_every_help_shows_an_example(words: str, hilum) -> None:
    answer = hilum(*words.split(), "--help")
    assert answer.code == 0
    assert f"Example:  hilum {words}".strip() in answer.out


def test_the_file_tree_in_the_readme_is_the_real_one() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    tree = re.search(r"^src/hilum/\n(.*?)^tests/", text, re.MULTILINE | re.DOTALL)
    assert tree
    named = {line.split()[0].rstrip("/") for line in tree.group(1).splitlines()}
    real = {path.name for path in (ROOT / "src" / "hilum").iterdir() if path.name[0] not in "_."}
    assert named - {"sources"} == real - {"py.typed"}


def test_seed_figures_in_the_docs_are_those_of_the_report() -> None:
    from hilum.evaluation.seed_report import RESNET34_TEST

    right = sum(RESNET34_TEST[i][i] for i in range(3))
    assert f"{right}/{sum(map(sum, RESNET34_TEST))}" == "521/624"
    recipe = (ROOT / "src" / "hilum" / "recipes" / "seed.yaml").read_text(encoding="utf-8")
    assert "521/624" in recipe


def test_git_holds_no_links() -> None:
    """A link leads to a path of one machine; a tracked .venv broke every fresh clone once."""
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "-s"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert [line for line in listed.stdout.splitlines() if line.startswith("120000")] == []
