"""Sections that a plug-in brings: found by the variable HILUM_PLUGINS, printed before Reproducibility."""

import re
from pathlib import Path

import pytest

from hilum.errors import RecipeError
from hilum.report.build import build_report, plugin_sections
from hilum.run import Run
from tests.unit.test_report import made_run

PLUGINS = Path(__file__).parents[1] / "plugins"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Cases and their splits, nothing trained."""
    return made_run(tmp_path / "run", tasks=())


def test_a_section_of_a_plug_in_is_printed_before_reproducibility(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = build_report(run).read_text(encoding="utf-8")
    monkeypatch.setenv("HILUM_PLUGINS", str(PLUGINS))
    page = build_report(run).read_text(encoding="utf-8")
    sections = re.findall(r'<section id="(\w+)"', page)
    assert "patients" not in re.findall(r'<section id="(\w+)"', before)
    assert sections.index("patients") < sections.index("reproducibility") == len(sections) - 2
    assert "<h2>Images per patient</h2>" in page
    assert "<tr><th>2</th><td>36</td></tr>" in page  # 72 images, two of each patient
    assert '<a href="#patients">Images per patient</a>' in page


def test_a_folder_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HILUM_PLUGINS", str(tmp_path / "gone"))
    with pytest.raises(RecipeError, match=r"HILUM_PLUGINS names .*gone, which is not a folder"):
        plugin_sections()


def test_a_section_without_make_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "report" / "empty").mkdir(parents=True)
    (tmp_path / "report" / "empty" / "section.py").write_text('"""Nothing."""\n')
    monkeypatch.setenv("HILUM_PLUGINS", str(tmp_path))
    with pytest.raises(RecipeError, match=r"empty.section\.py has no make\(\)"):
        plugin_sections()
