"""The report's section on reliability: true to reliability.json, drawn for two and for three classes, never a hole."""

import shutil
from pathlib import Path

import pytest

from hilum.errors import RunError
from hilum.evaluation.config import ReliabilityConfig
from hilum.evaluation.reliability import reliability_task
from hilum.files import read_json, write_json
from hilum.report import build
from hilum.report.sections.reliability import reliability
from hilum.run import Run

from .test_report import Reader, made_run

CHOICE = ReliabilityConfig(mc_passes=0, views=False, divisions=5, folds=3, alpha=0.25)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Trained and evaluated, never judged; an odd name everywhere."""
    return made_run(tmp_path_factory.mktemp("reliability") / "bare", odd=' <b>&"x"')


@pytest.fixture(scope="module")
def judged(bare: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("reliability") / "judged"
    shutil.copytree(bare.path, folder)
    run = Run(folder)
    for name in run.tasks:
        reliability_task(run.task(name), run.anomaly, run.cases(), CHOICE, replicates=60)
    return run


@pytest.fixture(scope="module")
def section(judged: Run) -> str:
    page = printed(judged)
    start = page.index('<section id="reliability"')
    return page[start : page.index("</section>", start)]


def printed(run: Run) -> str:
    """A page of this section alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "SECTIONS", (reliability,))
        return build.build_report(run).read_text(encoding="utf-8")


def test_section_speaks_of_both_tasks_and_draws_each_part(section: str) -> None:
    reader = Reader(section)
    assert "Normal vs pneumonia: do its probabilities come true?" in reader.text
    assert "Bacterial or viral: answers that may name several classes" in reader.text
    drawings = reader.all("svg")
    assert len(drawings) == 4 + 6  # abnormal alone and three classes, each with benefit, sets and risk
    assert all(len(one.get("aria-label", "")) > 15 for one in drawings)
    assert section.count("hilum evaluate") == 1


def test_figures_are_those_of_reliability_json(judged: Run, section: str) -> None:
    text = Reader(section).text.replace("\u00a0", " ")
    for name in judged.tasks:
        found = read_json(judged.task(name).reliability_file)
        for block in found["calibration"]["ways"].values():
            assert f"{block['ece']['value']:.3f}" in text
            assert f"{block['brier']['reliability']['value']:.3f}" in text
        sets = found["conformal"][found["conformal"]["answer"]]
        low, high = sets["coverage"]["binomial"]
        assert f"{100 * sets['coverage']['value']:.1f} %" in text
        assert f"exact binomial interval {100 * low:.1f} to {100 * high:.1f} %" in text
        for row in found["operating"]:
            if "why" in row:
                assert row["why"] in text
            else:
                assert f"{row['sensitivity']['k']}/{row['sensitivity']['n']}" in text
                assert f"{100 * row['at_prevalence'][0]['ppv']['value']:.1f} %" in text
        for block in found["selective"].values():
            assert f"{block['aurc']['value']:.4f}" in text


def test_same_run_same_bytes(judged: Run, section: str) -> None:
    assert section in printed(judged)


def test_a_stage_that_did_not_run_says_how(bare: Run) -> None:
    made = reliability(bare)
    assert made is not None
    assert made.template == "missing.html"
    assert made.values["command"].startswith("hilum evaluate ")


def test_nothing_trained_leaves_no_trace(tmp_path: Path) -> None:
    assert reliability(made_run(tmp_path / "empty", tasks=())) is None


def test_figures_of_other_weights_are_refused(judged: Run, tmp_path: Path) -> None:
    shutil.copytree(judged.path, tmp_path / "copy")
    run = Run(tmp_path / "copy")
    file = run.task("binary").reliability_file
    write_json(file, {**read_json(file), "weights_digest": "other"})
    with pytest.raises(RunError, match=r"reliability\.json was made with other weights"):
        reliability(run)
