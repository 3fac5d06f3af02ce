"""The leakage sees a leak that was planted, and none where there is none."""

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from hilum.comparison import table as t
from hilum.comparison.leakage import measure_leakage
from hilum.data.cases import Cases
from hilum.data.sources import open_source
from hilum.data.tasks import task
from hilum.errors import DataError
from hilum.files import digest
from hilum.folders import LeakageFolder
from hilum.report.leakage.section import make
from hilum.run import Run
from hilum.stages.leakage import Config as LeakageConfig

from ..conftest import SMALL

TASK = task("binary", ["normal", "pneumonia"])


def planted(folder: Path, patients: int = 32, images: int = 4) -> Cases:
    """Patients whose label has nothing to do with their picture: only who has seen a patient knows the label.
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
    leakage = measure_leakage(folder, cases, TASK, config.recipe(), replicates=200)
    assert leakage.image.accuracy.value is not None and leakage.image.accuracy.value > 0.75
    assert leakage.patient.accuracy.value is not None and leakage.patient.accuracy.value < 0.7
    gap = leakage.difference
    assert gap.accuracy.low is not None and gap.accuracy.low > 0.1
    assert gap.auroc.low is not None and gap.auroc.low > 0.1
    assert gap.accuracy_test.p < 0.01
    assert 0.7 * len(cases) < leakage.shared.n_images <= leakage.shared.n_held == len(cases)
    assert leakage.shared.by_image.k > leakage.shared.by_patient.k
    assert leakage.official is None
    assert leakage.patient.accuracy.n == leakage.image.accuracy.n == len(cases)
    before = {path: path.stat().st_mtime_ns for path in folder.path.rglob("predictions.csv")}
    assert measure_leakage(folder, cases, TASK, config.recipe(), replicates=200) == leakage
    assert len(before) == 4  # two ways, two folds; none is trained again
    assert {path: path.stat().st_mtime_ns for path in folder.path.rglob("predictions.csv")} == before
    assert folder.figures() == leakage


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
    gap = t.paired_difference(one.sample(frac=1, random_state=0), one, TASK.classes, 50)
    assert (gap.accuracy.value, gap.accuracy.low) == (0.0, None)  # no spread, so no interval
    assert (gap.accuracy_test.p, gap.auroc_test.p) == (1.0, 1.0)


def test_without_patients_there_is_no_leakage(tmp_path: Path) -> None:
    cases = planted(tmp_path, patients=8, images=1)
    with pytest.raises(DataError, match="no patient has two images outside the test part"):
        measure_leakage(LeakageFolder(tmp_path / "leakage"), cases, TASK, LeakageConfig().recipe())


def test_a_study_measures_leakage_and_the_report_shows_it(
    small_run: Run, phantom_data: Path, hilum: Callable, tmp_path: Path
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(small_run.path, copy)
    tiny = (
        "--set=leakage={size: [24, 24], epochs: 1, model: {name: resnet, options: {width: 4, stages: [1]}}}"
    )
    settings = [setting for setting in SMALL if "leakage" not in setting]
    answer = hilum("study", phantom_data, "--out", copy, "--resume", *settings, tiny)
    assert answer.code == 0, answer.err
    run = Run(copy)
    leakage = run.leakage.figures()
    cases = open_source(str(phantom_data))
    outside = int((cases.table["split"] != "test").sum())
    assert leakage.patient.n_cases == leakage.image.n_cases == outside
    assert leakage.official is not None and leakage.official.n_cases == len(cases) - outside
    page = run.report_file.read_text(encoding="utf-8")
    section = page[page.index('<section id="leakage">') :]
    section = section[: section.index("</section>")]
    for way in (leakage.patient, leakage.image):
        assert f"{way.accuracy.k}/{way.accuracy.n}" in section
    assert f"{leakage.shared.n_images} of {leakage.shared.n_held}" in section.replace("\xa0", " ")
    assert "leakage" in run.facts().stages


def test_a_study_without_leakage_says_how_to_measure_it(small_run: Run) -> None:
    section = make(small_run)
    assert section is not None
    assert (section.title, section.template) == ("Leakage", "absent.html")
    assert section.values["command"].startswith("hilum leakage ")  # noqa: PD011, this is no table


def test_the_command_measures_leakage_of_a_whole_recipe(
    phantom_data: Path, hilum: Callable, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    answer = hilum(
        "compare",
        phantom_data,
        "--leakage",
        "--task=binary",
        "--out",
        out,
        "--set=pixels.size=[24, 24]",
        "--set=training.epochs=1",
        "--set=model={name: resnet, options: {width: 4, stages: [1]}}",
    )
    assert answer.code == 0, answer.err
    leakage = LeakageFolder(out).figures()
    assert f"{leakage.image.accuracy.k}/{leakage.image.accuracy.n}" in answer.out
    assert leakage.task == "binary" and leakage.epochs == 1
    assert (out / "index.html").read_text(encoding="utf-8").count("Split by patient") == 1
    refused = hilum("compare", phantom_data, "--leakage", "--out", tmp_path)
    assert refused.code == 2 and "already holds files; choose another --out" in refused.err
