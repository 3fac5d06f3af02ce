"""What is said of DICOM on the command line and in recipes: views, names, key; and files that can't be read."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from hilum.data.reading_options import ReadingOptions, Views
from hilum.data.sources import open_source
from hilum.errors import DataError
from hilum.run import Run
from tests.dicom_files import picture, write

from ..conftest import Answer

Command = Callable[..., Answer]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Eight patients of two classes, a lateral view among them, the patient's number in each name."""
    for number in range(8):
        label = ("normal", "virus")[number % 2]
        view = {"ViewPosition": "LL"} if number == 7 else {}
        path = tmp_path / "set" / label / f"MRN-4711{number}.dcm"
        write(path, picture(seed=number), 12, PatientID=f"MRN-4711{number}", **view)
    return tmp_path / "set"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    (tmp_path / "key.txt").write_text("the secret of the ward\n")
    return tmp_path / "key.txt"


def test_options_say_what_the_environment_says(
    data: Path, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = open_source(
        data, options=ReadingOptions(views=Views.all, dicom_key=key, show_names=False)
    ).table.drop(columns="path")
    named = open_source(data, options=ReadingOptions(show_names=True))
    plain = open_source(data)
    assert (len(said), len(named), len(plain)) == (8, 7, 7)
    assert set(named.table["patient"]) == {f"MRN-4711{number}" for number in range(7)}
    assert not set(said["patient"]) & set(plain.table["patient"])
    monkeypatch.setenv("HILUM_DICOM_VIEWS", "all")
    monkeypatch.setenv("HILUM_DICOM_KEY", "the secret of the ward")
    assert open_source(data).table.drop(columns="path").equals(said)
    frontal = open_source(data, options=ReadingOptions(views=Views.frontal))
    assert len(frontal) == 7  # an option comes before the environment


def test_a_key_that_can_not_be_used_is_one_sentence(data: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text(" \n")
    for name, words in {"gone": "can't be read", "empty": "is empty"}.items():
        with pytest.raises(DataError, match=f"--dicom-key .*{name} {words}.*a secret of your own"):
            open_source(data, options=ReadingOptions(dicom_key=tmp_path / name))


def test_all_views_are_those_of_file_names_too(tmp_path: Path) -> None:
    from tests.unit import public_sets
    from tests.unit.test_sources import images

    root = public_sets.chexpert(tmp_path)
    assert len(open_source(root)) + 1 == len(open_source(root, options=ReadingOptions(views=Views.all)))
    names = [
        f"{label}/p{n}/view{n}_{view}.png" for label in "ab" for n in (1, 2) for view in ("pa", "lateral")
    ]
    folder = images(tmp_path / "folder", *names)
    assert len(open_source(folder)) == 4
    assert len(open_source(folder, options=ReadingOptions(views=Views.all))) == 8


def test_a_run_keeps_the_options_and_not_the_key(
    data: Path, key: Path, tmp_path: Path, hilum: Command
) -> None:
    out = tmp_path / "run"
    words = ["--views", "all", "--dicom-key", key, "--task", "binary", "--set=skip_unreadable=true"]
    small = ["--set=binary.training.epochs=1", "--set=binary.pixels.size=[32,40]", "--set=replicates=0"]
    small += ["--set=binary.model={name: vgg, options: {blocks: [[4]], dense: [4]}}"]
    answer = hilum("train", data, "--out", out, *words, *small)
    assert answer.code == 0, answer.err
    assert Run(out).facts().data.reading.shaped_by == ["--views all"]
    written = [path.read_bytes() for path in out.rglob("*") if path.is_file()]
    assert not [text for text in written if b"the secret of the ward" in text]
    again = hilum("train", data, "--out", out, "--resume", "--task", "binary", *small)
    assert again.code == 0, again.err  # with the views and the key of the run
    assert len(Run(out).cases()) == 8


def test_a_file_that_can_not_be_read_is_named_to_its_owner_alone(
    data: Path, tmp_path: Path, hilum: Command
) -> None:
    bad = data / "normal" / "MRN-47110.dcm"
    bad.write_bytes(bad.read_bytes()[:-500])
    small = ["--task=binary", "--set=binary.training.epochs=1", "--set=binary.pixels.size=[32,40]"]
    small += ["--set=binary.model={name: vgg, options: {blocks: [[4]], dense: [4]}}", "--set=replicates=0"]
    refused = hilum("train", data, "--out", tmp_path / "no", *small)
    assert refused.code == 2 and f"1 of 7 files can't be read: {bad} (truncated);" in refused.err
    left_out = hilum("train", data, "--out", tmp_path / "run", "--skip-unreadable", *small)
    assert left_out.code == 0, left_out.err
    assert (
        f"1 unreadable file is left out: {bad} (truncated)" in left_out.err and str(bad) not in left_out.out
    )
    [name] = Run(tmp_path / "run").facts().skipped_files
    assert name.endswith("(truncated)") and "4711" not in name
    audited = hilum("data", "audit", data)
    assert f"{bad} can't be read (truncated)" in audited.err and "4711" not in audited.out
    exported = hilum("data", "to-png", data, "--out", tmp_path / "png")
    assert f"{bad} is no readable image (truncated)" in exported.err
    assert not [path for path in (tmp_path / "png").rglob("*.png") if "4711" in path.name]


def test_commands_take_the_options(data: Path, tmp_path: Path, hilum: Command) -> None:
    for words in (
        ["study"],
        ["train"],
        ["compare"],
        ["counterfactual"],
        ["data", "audit"],
        ["data", "to-png"],
    ):
        text = hilum(*words, "--help").out
        assert [name for name in ("--views", "--show-names", "--dicom-key") if name not in text] == []
    shown = json.loads(hilum("data", "inspect", data, "--show-names", "--format", "json").out)
    assert shown["shaped_by"] == ["--show-names"]
    hilum("data", "to-png", data, "--out", tmp_path / "png", "--show-names", "--views", "all")
    assert len(list((tmp_path / "png").rglob("*MRN-4711*.png"))) == 8
    lateral = data / "virus" / "MRN-47117.dcm"
    answers = [hilum("predict", lateral, "--format", "csv", *more).out for more in ((), ("--views", "all"))]
    assert ["a lateral or oblique view (LL)" in answer for answer in answers] == [True, False]


OTHERS: dict[str, tuple[dict[str, object], str]] = {
    "ct.dcm": ({"Modality": "CT"}, "a CT slice, not a radiograph of the chest"),
    "photo.dcm": ({"Modality": "XC"}, "a clinical photograph, not a radiograph of the chest"),
    "hand.dcm": ({"BodyPartExamined": "HAND"}, "its header says the body part HAND, not the chest"),
    "series.dcm": ({"NumberOfFrames": 2}, "2 frames, a series of pictures and not a single radiograph"),
}
"""Headers of what is no radiograph of a chest, and the reason that is given."""


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Files that are no frontal radiograph of a chest, one in colour, and two that are, in folders of classes."""
    for number, (name, (header, _)) in enumerate(OTHERS.items()):
        write(tmp_path / "set/flu" / name, picture(300, 300, seed=number), 12, **header)
    write(tmp_path / "set/flu/side.dcm", picture(300, 300), 12, ViewPosition="LATERAL")
    grey = (picture(300, 300) >> 4).astype(np.uint8)
    write(tmp_path / "set/flu/colour.dcm", cv2.applyColorMap(grey, cv2.COLORMAP_JET), 8, Modality="OT")
    for label in ("flu", "normal"):
        write(tmp_path / "set" / label / "good.dcm", picture(300, 300, seed=9), 12)
    return tmp_path / "set"


def test_predictions_name_what_is_no_frontal_chest(mixed: Path, hilum: Command) -> None:
    answer = hilum("predict", mixed, "--format", "csv")
    rows = {Path(row["file"]).name: row for row in csv.DictReader(answer.out.splitlines())}
    assert answer.code == 0 and len(rows) == len(OTHERS) + 3  # the two good ones have one name
    for name, (_, reason) in OTHERS.items():
        assert f"{name} is no readable image ({reason})" in rows[name]["error"]
    assert "a lateral or oblique view (LATERAL), not a frontal one" in rows["side.dcm"]["error"]
    colour, good = rows["colour.dcm"], rows["good.dcm"]
    assert (colour["error"], colour["abstained"]) == ("", "True")
    assert colour["reason"].startswith("The image is in colour, and the model was trained on grey images.")
    assert good["error"] == "" and "colour" not in good["reason"]


def test_a_study_names_what_is_no_frontal_chest(mixed: Path, hilum: Command) -> None:
    cases = open_source(mixed)
    assert "Lateral or oblique views, left out: 1." in cases.notes
    assert any(note.startswith("1 of 7 images are stored in colour") for note in cases.notes)
    audited = hilum("data", "audit", mixed)
    assert audited.code == 0
    for name, (_, reason) in OTHERS.items():
        assert f"{mixed / 'flu' / name} can't be read ({reason})" in audited.err
