"""The report's section on reliability: true to reliability.json, drawn for two and for three classes, never a hole."""

import shutil
from pathlib import Path

import pytest

from hilum.artifacts.base import Figure
from hilum.artifacts.reliability import Reliability
from hilum.data.tasks import task
from hilum.errors import RunError
from hilum.evaluation.config import ReliabilityConfig
from hilum.files import read_json, write_json
from hilum.recipe import load_recipe
from hilum.report import build
from hilum.report.reliability.section import make
from hilum.run import Run
from hilum.stages.contract import Context
from hilum.stages.reliability import run as reliability_stage

from .test_report import Reader, made_run

CONFIG = ReliabilityConfig(mc_passes=0, views=False, ood_rate=None, divisions=5, folds=3, alpha=0.25)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Trained and evaluated, without the reliability stage; an odd name everywhere."""
    return made_run(tmp_path_factory.mktemp("reliability") / "bare", odd=' <b>&"x"')


@pytest.fixture(scope="module")
def judged(bare: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("reliability") / "judged"
    shutil.copytree(bare.path, folder)
    run, cases = Run(folder), bare.cases()
    recipe = load_recipe("quick").model_copy(update={"replicates": 60})
    tasks = tuple(task(name, cases.labels) for name in run.tasks)
    for this in tasks:
        reliability_stage(Context(run, cases, recipe, tasks, this), CONFIG)
    return run


@pytest.fixture(scope="module")
def section(judged: Run) -> str:
    page = printed(judged)
    start = page.index('<section id="reliability"')
    return page[start : page.index("</section>", start)]


def printed(run: Run) -> str:
    """A page of this section alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "SECTIONS", (make,))
        return build.build_report(run).read_text(encoding="utf-8")


def test_the_section_has_both_tasks_and_draws_each_part(section: str) -> None:
    reader = Reader(section)
    assert "Normal vs pneumonia: calibration" in reader.text
    assert "Bacterial vs viral: prediction sets" in reader.text
    drawings = reader.all("svg")
    assert len(drawings) == 4 + 6  # abnormal alone and three classes, each with benefit, sets and risk
    assert all(len(drawing.get("aria-label", "")) > 15 for drawing in drawings)
    assert section.count("hilum reliability") == 1


@pytest.mark.parametrize("name", ["binary", "multiclass"])
def test_the_figures_are_those_of_reliability_json(judged: Run, section: str, name: str) -> None:
    text = Reader(section).text.replace("\u00a0", " ")
    reliability = Reliability.load(judged.task(name).reliability_file)
    assert len(reliability.calibration.methods) == 3
    for block in reliability.calibration.methods.values():
        assert f"{block.ece.value:.3f}" in text
        assert f"{block.brier.reliability.value:.3f}" in text
    coverage = reliability.conformal.in_use.figures.coverage
    low, high = reliability.conformal.in_use.by_chance
    assert f"{percent(coverage)} of images ({coverage.counts}" in text
    assert f"95 % of valid sets measure {100 * low:.1f} to {100 * high:.1f} %" in text
    assert "probability" in reliability.selective
    for block in reliability.selective.values():
        assert f"{block.aurc.value:.4f}" in text


@pytest.mark.parametrize("name", ["binary", "multiclass"])
def test_every_operating_point_is_in_the_table(judged: Run, section: str, name: str) -> None:
    text = Reader(section).text.replace("\u00a0", " ")
    points = Reliability.load(judged.task(name).reliability_file).operating
    reached = [point.decisions for point in points if point.decisions]
    reasons = [point.reason for point in points if point.reason]
    assert reached and len(reached) + len(reasons) == len(points)
    assert all(decisions.sensitivity.counts in text for decisions in reached)
    assert all(percent(decisions.at_prevalence[0].ppv) in text for decisions in reached)
    assert all(reason in text for reason in reasons)


def percent(figure: Figure) -> str:
    return "not defined" if figure.value is None else f"{100 * figure.value:.1f} %"


def test_same_run_same_bytes(judged: Run, section: str) -> None:
    assert section in printed(judged)


def test_a_stage_that_did_not_run_says_how(bare: Run) -> None:
    section = make(bare)
    assert section is not None
    assert section.template == "absent.html"
    assert section.values["command"].startswith("hilum reliability ")


def test_a_task_that_was_skipped_says_why(judged: Run, tmp_path: Path) -> None:
    shutil.copytree(judged.path, tmp_path / "copy")
    run = Run(tmp_path / "copy")
    run.task("binary").reliability_file.unlink()
    reason = "there are no validation images to fit a temperature on"
    run.add_facts(stages={"reliability binary": {"status": "skipped", "reason": reason}})
    text = Reader(printed(run)).text
    assert "There are no validation images to fit a temperature on." in text
    assert "Bacterial vs viral: calibration" in text
    assert "Normal vs pneumonia: calibration" not in text


def test_nothing_trained_leaves_no_trace(tmp_path: Path) -> None:
    assert make(made_run(tmp_path / "empty", tasks=())) is None


def test_figures_of_other_weights_are_refused(judged: Run, tmp_path: Path) -> None:
    shutil.copytree(judged.path, tmp_path / "copy")
    run = Run(tmp_path / "copy")
    file = run.task("binary").reliability_file
    write_json(file, {**read_json(file), "weights_digest": "other"})
    with pytest.raises(RunError, match=r"reliability\.json was made with other weights"):
        make(run)
