"""Whatever a person gets wrong ends in one sentence with value, place and remedy, exit code 2, no loss."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from hilum.recipe import FORMAT_1_KEYS
from hilum.run import Run

from ..conftest import SMALL, Answer

Command = Callable[..., Answer]


def refused(answer: Answer, *words: str) -> None:
    """One sentence on standard error, exit code 2, no traceback, and the words that matter."""
    assert answer.code == 2, answer
    assert "Traceback" not in answer.err
    last = answer.err.strip().splitlines()[-1]
    assert last.startswith("hilum: ")
    for word in words:
        assert word in last, last


def images(folder: Path, counts: dict[str, int]) -> Path:
    """A folder of noise images, one folder per class."""
    chance = np.random.default_rng(0)
    for label, count in counts.items():
        (folder / label).mkdir(parents=True)
        for number in range(count):
            cv2.imwrite(
                str(folder / label / f"{number}.png"), chance.integers(0, 256, (40, 48), dtype=np.uint8)
            )
    return folder


def test_missing_folder(tmp_path: Path, hilum: Command) -> None:
    refused(hilum("study", tmp_path / "nowhere", "--out", tmp_path / "run"), "nowhere", "does not exist")
    assert not (tmp_path / "run").exists()


def test_empty_class(tmp_path: Path, hilum: Command) -> None:
    data = images(tmp_path / "data", {"normal": 4, "pneumonia": 0})
    refused(hilum("study", data, "--out", tmp_path / "run"), "pneumonia")


def test_one_class_only(tmp_path: Path, hilum: Command) -> None:
    data = images(tmp_path / "data", {"normal": 6})
    refused(hilum("study", data, "--out", tmp_path / "run"), "'normal'", "at least two classes")


def test_too_few_patients(tmp_path: Path, hilum: Command) -> None:
    data = images(tmp_path / "data", {"normal": 1, "pneumonia": 9})
    refused(hilum("study", data, "--out", tmp_path / "run", *SMALL), "normal")


def test_a_label_not_known(tmp_path: Path, hilum: Command) -> None:
    data = images(tmp_path / "data", {"normal": 2, "pneumonia": 2})
    table = tmp_path / "table.csv"
    table.write_text(
        "path,label,split\ndata/normal/0.png,normal,train\ndata/pneumonia/0.png,pneumonia,tset\n"
    )
    refused(hilum("study", table, "--out", tmp_path / "run"), "row 3", "'tset'", "train, val, test")
    assert data.exists()


@pytest.mark.parametrize("content", [b"", b"this is no image", b"\x89PNG\r\n\x1a\n cut off"])
def test_a_file_that_is_no_image(content: bytes, tmp_path: Path, hilum: Command) -> None:
    data = images(tmp_path / "data", {"normal": 12, "pneumonia": 12})
    bad = data / "normal" / "3.png"
    bad.write_bytes(content)
    refused(
        hilum("study", data, "--out", tmp_path / "run", *SMALL),
        "1 of 24 files can't be read",
        "--skip-unreadable",
    )
    answer = hilum("study", data, "--out", tmp_path / "skipped", "--skip-unreadable", *SMALL)
    assert answer.code == 0, answer.err
    assert len(Run(tmp_path / "skipped").cases()) == 23
    assert "3" in Run(tmp_path / "skipped").facts().skipped_files[0]


def test_recipe_with_wrong_key_or_range(phantom_data: Path, tmp_path: Path, hilum: Command) -> None:
    out = tmp_path / "run"
    wrong = "--set=binary.training.epoch=3"
    refused(hilum("study", phantom_data, "--out", out, wrong), "'tasks.binary.training.epoch'", "'epochs'")
    refused(hilum("study", phantom_data, "--out", out, "--set=binary.training.epochs=-1"), "epochs = -1")
    refused(hilum("study", phantom_data, "--out", out, "--preset", "quickk"), "'quickk'", "'quick'")
    refused(hilum("study", phantom_data, "--out", out, "--task", "binray"), "'binray'", "'binary'")
    assert not out.exists()


def test_a_run_folder_that_is_taken_foreign_or_half_written(
    small_run: Run, tmp_path: Path, hilum: Command
) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "letter.txt").write_text("mine")
    refused(hilum("study", "phantom", "--out", taken, *SMALL), "already holds files", "--resume")
    assert (taken / "letter.txt").read_text() == "mine"
    refused(hilum("report", taken), "has no run.json")
    refused(hilum("report", tmp_path / "none"), "does not exist")
    old = tmp_path / "old"
    shutil.copytree(small_run.path, old)
    (old / "run.json").write_text(json.dumps({**json.loads(small_run.facts_file.read_text()), "format": 1}))
    for command in ("report", "evaluate", "embed", "anomaly", "explain", "robustness", "leakage"):
        refused(hilum(command, old), "format 1", "this hilum reads format 2", "make the run again")
    (old / "run.json").write_text('{"format"')
    refused(hilum("evaluate", old), "run.json is damaged")


def test_going_on_with_other_data_or_another_recipe(
    small_run: Run, phantom_data: Path, tmp_path: Path, hilum: Command
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(small_run.path, copy)
    changed = [*SMALL, "--set=binary.training.epochs=9"]
    refused(hilum("study", phantom_data, "--out", copy, "--resume", *changed), "another recipe for 'binary'")
    recipe = Run(copy).recipe()
    del recipe["tasks"]["binary"]["pixels"]["trim"]  # a setting that an older hilum did not know
    Run(copy).write_recipe(recipe)
    refused(hilum("study", phantom_data, "--out", copy, "--resume", *changed), "another recipe for 'binary'")
    assert hilum("study", phantom_data, "--out", copy, "--resume", *SMALL).code == 0
    other = images(tmp_path / "data", {"normal": 12, "pneumonia": 12})
    refused(hilum("study", other, "--out", copy, "--resume", *SMALL), "other data")


def test_a_full_disk_and_no_permission(
    phantom_data: Path, tmp_path: Path, hilum: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder below a file is the system's own error; a full disk and missing rights are put in place."""
    (tmp_path / "file").write_text("")
    refused(hilum("study", phantom_data, "--out", tmp_path / "file" / "run", *SMALL), str(tmp_path / "file"))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", str(tmp_path / "run"))

    monkeypatch.setattr("hilum.runner.Run.create", full)
    refused(hilum("study", phantom_data, "--out", tmp_path / "run", *SMALL), "no space left", "--resume")

    def forbidden(*_: object) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path / "run"))

    monkeypatch.setattr("hilum.runner.Run.create", forbidden)
    refused(
        hilum("study", phantom_data, "--out", tmp_path / "run", *SMALL), "no permission", "another folder"
    )


def test_predict_names_what_it_cannot_use(small_run: Run, tmp_path: Path, hilum: Command) -> None:
    image = small_run.cases().table["path"][0]
    refused(
        hilum("predict", tmp_path / "no.png", "--model", small_run.path / "binary"),
        "no.png",
        "does not exist",
    )
    refused(hilum("predict", image, "--model", tmp_path), "holds no model")
    refused(hilum("predict", image, "--model", small_run.path), "several models", "binary, multiclass")


def test_weights_that_were_changed(small_run: Run, tmp_path: Path, hilum: Command) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(small_run.path, copy)
    weights = copy / "binary" / "model" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    for command in ("evaluate", "embed", "anomaly"):
        refused(hilum(command, copy), "is not the file that model.json was written for", "delete")


@pytest.mark.parametrize("command", ["report", "evaluate", "embed", "anomaly", "explain", "robustness"])
def test_a_run_that_is_not_there(command: str, tmp_path: Path, hilum: Command) -> None:
    refused(hilum(command, tmp_path / "none"), "none", "does not exist", "hilum study")


def test_a_run_without_training(small_run: Run, tmp_path: Path, hilum: Command) -> None:
    """Stopped before its first epoch."""
    copy = tmp_path / "copy"
    shutil.copytree(small_run.path, copy)
    for name in small_run.tasks:
        shutil.rmtree(copy / name)
    image = small_run.cases().table["path"][0]
    refused(hilum("neighbors", copy, image), "holds no trained model", "--resume")
    refused(hilum("explain", copy, "--image", image), "holds no trained model", "--resume")
    refused(hilum("predict", image, "--model", copy / "binary"), "holds no model")


def test_a_setting_task_or_method_that_is_not_known(small_run: Run, hilum: Command) -> None:
    """The nearest name that is known; the run stays as it was."""
    run = small_run.path
    before = [small_run.recipe_file.read_bytes(), small_run.facts_file.read_bytes()]
    refused(hilum("embed", run, "--task", "binray"), "'binray'", "'binary'")
    refused(hilum("embed", run, "--set", "neighbor=3"), "'embed.neighbor'", "recipe.yaml")
    refused(hilum("embed", run, "--set", "k=-1"), "embed.k = -1")
    refused(hilum("embed", run, "--set", "k"), "has no '='")
    refused(hilum("explain", run, "--method", "grad_camm"), "'grad_camm'", "'grad_cam'")
    refused(hilum("anomaly", run, "--detector", "patch_memry"), "'patch_memry'", "'patch_memory'")
    refused(hilum("robustness", run, "--set", "corruptons=[block]"), "corruptons", "'corruptions'")
    refused(hilum("explain", run, "--case", "nobody"), "'nobody'")
    assert [small_run.recipe_file.read_bytes(), small_run.facts_file.read_bytes()] == before


def test_a_setting_that_a_stage_refuses_is_not_kept(small_run: Run, tmp_path: Path, hilum: Command) -> None:
    """Neither in the recipe nor in the record; what the stage made before stays in the report."""
    copy = tmp_path / "copy"
    shutil.copytree(small_run.path, copy)
    before = [Run(copy).recipe(), Run(copy).stage_records()]
    refused(hilum("embed", copy, "--set", "layer=nowhere"), "'nowhere'")
    assert [Run(copy).recipe(), Run(copy).stage_records()] == before
    assert hilum("embed", copy).code == 0


@pytest.mark.parametrize("key", FORMAT_1_KEYS)
def test_a_recipe_of_another_format(key: str, tmp_path: Path, hilum: Command) -> None:
    recipe = tmp_path / "old.yaml"
    recipe.write_text(
        f"name: old\ntasks: {{{key}: {{}}}}\n" if key == FORMAT_1_KEYS[-1] else f"name: old\n{key}: {{}}\n"
    )
    for words in (["recipe", recipe], ["study", "phantom", "--preset", recipe, "--out", tmp_path / "run"]):
        refused(hilum(*words), "old.yaml", "format 1", "this hilum reads format 2", "hilum recipe quick")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("file", "remedy"),
    [
        ("binary/metrics.json", "hilum evaluate RUN --force"),
        ("multiclass/embeddings/figures.json", "hilum embed RUN --force"),
        ("anomaly/figures.json", "hilum anomaly RUN --force"),
        ("audit.json", "delete it"),
    ],
)
def test_an_artifact_of_another_schema_version(
    file: str, remedy: str, small_run: Run, tmp_path: Path, hilum: Command
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(small_run.path, copy)
    text = (copy / file).read_text()
    old = re.search(r'"schema_version": \d+', text)
    assert old
    (copy / file).write_text(text.replace(old.group(), '"schema_version": 99'))
    refused(hilum("report", copy), file, "schema version 99", "this hilum reads", remedy)
    assert (copy / "report" / "index.html").read_bytes() == small_run.report_file.read_bytes()


def test_predict_on_a_device_that_is_not_there(
    small_run: Run, hilum: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    words = ["predict", small_run.cases().table["path"][0], "--model", small_run.path / "binary", "--device"]
    refused(hilum(*words, "cuda"), "'cuda'", "--device auto")
    refused(hilum(*words, "gpu"), "'gpu'", "cpu")


def test_predict_on_a_folder_with_a_damaged_image(small_run: Run, tmp_path: Path, hilum: Command) -> None:
    """The others are predicted; --strict makes it exit code 2."""
    shutil.copy(small_run.cases().table["path"][0], tmp_path / "good.png")
    (tmp_path / "bad.png").write_text("this is no image")
    words = ["predict", tmp_path, "--model", small_run.path / "binary", "--format", "csv"]
    answer, strict = hilum(*words), hilum(*words, "--strict")
    assert (answer.code, strict.code) == (0, 2)
    assert answer.out == strict.out and len(answer.out.splitlines()) == 3
    assert "1 of 2 images could not be read" in answer.err and "Traceback" not in answer.err + strict.err


def test_a_stage_that_fails_is_exit_code_1(
    small_run: Run, tmp_path: Path, hilum: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A defect of hilum: the sentence says where the traceback is."""
    copy = tmp_path / "copy"
    shutil.copytree(small_run.path, copy)

    def broken(*_: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("hilum.robustness.corruptions.measure_corruptions", broken)
    answer = hilum("robustness", copy)
    assert answer.code == 1
    assert "robustness binary failed (ZeroDivisionError: by zero)" in answer.err.splitlines()[-1]
    assert len(list((copy / "errors").glob("robustness-*.txt"))) == 2
