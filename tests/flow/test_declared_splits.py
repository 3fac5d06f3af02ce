"""A patient and an image that a declared split puts into train and test; and a stage that fails by a defect."""

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from hilum.run import Run
from tests.flow.test_any_classes import words_of
from tests.flow.test_public_sets import SETTINGS

SENTENCE = "2 images are unused because their patient, or the very same image, is in the test part."


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A patient per folder, in split folders; a patient of test also in train, and an image of train also in test."""
    root = tmp_path_factory.mktemp("declared") / "data"
    chance = np.random.default_rng(0)
    for part, patients in (("train", 16), ("test", 8)):
        for label in ("normal", "pneumonia"):
            for number in range(patients):
                folder = root / part / label / f"{part}{number}{label[0]}"
                folder.mkdir(parents=True)
                image = chance.integers(0, 200, (40, 48)).astype(np.uint8)
                image[4:8, 8:40] = 255 if label == "normal" else 0
                cv2.imwrite(str(folder / "1.png"), image)
    shutil.copytree(root / "test/normal/test0n", root / "train/normal/test0n")
    cv2.imwrite(str(root / "train/normal/test0n/1.png"), np.full((40, 48), 90, np.uint8))
    (root / "test/pneumonia/again").mkdir()
    shutil.copy(root / "train/pneumonia/train3p/1.png", root / "test/pneumonia/again/7.png")
    return root


def test_a_patient_and_an_image_in_train_and_test_end_in_a_report(
    data: Path, tmp_path: Path, hilum: Callable
) -> None:
    answer = hilum("study", data, "--out", tmp_path / "run", *SETTINGS)
    assert answer.code == 0, answer.err
    run = Run(tmp_path / "run")
    assert run.failed_stages == []
    left_out = {label for label, record in run.stage_records().items() if not record.finished}
    assert left_out == {"train multiclass"}
    split = run.split("binary")
    assert set(split.index[split == "unused"]) == {"train-normal-test0n-1", "train-pneumonia-train3p-1"}
    assert "1 of 1 group of identical images lies across splits" in answer.err
    assert answer.err.count(SENTENCE) == 1
    text = words_of(run.report_file.read_text(encoding="utf-8"))
    assert SENTENCE in text and "The split has leakage" not in text


def test_a_task_whose_training_fails_leaves_a_report(
    data: Path, tmp_path: Path, hilum: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise IndexError("list index out of range")

    monkeypatch.setattr("hilum.training.task.fit_task", fail)
    answer = hilum("study", data, "--out", tmp_path / "run", *SETTINGS)
    run = Run(tmp_path / "run")
    assert (answer.code, run.failed_stages) == (1, ["train binary"])
    assert "train binary failed (list index out of range)" in answer.err and "Traceback" not in answer.err
    text = words_of(run.report_file.read_text(encoding="utf-8"))
    assert "IndexError: list index out of range" in text


def test_a_stage_that_fails_costs_neither_the_others_nor_the_report(
    data: Path, tmp_path: Path, hilum: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyError("train-normal-0")

    monkeypatch.setattr("hilum.anomaly.roles.role_counts", fail)
    answer = hilum("study", data, "--out", tmp_path / "run", *SETTINGS)
    run = Run(tmp_path / "run")
    assert (answer.code, run.failed_stages) == (1, ["anomaly"])
    assert f"anomaly failed ('train-normal-0'); the traceback is in {run.path / 'errors'}" in answer.err
    assert "Traceback" not in answer.err and answer.out.strip() == str(run.report_file)
    records = run.stage_records()
    assert (records["anomaly"].status, records["anomaly"].reason) == ("failed", "KeyError: 'train-normal-0'")
    others = {f"{stage} binary" for stage in ("evaluate", "reliability", "explain", "robustness", "embed")}
    assert {each for each in others if records[each].finished} == others
    assert "KeyError" in words_of(run.report_file.read_text(encoding="utf-8"))
    assert "Traceback" in (run.path / "errors" / "anomaly.txt").read_text()
