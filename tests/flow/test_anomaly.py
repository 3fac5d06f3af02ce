"""`hilum anomaly` on a run: board, files, going on, report, and the sentences for what a user can mend."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from hilum.run import Run

FAST = [
    "--set=pixels.size=[32, 32]",
    "--set=false_alarm_rate=0.3",
    "--set=split.val_fraction=0.5",
    "--set=odd_films=4",
    "--set=detectors.patch_gaussian={features: pixels, channels: 16}",
]


@pytest.fixture
def run(small_run: Run, tmp_path: Path) -> Run:
    """A copy of the finished study, to be changed."""
    shutil.copytree(small_run.path, tmp_path / "run")
    return Run(tmp_path / "run")


def test_from_a_run_to_the_report(run: Run, hilum) -> None:
    asked = ["--detector", "patch_memory", "--set=detectors.patch_memory={features: pixels, memory: 50}"]
    answer = hilum("anomaly", run.path, *asked, *FAST)
    assert answer.code == 0, answer.err
    assert "patch_memory" in answer.out and "ensemble" in answer.out
    assert "maps against known lesions: pixel AUROC" in answer.out
    figures = run.anomaly.figures()
    assert set(figures["detectors"]) == {"patch_memory", "patch_gaussian", "ensemble"}
    truth = figures["detectors"]["patch_memory"]["truth"]
    assert truth["n_films"] == truth["pointing"]["n"] + (truth["n_films"] - truth["n_sick"])
    table = run.anomaly.scores()
    fit = table[table["role"] == "fit"]
    assert set(fit["label"]) == {"normal"} and set(fit["split"]) == {"train"}
    by_patient = table[table["role"].isin(["fit", "calibrate", "measure", "test"])].groupby("patient")["role"]
    assert (by_patient.nunique() == 1).all()

    weights = run.anomaly.detector("patch_memory").path / "detector.safetensors"
    before = weights.stat().st_mtime_ns
    again = hilum("anomaly", run.path, "--detector", "patch_gaussian")
    assert again.code == 0 and again.out == answer.out
    assert weights.stat().st_mtime_ns == before

    assert hilum("report", run.path).code == 0
    page = run.report_file.read_text(encoding="utf-8")
    assert '<section id="anomaly">' in page
    for words in ("Strange to healthy lungs", "SQUID", "Does it notice a film of another kind?", "AUPRO"):
        assert words in page
    assert hilum("report", run.path).code == 0
    assert page == run.report_file.read_text(encoding="utf-8")


def test_the_report_says_how_to_make_a_missing_board(run: Run, hilum) -> None:
    assert not run.anomaly.figures_file.exists()
    assert hilum("report", run.path).code == 0
    page = run.report_file.read_text(encoding="utf-8")
    assert '<section id="anomaly">' in page and "<code>hilum anomaly " in page


def test_a_board_of_another_detector_is_refused(run: Run, hilum) -> None:
    assert hilum("anomaly", run.path, "--detector", "patch_gaussian", *FAST).code == 0
    card = run.anomaly.detector("patch_gaussian").card_file
    card.write_text(card.read_text(encoding="utf-8").replace('"weights_digest": "', '"weights_digest": "0'))
    answer = hilum("report", run.path)
    assert answer.code == 2
    assert "was made with another patch_gaussian than lies beside it; run: hilum anomaly" in answer.err


@pytest.mark.parametrize(
    ("words", "said"),
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
def test_one_sentence_for_each_mistake(run: Run, hilum, words: list[str], said: str) -> None:
    answer = hilum("anomaly", run.path, *words)
    assert answer.code == 2
    assert said in answer.err
    assert "Traceback" not in answer.err
    assert not run.anomaly.figures_file.exists()


def test_no_run_no_board(tmp_path: Path, hilum) -> None:
    answer = hilum("anomaly", tmp_path / "nothing")
    assert answer.code == 2 and "does not exist" in answer.err


def test_a_damaged_file_of_examples_is_named(run: Run, hilum) -> None:
    assert hilum("anomaly", run.path, "--detector", "patch_gaussian", *FAST).code == 0
    run.anomaly.examples_file.write_bytes(b"PK\x03\x04 half")
    answer = hilum("report", run.path)
    assert answer.code == 2 and "examples.npz is damaged" in answer.err


def test_scores_are_those_of_the_saved_detector(run: Run, hilum) -> None:
    """load_detector on a film's own file gives the score in scores.csv."""
    from hilum.anomaly import load_detector
    from hilum.data.decode import read_grey

    assert hilum("anomaly", run.path, "--detector", "patch_gaussian", *FAST).code == 0
    detector = load_detector(run.anomaly.detector("patch_gaussian").path)
    paths = run.cases().table.set_index("case_id")["path"]
    rows = run.anomaly.scores().head(5)
    for case, written in zip(rows["case_id"], rows["patch_gaussian"], strict=True):
        given = detector.score(detector.pixels.apply(read_grey(paths[case]))[None]).score[0]
        np.testing.assert_allclose(float(given), written, rtol=1e-3)
