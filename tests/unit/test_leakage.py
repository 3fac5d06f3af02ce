"""The leakage sees a leak that was planted, and none where there is none."""

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from hilum.comparison import table as t
from hilum.comparison.config import LeakageConfig
from hilum.comparison.leakage import compare_ways, leakage
from hilum.data.cases import Cases
from hilum.data.sources import open_source
from hilum.data.tasks import task
from hilum.errors import DataError
from hilum.files import digest
from hilum.run import LeakageFolder, Run

from ..conftest import SMALL

TASK = task("binary", ["normal", "pneumonia"])


def planted(folder: Path, patients: int = 32, images: int = 4) -> Cases:
    """Patients whose label says nothing about their picture: only who has seen a patient can name the label.
    Every image of a patient is the same coarse pattern with a little noise."""
    chance, rows = np.random.default_rng(0), []
    for number in range(patients):
        pattern = cv2.resize(chance.integers(40, 216, (4, 4)).astype(np.float32), (32, 32))
        for image in range(images):
            path = folder / f"p{number}-{image}.png"
            cv2.imwrite(str(path), np.clip(pattern + chance.normal(0, 4, (32, 32)), 0, 255).astype(np.uint8))
            label = "pneumonia" if number % 2 else "normal"
            rows.append((path.stem, str(path), label, f"p{number}", "train", digest(path.read_bytes())))
    columns = ["case_id", "path", "label", "patient", "split", "digest"]
    return Cases.checked(pd.DataFrame(rows, columns=columns), "table", folder)


def test_a_planted_leak_moves_the_figure_and_its_interval(tmp_path: Path) -> None:
    """With patients apart: guessing. By image: the network has met the patient. The same images, so paired."""
    cases = planted(tmp_path)
    config = LeakageConfig(size=(24, 24), epochs=6, batch_size=8, lr=5e-3)
    folder = LeakageFolder(tmp_path / "leakage")
    found = leakage(folder, cases, TASK, config.recipe(), replicates=200)
    assert found["ways"]["image"]["accuracy"]["value"] > 0.75
    assert found["ways"]["patient"]["accuracy"]["value"] < 0.7
    assert found["difference"]["accuracy"]["low"] > 0.1
    assert found["difference"]["auroc"]["low"] > 0.1
    assert found["difference"]["mcnemar"]["p"] < 0.001
    assert 0.7 * len(cases) < found["shared"]["n_images"] <= found["shared"]["n_held"] == len(cases)
    assert found["official"] is None
    for way in ("patient", "image"):
        assert found["ways"][way]["accuracy"]["n"] == len(cases)
    before = folder.figures_file.stat().st_mtime_ns
    shutil.rmtree(
        folder.way("image")
    )  # not needed again: the figures are there and belong to the same things
    assert leakage(folder, cases, TASK, config.recipe(), replicates=200) == found
    assert folder.figures_file.stat().st_mtime_ns == before


def test_the_same_predictions_differ_by_nothing() -> None:
    chance = np.random.default_rng(0)
    abnormal = chance.random(40)
    rows = pd.DataFrame(
        {
            "case_id": [f"c{i}" for i in range(40)],
            "patient": [f"p{i // 2}" for i in range(40)],
            "label": "normal",
            "target": np.where(chance.random(40) < 0.5, "normal", "pneumonia"),
            "prob_normal": 1 - abnormal,
            "prob_pneumonia": abnormal,
            "threshold": 0.5,
            "split": "held",
        }
    )
    one = t.pooled([rows], TASK.classes)
    gap = compare_ways(one.sample(frac=1, random_state=0), one, TASK, 50)
    assert gap["accuracy"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert (gap["mcnemar"]["p"], gap["delong"]["p"]) == (1.0, 1.0)


def test_without_patients_there_is_no_leakage(tmp_path: Path) -> None:
    cases = planted(tmp_path, patients=8, images=1)
    with pytest.raises(DataError, match="no patient has two images outside the test part"):
        leakage(LeakageFolder(tmp_path / "leakage"), cases, TASK, LeakageConfig().recipe())


def test_a_study_draws_the_leakage_and_the_report_shows_it(
    small_run: Run, phantom_data: Path, hilum: Callable, tmp_path: Path
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(small_run.path, copy)
    tiny = (
        "--set=leakage={size: [24, 24], epochs: 1, model: {name: resnet, options: {width: 4, stages: [1]}}}"
    )
    choices = [one for one in SMALL if "leakage" not in one]
    answer = hilum("study", phantom_data, "--out", copy, "--resume", *choices, tiny)
    assert answer.code == 0, answer.err
    run = Run(copy)
    figures = run.leakage.figures()
    cases = open_source(str(phantom_data))
    outside = int((cases.table["split"] != "test").sum())
    assert {figures["ways"][way]["n_cases"] for way in ("patient", "image")} == {outside}
    assert figures["official"]["n_cases"] == len(cases) - outside
    page = run.report_file.read_text(encoding="utf-8")
    assert "How much would leakage have bought?" in page
    assert "leakage" in run.facts()["stages"]
