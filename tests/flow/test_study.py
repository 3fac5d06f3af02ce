"""The main job from a folder of images to a report, and everything a person does with a run afterwards."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import hilum as package
from hilum.data.decode import read_grey
from hilum.files import read_json
from hilum.run import Run

from ..conftest import SMALL
from .test_any_classes import words_of


def test_a_finished_run_holds_what_the_docs_promise(small_run: Run) -> None:
    facts = small_run.facts()
    assert facts.status == "finished"
    assert facts.argv[:2] == ["hilum", "study"]
    assert facts.data.source == "phantom"
    assert set(facts.stages) >= {"prepare", "train binary", "evaluate multiclass", "reliability binary"}
    assert small_run.tasks == ("binary", "multiclass")
    for name in small_run.tasks:
        folder = small_run.task(name)
        assert len(folder.history()) == 2
        metrics = folder.metrics()
        assert set(metrics.splits) == {"train", "val", "test"}
        reliability = folder.reliability()
        assert (reliability.judged_on, reliability.cross_fitted) == ("test", False)
        assert {"probability", "views", "anomaly"} <= set(reliability.selective)
        accuracy = read_json(folder.metrics_file)["test"]["accuracy"]  # as others read it
        assert accuracy["value"] == accuracy["k"] / accuracy["n"]
        assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]
        assert metrics["test"].accuracy.set_fields() == accuracy
        assert (folder.model_folder / "golden.npz").exists()
    assert small_run.report_file.stat().st_size > 50_000


def test_metrics_follow_from_the_predictions_file(small_run: Run) -> None:
    """Counted again by hand from the CSV: nothing in metrics.json comes from elsewhere."""
    for name in ("binary", "multiclass"):
        table = small_run.task(name).predictions()
        metrics = small_run.task(name).metrics()
        assert set(metrics.splits) == set(table["split"]) == {"train", "val", "test"}
        for split, block in metrics.splits.items():
            rows = table[table["split"] == split]
            assert block.accuracy.k == int((rows["predicted"] == rows["target"]).sum())
            assert block.accuracy.n == len(rows)
            assert np.sum(block.confusion) == len(rows)


def test_predictions_are_those_of_the_loaded_model(small_run: Run) -> None:
    """load_model, pixels.apply and forward give the very logits in predictions.csv, from the image files."""
    model = package.load_model(small_run.path / "multiclass")
    paths = small_run.cases().table.set_index("case_id")["path"]
    rows = small_run.task("multiclass").predictions().head(6)
    x = torch.stack([model.pixels.apply(read_grey(paths[case])) for case in rows["case_id"]])
    with torch.no_grad():
        logits = model(x).numpy()
    written = rows[[f"logit_{name}" for name in model.classes]].to_numpy()
    np.testing.assert_allclose(logits, written, atol=2e-4)


def test_the_threshold_comes_from_val_alone(small_run: Run) -> None:
    from hilum.evaluation.decision import choose_threshold

    folder = small_run.task("binary")
    threshold = folder.card().threshold
    assert threshold is not None
    assert (threshold.chosen_on, threshold.positive) == ("val", "pneumonia")
    table = folder.predictions()
    val = table[table["split"] == "val"]
    abnormal = (val["target"] == "pneumonia").to_numpy()
    expected = choose_threshold(val["prob_pneumonia"].to_numpy(), abnormal, "youden")
    assert threshold.value == pytest.approx(expected, abs=1e-6)
    predicted = table["prob_pneumonia"] >= threshold.value
    assert (predicted == (table["predicted"] == "pneumonia")).mean() > 0.999  # nine digits in the CSV


def test_no_patient_is_on_both_sides(small_run: Run) -> None:
    cases = small_run.cases().table.set_index("case_id")
    for name in ("binary", "multiclass"):
        sides = cases.assign(side=small_run.split(name)).groupby("patient")["side"].nunique()
        assert sides.max() == 1
        assert small_run.facts().split[name].leaky is False


def test_the_report_says_how_the_data_was_read(small_run: Run) -> None:
    text = words_of(small_run.report_file.read_text(encoding="utf-8")).partition("How the data was read")[2]
    facts = small_run.facts().data
    for words in (
        "Reader phantom",
        f"Layout {facts.reading.layout}",
        "Healthy normal",
        facts.reading.patients,
    ):
        assert words in text, words
    assert "Classes normal: " in text


def test_the_intake_check_is_measured_on_held_out_images(small_run: Run) -> None:
    """Counted again from the files and the check beside the weights."""
    from hilum.inference.intake import Intake
    from hilum.inference.intake_features import PIXELS

    folder = small_run.task("binary")
    intake, shares = Intake.load(folder.intake_file), folder.reliability().intake
    assert shares is not None and shares.reason is None and shares.fitted_on_val
    assert (shares.n, shares.rate, shares.colour) == (len(intake.known), intake.rate, True)
    table = small_run.cases().table
    for part, figure in (("val", shares.val), ("test", shares.test)):
        inside = table[table["case_id"].map(small_run.split("binary")) == part]
        images = np.stack([PIXELS.prepare(read_grey(path)) for path in inside["path"]])
        assert figure is not None
        assert (figure.k, figure.n) == ((intake.judge(images)[0] <= intake.rate).sum(), len(inside))
    assert [share.kind for share in shares.altered][:1] and shares.altered_from == "test"
    text = words_of(small_run.report_file.read_text(encoding="utf-8"))
    assert "Normal vs pneumonia: intake check" in text and "Test images as they are" in text
    assert f"An image of fewer than {shares.fewest_pixels} rows or columns" in text


def test_resume_of_a_finished_run_trains_nothing(
    small_run: Run, phantom_data: Path, tmp_path: Path, hilum
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(small_run.path, copy)
    weights = copy / "binary" / "model" / "weights.safetensors"
    before = weights.stat().st_mtime_ns
    answer = hilum("study", phantom_data, "--out", copy, "--resume", *SMALL)
    assert answer.code == 0
    assert answer.out.strip() == str(copy / "report" / "index.html")
    assert weights.stat().st_mtime_ns == before


def test_a_task_can_be_added_later(small_run: Run, phantom_data: Path, tmp_path: Path, hilum) -> None:
    """First one task, then the other in the same folder: nothing of the first is lost."""
    out = tmp_path / "two"
    assert hilum("train", phantom_data, "--out", out, "--task", "binary", *SMALL).code == 0
    first = Run(out).task("binary").metrics()
    answer = hilum("study", phantom_data, "--out", out, "--task", "multiclass", "--resume", *SMALL)
    assert answer.code == 0, answer.err
    run = Run(out)
    assert run.tasks == ("binary", "multiclass")
    assert set(run.recipe()["tasks"]) == set(run.facts().split) == {"binary", "multiclass"}
    assert run.task("binary").metrics() == first
    for name in run.tasks:
        pd.testing.assert_series_equal(run.split(name), small_run.split(name))
    assert hilum("evaluate", out).code == 0


def test_a_resolved_recipe_repeats_the_run(small_run: Run, phantom_data: Path, tmp_path: Path, hilum) -> None:
    out = tmp_path / "again"
    answer = hilum("train", phantom_data, "--preset", small_run.recipe_file, "--task", "binary", "--out", out)
    assert answer.code == 0, answer.err
    first, force = (Run(path).task("binary").metrics() for path in (small_run.path, out))
    assert first["test"].auroc.value == pytest.approx(force["test"].auroc.value, abs=1e-6)
    assert not (out / "report").exists()


def test_evaluate_and_report_come_again_from_the_run(small_run: Run, tmp_path: Path, hilum) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(small_run.path, copy)
    before = Run(copy).task("binary").metrics()
    for name in ("metrics.json", "predictions.csv"):
        (copy / "binary" / name).unlink()
    shutil.rmtree(copy / "report")
    answer = hilum("evaluate", copy)
    assert answer.code == 0
    assert Run(copy).task("binary").metrics() == before
    assert f"{before['test'].auroc.value:.3f}" in answer.out
    assert hilum("report", copy).out.strip() == str(copy / "report" / "index.html")


def test_audit_and_phantom_and_recipe_commands(phantom_data: Path, tmp_path: Path, hilum) -> None:
    answer = hilum("data", "audit", phantom_data)
    assert answer.code == 0
    assert "contrast" in answer.out
    folder = tmp_path / "drawn"
    assert hilum("data", "phantom", folder, "--patients", 20).out.strip() == str(folder)
    assert len(pd.read_csv(folder / "cases.csv")) >= 20
    recipe = hilum("recipe", "best", "--set", "binary.training.epochs=7")
    assert "epochs: 7" in recipe.out


@pytest.mark.slow
def test_kill_9_and_resume_ends_with_the_same_weights(phantom_data: Path, tmp_path: Path) -> None:
    """Killed after an epoch, gone on with --resume: the bytes of an uninterrupted run."""
    script = "from hilum.cli import main; main()"
    choices = [*SMALL, "--set=binary.training.epochs=6", "--task=binary"]

    def command(out: Path) -> list[str]:
        return [
            sys.executable,
            "-c",
            script,
            "train",
            str(phantom_data),
            "--out",
            str(out),
            "--resume",
            *choices,
        ]

    quiet = {
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
        "env": {**os.environ, "OMP_NUM_THREADS": "1"},
    }
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    with subprocess.Popen(command(cut), **quiet) as process:
        history = cut / "binary" / "history.csv"
        while process.poll() is None and not (history.exists() and len(history.read_text().splitlines()) > 2):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert not (cut / "binary" / "model" / "model.json").exists(), "the training was over before the kill"
    subprocess.run(command(cut), check=True, **quiet)
    subprocess.run(command(whole), check=True, **quiet)
    files = [folder / "binary" / "model" / "weights.safetensors" for folder in (cut, whole)]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.real
@pytest.mark.slow
def test_real_radiographs_to_the_end(real_data: Path, tmp_path: Path, hilum) -> None:
    """Small pixels, one epoch: the flow on the real set, and a figure far from chance."""
    out = tmp_path / "real"
    small = [config for config in SMALL if "epochs" not in config]
    one = ["--set=binary.training.epochs=1", "--set=multiclass.training.epochs=1"]
    answer = hilum("study", real_data, "--out", out, *small, *one)
    assert answer.code == 0, answer.err
    run = Run(out)
    assert run.facts().data.n_cases == 5232
    area = run.task("binary").metrics()["val"].auroc.value
    assert area is not None and area > 0.8
    assert "val" in run.task("multiclass").metrics()
    assert run.report_file.stat().st_size < 25_000_000


def test_every_image_is_decoded_once_for_a_model_and_never_again(
    phantom_data: Path, tmp_path: Path, hilum, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training, evaluation and explanations share one cache; a second run decodes nothing. (Concepts, which
    exist on phantoms alone, are measured on the images at their own size.)"""
    from hilum.data import decode

    monkeypatch.setenv("HILUM_CACHE", str(tmp_path / "cache"))
    decoded: list[str] = []
    choices = [*SMALL, "--set=explain.layers.concepts=0"]
    real = decode.read_grey
    monkeypatch.setattr(decode, "read_grey", lambda path: decoded.append(str(path)) or real(path))
    for out in ("first", "second"):
        answer = hilum("train", phantom_data, "--out", tmp_path / out, "--task", "binary", *choices)
        assert answer.code == 0, answer.err
        images = len(Run(tmp_path / out).cases())
        assert len(decoded) == len(set(decoded)) == images


def test_ctrl_c_says_how_to_go_on(
    phantom_data: Path, tmp_path: Path, hilum, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hilum.training.task.fit_task", stop)
    answer = hilum("study", phantom_data, "--out", tmp_path / "run", *SMALL)
    assert answer.code == 130
    assert "go on with the same command and --resume" in answer.err
    monkeypatch.undo()
    assert Run(tmp_path / "run").facts().status == "started"


def test_embed_again_and_ask_for_neighbours(small_run: Run, tmp_path: Path, hilum) -> None:
    """Other choices change the stage; the neighbours of an image never belong to its own patient."""
    copy = tmp_path / "copy"
    shutil.copytree(small_run.path, copy)
    answer = hilum("embed", copy, "--set", "k=3", "--set", "maps=[pca]", "--set", "baselines=[]")
    assert answer.code == 0, answer.err
    embeddings = Run(copy).task("binary").embeddings
    assert Run(copy).recipe()["embed"]["k"] == 3, "the recipe keeps what was asked for"
    near = embeddings.neighbors()
    assert set(near["case_id"]) == set(small_run.cases().table["case_id"])
    patient = small_run.cases().table.set_index("case_id")["patient"]
    assert (near["case_id"].map(patient) != near["neighbor"].map(patient)).all()
    image = small_run.cases().table["path"][0]
    sheet = tmp_path / "sheet.png"
    answer = hilum("neighbors", copy, image, "--task", "binary", "--k", 4, "--sheet", sheet)
    assert answer.code == 0, answer.err
    assert sheet.stat().st_size > 1000
    assert answer.out.count("person") >= 4
