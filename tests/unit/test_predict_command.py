"""`hilum predict`: table, JSON and CSV, bad images among good ones, exit codes, attribution pictures."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from hilum.inference.prediction import Abnormal, ModelName, Ood, Prediction
from hilum.inference.predictor import Predictor
from hilum.inference.show import notes, predictions_csv, predictions_table, set_text
from hilum.run import Run

CLASSES = ("normal", "bacteria", "virus")


@pytest.fixture
def images(small_run: Run) -> list[Path]:
    return [Path(path) for path in small_run.cases().table["path"].head(3)]


def test_json_is_what_python_gives(small_run: Run, images: list[Path], hilum: Callable) -> None:
    import hilum as package

    model = small_run.path / "multiclass"
    answer = hilum("predict", *images, "--model", model, "--format", "json")
    expected = [prediction.model_dump(mode="json") for prediction in package.predict(images, model)]
    assert (answer.code, json.loads(answer.out), answer.err) == (0, expected, "")


def test_csv_has_the_same_content_in_columns(small_run: Run, images: list[Path], hilum: Callable) -> None:
    model = small_run.path / "multiclass"
    rows = json.loads(hilum("predict", *images, "--model", model, "--format", "json").out)
    text = hilum("predict", *images, "--model", model, "--format", "csv").out
    table = list(csv.DictReader(io.StringIO(text)))
    assert [*table[0]] == [
        *("file", "prediction", "abstained", "reason"),
        *("abnormal_probability", "abnormal_threshold", "abnormal_positive"),
        *(f"probability_{name}" for name in CLASSES),
        *("prediction_set", "coverage", "ood_p_value", "ood_flagged"),
        *("attribution", "error", "model_name", "model_digest"),
    ]
    assert [line["file"] for line in table] == [str(image) for image in images]
    for line, row in zip(table, rows, strict=True):
        assert line["prediction"] == (row["prediction"] or "")
        assert float(line["abnormal_probability"]) == row["abnormal"]["probability"]
        assert [float(line[f"probability_{name}"]) for name in CLASSES] == [*row["probabilities"].values()]
        assert line["prediction_set"] == set_text(row["prediction_set"])
        assert float(line["ood_p_value"]) == row["ood"]["p_value"]
        assert line["model_digest"] == row["model"]["digest"]


def test_the_table_shows_each_image_and_what_the_columns_mean(
    small_run: Run, images: list[Path], hilum: Callable
) -> None:
    answer = hilum("predict", *images, "--model", small_run.path / "multiclass")
    lines = answer.out.splitlines()
    assert lines[0].split()[:3] == ["file", "prediction", "P(abnormal)"]
    assert "attribution" not in lines[0] and "error" not in lines[0]  # nothing to show in these columns
    assert [line.split()[0] for line in lines[1:4]] == [str(image) for image in images]
    assert lines[4] == ""
    assert "holds the true class for 90 % of images like the calibration images" in answer.out
    assert lines[-1] == "Research use only; not a medical device."


def made(number: int, **changes: object) -> Prediction:
    plain = {
        "file": f"{number}.png",
        "prediction": "virus",
        "abstained": False,
        "reason": None,
        "abnormal": Abnormal(probability=0.75, threshold=0.5, positive=True),
        "probabilities": {"normal": 0.25, "bacteria": 0.25, "virus": 0.5},
        "findings": None,
        "prediction_set": ["bacteria", "virus"],
        "coverage": 0.9,
        "ood": Ood(p_value=0.25, flagged=False),
        "attribution": None,
        "error": None,
        "model": ModelName(name="packaged", digest="abc"),
    }
    return Prediction.model_validate({**plain, **changes})


def test_a_table_and_csv_of_all_kinds_of_answers() -> None:
    rows = [
        made(0),
        made(1, prediction=None, abstained=True, reason="The models disagree.", prediction_set=[]),
        Prediction.failed("2.png", "2.png is empty", ModelName(name="packaged", digest="abc")),
        made(3, file=None),
    ]
    table = predictions_table(rows, CLASSES)
    columns = {str(column.header): list(column.cells) for column in table.columns}
    assert columns["file"] == ["0.png", "1.png", "2.png", "image 3"]
    assert columns["prediction"] == ["virus", "abstained", "", "virus"]
    assert columns["P(abnormal)"] == ["0.7500", "0.7500", "", "0.7500"]
    assert columns["prediction set"] == ["bacteria or virus", "none", "", "bacteria or virus"]
    assert columns["OOD p-value"] == ["0.2500", "0.2500", "", "0.2500"]
    assert columns["reason"] == ["", "The models disagree.", "", ""]
    assert columns["error"] == ["", "", "2.png is empty", ""]
    assert "attribution" not in columns
    assert notes(rows).count("\n") == 2 and "OOD p-value is small" in notes(rows)
    lines = predictions_csv(rows, CLASSES).splitlines()
    assert lines[3] == "2.png,,False,,,,,,,,,,,,,2.png is empty,packaged,abc"


def test_one_bad_image_in_a_folder(
    small_run: Run, images: list[Path], tmp_path: Path, hilum: Callable
) -> None:
    for image in images:
        (tmp_path / image.name).write_bytes(image.read_bytes())
    (tmp_path / "a.png").write_text("hello")
    words = ("predict", tmp_path, "--model", small_run.path / "binary", "--format", "json")
    answer, strict = hilum(*words), hilum(*words, "--strict")
    assert (answer.code, strict.code) == (0, 2)
    assert answer.err == strict.err == "1 of 4 images could not be read; see the column error\n"
    assert answer.out == strict.out
    rows = json.loads(answer.out)
    assert [row["error"] is None for row in rows] == [False, True, True, True]
    assert "a.png is no readable image" in rows[0]["error"]
    table = hilum("predict", tmp_path, "--model", small_run.path / "binary")
    assert table.code == 0 and "a.png is no readable image (not an image" in table.out


def test_no_readable_image_at_all_is_an_error(small_run: Run, tmp_path: Path, hilum: Callable) -> None:
    (tmp_path / "a.png").write_text("hello")
    answer = hilum("predict", tmp_path / "a.png", "--model", small_run.path / "binary")
    assert answer.code == 2 and "1 of 1 images could not be read" in answer.err
    assert "a.png is no readable image" in answer.out


def test_a_device_or_model_that_is_not_there(
    small_run: Run, images: list[Path], tmp_path: Path, hilum: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    absent = hilum("predict", *images, "--device", "cuda")
    sentence = "hilum: device 'cuda' was asked for, but it is not there; use --device auto\n"
    assert (absent.code, absent.out, absent.err) == (2, "", sentence)
    missing = hilum("predict", *images, "--model", tmp_path / "no")
    assert missing.code == 2 and "holds no model" in missing.err
    gone = hilum("predict", tmp_path / "no.png")
    assert (
        gone.code == 2 and gone.err == f"hilum: image {tmp_path / 'no.png'} does not exist; check the path\n"
    )


def test_memory_that_runs_out_is_one_sentence(
    images: list[Path], hilum: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("hilum.serving.command.predictor_for", full)
    answer = hilum("predict", *images)
    assert answer.code == 2
    assert answer.err.startswith("hilum: memory ran out while predicting; close other programs")


@pytest.mark.parametrize("task", [None, "multiclass"])
def test_attribution_pictures_of_packaged_and_own_models(
    task: str | None, small_run: Run, images: list[Path], tmp_path: Path, hilum: Callable
) -> None:
    twin = tmp_path / "twin" / images[0].name
    twin.parent.mkdir()
    twin.write_bytes(images[0].read_bytes())
    model = ["--model", small_run.path / task] if task else []
    folder = tmp_path / "pictures"
    answer = hilum("predict", images[0], twin, *model, "--format", "json", "--attribution", folder)
    assert answer.code == 0, answer.err
    rows = json.loads(answer.out)
    names = [f"{images[0].stem}.png", f"{images[0].stem}-2.png"]
    assert [row["attribution"] for row in rows] == [str(folder / name) for name in names]
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    pictures = [cv2.imread(row["attribution"]) for row in rows]
    assert all(picture is not None and picture.shape[1] > 300 for picture in pictures)
    coloured = np.ptp(np.asarray(pictures[0])[:300, 360:].astype(int), axis=2)
    assert coloured.max() > 30  # the right half is the map over the image


@pytest.mark.parametrize(("threshold", "target"), [(0.0, 1), (1.0, 0)])
def test_a_picture_explains_the_class_that_was_decided(
    threshold: float, target: int, small_run: Run, images: list[Path]
) -> None:
    """By the threshold, not the most probable one."""
    explained: list[int] = []

    class Painter:
        def keep(self, image: np.ndarray) -> np.ndarray:
            return image[:8, :8]

        def paint(self, file: str | None, picture: np.ndarray, prepared: np.ndarray, target: int) -> str:
            explained.append(target)
            return "picture.png"

    predictor = Predictor.load(small_run.path / "binary", "cpu")
    rules = replace(predictor.classifier.rules, threshold=threshold)
    classifier = replace(predictor.classifier, rules=rules)
    list(replace(predictor, classifier=classifier, painter=Painter()).stream(map(str, images[:3])))
    assert explained == [target] * 3


def test_a_picture_is_the_map_of_the_original_image(small_run: Run, images: list[Path]) -> None:
    """The small copy that the painter keeps gives the same picture as the image itself."""
    from hilum.data.decode import read_grey
    from hilum.report.explanations.png import TILE
    from hilum.report.heat import small

    image = read_grey(images[0])
    kept = small(image, TILE)
    np.testing.assert_array_equal(small(kept, TILE), kept)


def test_progress_counts_images_and_leaves_no_trace_in_a_pipe(
    small_run: Run, images: list[Path], hilum: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[tuple[int, int]] = []
    monkeypatch.setattr(
        "rich.progress.Progress.update",
        lambda self, task, completed, total: shown.append((completed, total)),
    )
    answer = hilum("predict", *images, "--model", small_run.path / "binary", "--format", "csv")
    assert answer.err == "" and shown == [(1, 3), (2, 3), (3, 3)]


def test_other_files_of_a_folder_are_counted_and_named_and_hidden_ones_are_not(
    small_run: Run, images: list[Path], tmp_path: Path, hilum: Callable
) -> None:
    for place in ("a", "a/__MACOSX", ".git"):
        (tmp_path / place).mkdir()
    (tmp_path / "a" / "x.png").write_bytes(images[0].read_bytes())
    (tmp_path / "b.png").write_text("no image")
    (tmp_path / "folder.png").mkdir()
    for name in ("a/__MACOSX/._x.png", "._b.png", ".DS_Store", ".git/c.png"):
        (tmp_path / name).write_bytes(b"\0\5\26\7x")
    for name in ("notes.txt", "labels.xls", "a/more.TXT", "README"):
        (tmp_path / name).write_text("text")
    words = ("predict", tmp_path, "--model", small_run.path / "binary", "--format", "json")
    answer = hilum(*words)
    rows = json.loads(answer.out)
    assert answer.code == 0
    assert [Path(row["file"]).name for row in rows] == ["x.png", "b.png"]
    assert [row["error"] is None for row in rows] == [True, False]
    assert answer.err.splitlines() == [
        "4 files are no images and were left out (.txt 2, no suffix 1, .xls 1): README, more.TXT, labels.xls, ...",
        "1 of 2 images could not be read; see the column error",
    ]
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "a.txt").write_text("text")
    none = hilum("predict", tmp_path / "only")
    assert none.code == 2
    assert (
        "only holds no images (1 file is no image and was left out (.txt 1): a.txt); name image" in none.err
    )


def test_a_path_that_can_not_be_reached_is_one_sentence(hilum: Callable) -> None:
    answer = hilum("predict", "x" * 300 + ".png")
    assert answer.code == 2 and "can't be reached (File name too long); check the path" in answer.err
