"""The section "The seed report, figure by figure": there for the recipe `seed`, with what that report states."""

import json
import shutil
from pathlib import Path

import pytest

from hilum.report.build_page import print_page
from hilum.report.seed_report.section import make
from hilum.run import Run


@pytest.fixture(scope="module")
def seed_run(small_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The small run as if the recipe `seed` had trained it."""
    folder = tmp_path_factory.mktemp("seed") / "run"
    shutil.copytree(small_run.path, folder)
    for name in ("binary", "multiclass"):
        card = Run(folder).task(name).card_file
        card.write_text(json.dumps(json.loads(card.read_text()) | {"recipe": "seed"}), encoding="utf-8")
    return Run(folder)


def test_another_recipe_has_no_such_section(small_run: Run) -> None:
    assert make(small_run) is None


def test_every_figure_of_the_report_has_its_counterpart(seed_run: Run) -> None:
    section = make(seed_run)
    assert section is not None
    networks, pictures = section.values["networks"], section.values["pictures"]
    assert [network.figure for network in networks] == ["Figure 1", "Figure 2"]
    assert [dict(network.ours)["Network"].split()[0] for network in networks] == ["vgg", "resnet"]
    assert len(pictures.curves) == 2 and len(pictures.matrices) == 2 and len(pictures.maps) == 2
    figures = seed_run.task("binary").attributions.figures()
    masks = list(figures.occlusion.values())
    assert pictures.positions.mask == masks[0].mask and len(pictures.positions.pictures) == len(masks) > 0
    assert len(pictures.maximal.rows) == 2 and len(pictures.synthesised.open) == 2
    page = print_page("seed", [section])
    assert "14,985 positions" in page and "1 − P(abnormal)" in page


def test_a_task_that_was_not_trained_is_named(seed_run: Run, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(seed_run.path, copy)
    shutil.rmtree(copy / "multiclass")
    section = make(Run(copy))
    assert section is not None and section.values["missing"] == ["multiclass"]
    assert section.values["pictures"].curves == [] and section.values["pictures"].positions is not None
