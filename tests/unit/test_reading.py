"""How data is read: the table that says it, and the options that correct it, also when a run goes on."""

import json
from pathlib import Path

import pytest

from hilum.data.cases import Cases
from hilum.data.corrections import corrected
from hilum.data.reading_options import ReadingOptions, as_changes
from hilum.data.show import reading_text
from hilum.data.sources import open_source
from hilum.errors import DataError, RecipeError
from hilum.recipe import load_recipe
from hilum.run import Run
from hilum.runner import study
from tests.unit.test_sources import facts, images


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two classes without a healthy word, patients in the file names of a family that hilum does not know."""
    names = [f"{label}/{kind}/x{number // 2}-{number}.png" for label in ("covid", "other")
             for kind in ("images", "masks") for number in range(8)]  # fmt: skip
    return images(tmp_path / "data", *names)


def read(data: Path, **options: object) -> Cases:
    return open_source(data, options=ReadingOptions.model_validate(options))


def test_a_set_without_a_healthy_class_is_read_and_says_so(data: Path) -> None:
    cases = read(data)
    assert cases.labels == ("covid", "other")
    assert "none known; --healthy NAME names one" in reading_text(cases)


def test_healthy_names_the_label(data: Path) -> None:
    cases = read(data, healthy="OTHER")
    assert cases.labels == ("normal", "covid")
    assert cases.reading.healthy == "other"
    with pytest.raises(
        DataError, match=r"--healthy othr: the data has no such label; did you mean 'other'\?"
    ):
        read(data, healthy="othr")


def test_healthy_against_a_word_that_means_it(tmp_path: Path) -> None:
    root = images(tmp_path, "covid/a.png", "Control/b.png", "Normal/c.png")
    assert read(root).labels == ("normal", "control", "covid")
    with pytest.raises(
        DataError, match=r"--healthy Control: the data has the healthy label 'Normal' as well"
    ):
        read(root, healthy="Control")
    assert read(root, healthy="Control", exclude=["Normal"]).labels == ("normal", "covid")


def test_the_first_group_of_the_pattern_is_the_patient(data: Path) -> None:
    cases = read(data, patient_from=r"(x\d+)-\d+\.png$")
    assert set(cases.table["patient"]) == {"x0", "x1", "x2", "x3"}
    assert cases.reading.patients == "--patient-from (16 images)"
    assert not any("own patient" in note for note in cases.notes)


def test_a_pattern_that_fits_a_part_counts_the_others(data: Path) -> None:
    cases = read(data, patient_from=r"(x[01])-")
    assert cases.table["patient"].nunique() == 2 + 8
    assert cases.notes[-1].startswith("--patient-from fits 8 of 16 paths")


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("(x", r"it is no regular expression"),
        (r"x\d", "it has no group; put the part that is the patient in brackets"),
    ],
)
def test_a_pattern_that_can_not_be_used(data: Path, hilum, pattern: str, words: str) -> None:
    for command in ("inspect", "audit"):
        answer = hilum("data", command, data, "--patient-from", pattern)
        assert answer.code == 2
        assert f"--patient-from {pattern!r} is not possible: {words}" in answer.err
    with pytest.raises(RecipeError, match=words):
        load_recipe("quick", as_changes(patient_from=pattern))


def test_a_pattern_that_fits_nothing(data: Path) -> None:
    with pytest.raises(
        DataError, match=r"finds a patient in none of 16 paths; a path is for example 'covid/images/"
    ):
        read(data, patient_from=r"(person\d+)")


def test_classes_are_read_alone_and_the_others_counted(tmp_path: Path) -> None:
    root = images(tmp_path, "COVID/a.png", "non-COVID/b.png", "Pneumonia/c.png", "Pneumonia/d.png")
    cases = read(root, classes=["covid", "non-COVID"])
    assert cases.labels == ("normal", "covid")
    assert cases.notes[-1] == "Left out, because --classes does not name them: pneumonia (2)."
    assert cases.reading.labels == {"normal": 1, "covid": 1}
    with pytest.raises(DataError, match="--classes flu: the data has no such label"):
        read(root, classes=["covid", "flu"])


@pytest.mark.parametrize("pattern", ["covid/images/x0*", "*/x0-?.png", "x0-*"])
def test_excluded_files_are_counted(data: Path, pattern: str) -> None:
    cases = read(data, exclude=[pattern])
    assert not any(path.endswith("covid/images/x0-0.png") for path in cases.table["path"])
    assert any(note.startswith("Left out by --exclude: ") for note in cases.notes)


def test_exclude_answers_the_question_about_masks(tmp_path: Path) -> None:
    names = [
        f"{label}/{kind}/{n}.png" for label in ("a", "b") for kind in ("shown", "painted") for n in range(3)
    ]
    cases = read(images(tmp_path, *names), exclude=["painted"])
    assert len(cases) == cases.table["patient"].nunique() == 6
    assert all("/shown/" in path for path in cases.table["path"])


def test_exclude_leaves_rows_of_a_table_out(tmp_path: Path) -> None:
    images(tmp_path, "a.png", "b.png", "c.png")
    (tmp_path / "t.csv").write_text("path,label\na.png,x\nb.png,y\nc.png,y\n")
    assert len(read(tmp_path / "t.csv", exclude=["c.png"])) == 2


def test_a_source_that_knows_no_patterns_says_so(data: Path, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "theirs.py").write_text(
        "from hilum.data.sources.folder import accepts, load as read\nDESCRIPTION = 'mine'\n"
        "def load(data):\n    return read(data)\n"
    )
    package = tmp_path / "somebodys"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (tmp_path / "theirs.py").rename(package / "theirs.py")
    monkeypatch.syspath_prepend(tmp_path)
    assert len(read(data, source="somebodys.theirs")) == 16
    with pytest.raises(DataError, match=r"source 'somebodys.theirs' can't leave files out"):
        read(data, source="somebodys.theirs", exclude=["x0*"])


def test_options_without_effect_change_nothing(data: Path) -> None:
    cases = read(data)
    assert corrected(cases, ReadingOptions()).digest == cases.digest


def test_inspect_prints_the_table_and_the_same_as_json(data: Path, hilum) -> None:
    answer = hilum("data", "inspect", data, "--healthy", "other")
    assert answer.code == 0
    assert "class / image" in answer.out
    assert "normal: 8 (written other), covid: 8" in answer.out
    assert "Masks, left out: 16 images in masks." in answer.out
    assert "--healthy other" in answer.out
    values = json.loads(hilum("data", "inspect", data, "--healthy", "other", "--format", "json").out)
    assert values["labels"] == {"normal": 8, "covid": 8}
    assert values["source"] == "folder"
    assert values["shaped_by"] == ["--healthy other"]
    assert "Masks, left out: 16 images in masks." in values["notes"]


def test_a_run_keeps_how_it_read_and_goes_on_in_the_same_way(data: Path, tmp_path: Path, capsys) -> None:
    changes = ["data.healthy=other", r"data.patient_from='(x\d+)'", "replicates=0"]
    out = tmp_path / "run"
    run = study(data, "quick", out, tasks=["binary"], changes=changes, only=["prepare"], report=False)
    assert "normal: 8 (written other)" in capsys.readouterr().err
    reading = run.facts().data.reading
    assert reading.healthy == "other"
    assert reading.labels == {"normal": 8, "covid": 8}
    assert run.recipe()["data"]["patient_from"] == r"(x\d+)"
    again = study(data, "quick", out, tasks=["binary"], resume=True, only=["prepare"], report=False)
    assert again.facts().data.digest == run.facts().data.digest
    assert facts(Run(out).cases())["covid-images-x0-1"] == ("covid", "x0", "")


def test_every_command_that_reads_data_takes_the_options(hilum) -> None:
    for words in (
        ["study"],
        ["train"],
        ["compare"],
        ["counterfactual"],
        ["data", "audit"],
        ["data", "inspect"],
    ):
        text = hilum(*words, "--help").out
        assert [
            name for name in ("--healthy", "--patient-from", "--classes", "--exclude") if name not in text
        ] == []
