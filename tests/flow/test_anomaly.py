"""`hilum anomaly` on a run: leaderboard, files, going on, report, and the sentences for user errors."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from hilum.errors import RunError
from hilum.run import Run

from ..conftest import SMALL


@pytest.fixture
def run(small_run: Run, tmp_path: Path) -> Run:
    """A copy of the finished study, to be changed."""
    shutil.copytree(small_run.path, tmp_path / "run")
    return Run(tmp_path / "run")


def test_the_study_leaves_a_leaderboard(small_run: Run) -> None:
    assert "anomaly" in small_run.facts().stages
    figures = small_run.anomaly.figures()
    assert list(figures.detectors) == ["patch_gaussian"] == [figures.best]
    table = small_run.anomaly.scores()
    assert set(table["case_id"]) == set(small_run.cases().table["case_id"])
    fit = table[table["role"] == "fit"]
    assert set(fit["label"]) == {"normal"} and set(fit["split"]) == {"train"}
    counted = table[table["role"].isin(["fit", "calibrate", "measure", "test"])]
    assert (counted.groupby("patient")["role"].nunique() == 1).all()
    localization = figures.detectors["patch_gaussian"].localization
    held_out = table[table["role"].isin(["measure", "test"])]
    assert localization is not None and localization.n_images == len(held_out)
    assert localization.n_abnormal == localization.pointing.n == (held_out["label"] != "normal").sum()
    page = small_run.report_file.read_text(encoding="utf-8")
    assert '<section id="anomaly">' in page


def test_one_more_detector_joins_the_leaderboard(run: Run, hilum) -> None:
    weights = run.anomaly.detector("patch_gaussian").path / "detector.safetensors"
    before, alone = weights.stat().st_mtime_ns, run.anomaly.figures().detectors["patch_gaussian"]
    options = ["--detector", "patch_memory", "--set=detectors.patch_memory={features: pixels, memory: 50}"]
    answer = hilum("anomaly", run.path, *options)
    assert answer.code == 0, answer.err
    assert "patch_memory" in answer.out and "ensemble" in answer.out
    assert "maps against known lesions: pixel AUROC" in answer.out
    figures = run.anomaly.figures()
    assert list(figures.detectors) == ["patch_gaussian", "patch_memory", "ensemble"]
    assert figures.detectors["patch_gaussian"] == alone
    assert weights.stat().st_mtime_ns == before

    again = hilum("anomaly", run.path, "--detector", "patch_gaussian")
    assert again.code == 0 and again.out == answer.out

    assert hilum("report", run.path).code == 0
    page = run.report_file.read_text(encoding="utf-8")
    for words in (
        "<h2>Anomaly detection</h2>",
        "AUPRO",
        "<h3>Out-of-distribution images</h3>",
        "the ensemble",
    ):
        assert words in page
    assert "SQUID" not in page  # published figures are of radiographs


def test_too_few_healthy_images_do_not_cost_the_report(run: Run, phantom_data: Path, hilum) -> None:
    shutil.rmtree(run.anomaly.path)
    strict = "--set=anomaly={detectors: {patch_gaussian: {}}, false_alarm_rate: 0.01}"
    answer = hilum("study", phantom_data, "--out", run.path, "--resume", *SMALL, strict)
    assert answer.code == 0
    assert "anomaly is skipped" in answer.err and "too few for a false-alarm rate" in answer.err
    page = run.report_file.read_text(encoding="utf-8")
    assert '<section id="anomaly">' in page and "<code>hilum anomaly " in page


def test_a_leaderboard_of_another_detector_is_refused(run: Run, hilum) -> None:
    card = run.anomaly.detector("patch_gaussian").card_file
    card.write_text(card.read_text(encoding="utf-8").replace('"weights_digest": "', '"weights_digest": "0'))
    answer = hilum("report", run.path)
    assert answer.code == 2
    assert "was made with another patch_gaussian than the run holds; run: hilum anomaly" in answer.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--detector", "patch_memroy"], "did you mean 'patch_memory'"),
        (["--detector", "patch_memory", "--set=detectors.patch_memory.memori=3"], "did you mean 'memory'"),
        (["--set=false_alarm_rat=0.1"], "did you mean 'false_alarm_rate'"),
        (
            ["--detector", "patch_memory", "--set=false_alarm_rate=0.01"],
            "are too few for a false-alarm rate of 0.01",
        ),
        (["--detector", "patch_memory", "--set=pixels.size=[8, 8]"], "outside 16..2048 px"),
        (["--set"], "requires an argument"),
    ],
)
def test_one_sentence_for_each_mistake(run: Run, hilum, options: list[str], message: str) -> None:
    before = run.anomaly.figures_file.read_bytes()
    answer = hilum("anomaly", run.path, *options)
    assert answer.code == 2
    assert answer.err.count(message) == 1, answer.err
    assert "Traceback" not in answer.err
    assert run.anomaly.figures_file.read_bytes() == before


def test_no_run_no_leaderboard(tmp_path: Path, hilum) -> None:
    answer = hilum("anomaly", tmp_path / "nothing")
    assert answer.code == 2 and "does not exist" in answer.err


def test_a_damaged_file_of_examples_is_named(run: Run) -> None:
    assert "patch_gaussian/map" in run.anomaly.examples()
    run.anomaly.examples_file.write_bytes(b"PK\x03\x04 half")
    with pytest.raises(RunError, match=r"examples.npz is damaged .*; delete it and run the stage again"):
        run.anomaly.examples()


def test_scores_are_those_of_the_saved_detector(small_run: Run) -> None:
    """load_detector on an image's own file gives the score in scores.csv."""
    from hilum.anomaly.saved import load_detector
    from hilum.data.decode import read_grey

    detector = load_detector(small_run.anomaly.detector("patch_gaussian").path)
    paths = small_run.cases().table.set_index("case_id")["path"]
    rows = small_run.anomaly.scores().head(5)
    for case, written in zip(rows["case_id"], rows["patch_gaussian"], strict=True):
        given = detector.score(detector.pixels.apply(read_grey(paths[case]))[None]).score[0]
        np.testing.assert_allclose(float(given), written, rtol=1e-3)
