"""Sources: what each layout means, and the sentence for each thing that can be wrong with it."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from hilum.data import listing, sources
from hilum.data.cases import Cases
from hilum.data.sources import folder, kaggle, medmnist, open_source, table
from hilum.errors import DataError


def image(path: Path, value: int = 0) -> Path:
    """A tiny grey image; another value gives other bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((6, 8), value % 256, np.uint8))
    return path


def images(root: Path, *names: str) -> Path:
    for value, name in enumerate(names):
        image(root / name, value)
    return root


def facts(cases: Cases) -> dict[str, tuple[str, str, str]]:
    """case_id -> label, patient, split."""
    rows = cases.table.set_index("case_id")[["label", "patient", "split"]]
    return {str(case_id): tuple(row) for case_id, row in zip(rows.index, rows.to_numpy(), strict=True)}


def sentence(call, *arguments) -> str:
    with pytest.raises(DataError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    assert caught.value.remedy
    return str(caught.value)


KAGGLE = (
    "train/NORMAL/IM-0115-0001.jpeg",
    "train/NORMAL/NORMAL2-IM-0383-0001-0002.jpeg",
    "train/PNEUMONIA/person1_bacteria_2.jpeg",
    "train/PNEUMONIA/person1_virus_6.jpeg",
    "train/PNEUMONIA/person447_virus_921_1.jpeg",
    "val/NORMAL/NORMAL2-IM-1427-0001.jpeg",
    "test/PNEUMONIA/person1_virus_6.jpeg",
)


# -- kaggle --------------------------------------------------------------------------------------------


def test_kaggle_reads_label_patient_and_split_from_the_names(tmp_path: Path) -> None:
    cases = open_source(images(tmp_path, *KAGGLE))
    assert cases.source == "kaggle"
    assert facts(cases) == {
        "train-IM-0115-0001": ("normal", "train/normal/IM-0115", "train"),
        "train-NORMAL2-IM-0383-0001-0002": ("normal", "train/normal/NORMAL2-IM-0383", "train"),
        "train-person1_bacteria_2": ("bacteria", "train/bacteria/person1", "train"),
        "train-person1_virus_6": ("virus", "train/virus/person1", "train"),
        "train-person447_virus_921_1": ("virus", "train/virus/person447", "train"),
        "val-NORMAL2-IM-1427-0001": ("normal", "val/normal/NORMAL2-IM-1427", "val"),
        "test-person1_virus_6": ("virus", "test/virus/person1", "test"),
    }
    assert "start again" in cases.notes[1]


def test_kaggle_names_of_mendeley_give_one_child_one_patient_whatever_the_label(tmp_path: Path) -> None:
    images(
        tmp_path,
        "train/NORMAL/NORMAL-28501-0001.jpeg",
        "test/PNEUMONIA/BACTERIA-5660566-0001.jpeg",
        "test/PNEUMONIA/VIRUS-5660566-0009.jpeg",
    )
    cases = open_source(tmp_path)
    assert facts(cases) == {
        "train-NORMAL-28501-0001": ("normal", "patient/28501", "train"),
        "test-BACTERIA-5660566-0001": ("bacteria", "patient/5660566", "test"),
        "test-VIRUS-5660566-0009": ("virus", "patient/5660566", "test"),
    }
    assert not any("start again" in note for note in cases.notes)


def test_kaggle_archive_is_read_once_though_it_holds_itself_twice(tmp_path: Path) -> None:
    images(tmp_path / "chest_xray", *KAGGLE)
    images(tmp_path / "chest_xray" / "chest_xray", *KAGGLE)
    images(tmp_path / "chest_xray" / "__MACOSX", *KAGGLE)
    (tmp_path / "chest_xray" / "train" / ".DS_Store").write_text("x")
    (tmp_path / "chest_xray" / "train" / "NORMAL" / "._IM-0115-0001.jpeg").write_text("x")
    inside, parent = open_source(tmp_path / "chest_xray"), open_source(tmp_path)
    assert len(inside) == len(parent) == len(KAGGLE)
    assert inside.digest == parent.digest
    assert not any("Left out" in note for note in inside.notes)


def test_kaggle_unwraps_the_inner_copy_alone(tmp_path: Path) -> None:
    images(tmp_path / "chest_xray" / "chest_xray", *KAGGLE)
    assert len(open_source(tmp_path)) == len(KAGGLE)


def test_kaggle_tells_what_it_left_out(tmp_path: Path) -> None:
    images(tmp_path, *KAGGLE, "train/stray.jpeg")
    (tmp_path / "train/NORMAL/readme.txt").write_text("x")
    assert (
        "Not read, because they are not images in a class folder: 2 (stray.jpeg, readme.txt)."
        in kaggle.load(tmp_path).notes
    )


def test_kaggle_needs_a_cause_in_the_name(tmp_path: Path) -> None:
    images(tmp_path, *KAGGLE, "train/PNEUMONIA/image7.jpeg")
    words = sentence(open_source, tmp_path)
    assert "train/PNEUMONIA/image7.jpeg lies in PNEUMONIA but its name contains neither" in words
    assert "source 'folder'" in words
    assert open_source(tmp_path, "folder").labels == ("normal", "pneumonia")


def test_kaggle_refuses_a_name_that_contradicts_its_folder(tmp_path: Path) -> None:
    images(tmp_path, *KAGGLE, "train/NORMAL/person3_virus_1.jpeg")
    assert "person3_virus_1.jpeg lies in NORMAL but its name says virus; move" in sentence(
        open_source, tmp_path
    )


def test_kaggle_counts_names_without_a_patient(tmp_path: Path) -> None:
    images(tmp_path, *KAGGLE, "train/NORMAL/healthy.jpeg", "train/PNEUMONIA/a virus image.jpeg")
    cases = open_source(tmp_path)
    assert facts(cases)["train-healthy"] == ("normal", "train-healthy", "train")
    assert facts(cases)["train-a_virus_image"][0] == "virus"
    assert cases.notes[0].startswith("The patient of 2 image(s) can't be told")


def test_kaggle_names_an_empty_class(tmp_path: Path) -> None:
    images(tmp_path, *KAGGLE)
    (tmp_path / "test" / "NORMAL").mkdir()
    assert "test/NORMAL holds no images; put" in sentence(open_source, tmp_path)


def test_kaggle_leaves_other_classes_to_the_folder_source(tmp_path: Path) -> None:
    images(tmp_path, *KAGGLE, "train/COVID19/a.png")
    assert not kaggle.accepts(tmp_path)
    assert open_source(tmp_path).labels == ("normal", "covid19", "pneumonia")


def test_kaggle_asked_by_name_for_something_else(tmp_path: Path) -> None:
    images(tmp_path, "a/1.png")
    assert "has no folder like train/NORMAL" in sentence(open_source, tmp_path, "kaggle")
    assert "does not exist" in sentence(open_source, tmp_path / "none", "kaggle")


def test_two_files_with_one_name_are_both_named(tmp_path: Path) -> None:
    images(tmp_path, *KAGGLE, "train/NORMAL/IM-0115-0001.png")
    words = sentence(open_source, tmp_path)
    assert "IM-0115-0001.jpeg and " in words
    assert "IM-0115-0001.png would both be the case 'train-IM-0115-0001'; rename" in words


# -- folder --------------------------------------------------------------------------------------------


def test_folder_takes_class_patient_and_split_from_the_folders(tmp_path: Path) -> None:
    images(
        tmp_path,
        "train/Healthy/p1/a.png",
        "train/abnormal/p2/b.png",
        "valid/abnormal/p2/c.png",
        "test/abnormal/d e.png",
    )
    cases = open_source(tmp_path)
    assert cases.source == "folder"
    assert facts(cases) == {
        "train-Healthy-p1-a": ("normal", "p1", "train"),
        "train-abnormal-p2-b": ("abnormal", "p2", "train"),
        "valid-abnormal-p2-c": ("abnormal", "p2", "val"),
        "test-abnormal-d_e": ("abnormal", "test-abnormal-d_e", "test"),
    }
    assert "1 of 4 images is unknown" in cases.notes[0]


def test_folder_without_splits_or_patients_says_so(tmp_path: Path) -> None:
    images(tmp_path, "normal/a.png", "virus/b.jpg", "virus/c.tiff", "stray.png")
    (tmp_path / "virus" / "notes.md").write_text("x")
    cases = open_source(tmp_path)
    assert set(cases.table["split"]) == {""}
    assert cases.table["patient"].tolist() == cases.table["case_id"].tolist()
    assert cases.notes[0].startswith("The patient is unknown")
    assert (
        cases.notes[1] == "Not read, because they are not images in a class folder: 2 (stray.png, notes.md)."
    )


def test_folder_beside_the_splits_is_left_out_and_named(tmp_path: Path) -> None:
    images(tmp_path, "train/normal/p/a.png", "val/normal/q/b.png", "extra/normal/r/c.png")
    assert open_source(tmp_path).notes == (
        "Not read, because they are not images in a class folder: 1 (extra).",
    )


def test_folder_with_an_empty_class(tmp_path: Path) -> None:
    images(tmp_path, "normal/p/a.png", "abnormal/p/b.png")
    (tmp_path / "virus").mkdir()
    assert "virus holds no images; put" in sentence(open_source, tmp_path)
    images(tmp_path, "virus/p/study/c.png")
    assert facts(open_source(tmp_path))["virus-p-study-c"] == ("virus", "p", "")


def test_folder_of_loose_images_is_not_understood(tmp_path: Path) -> None:
    images(tmp_path, "a.png", "b.png")
    words = sentence(open_source, tmp_path)
    assert words.startswith(f"no source understands {tmp_path}; sort the images into one folder per class")
    assert "is not a folder" in sentence(folder.load, tmp_path / "a.png")


# -- table ---------------------------------------------------------------------------------------------


def csv(root: Path, *lines: str) -> Path:
    images(root, "images/a.png", "images/b.png", "c.png")
    path = root / "cases.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_table_reads_its_columns_and_no_others(tmp_path: Path) -> None:
    path = csv(
        tmp_path,
        "\ufeffPath, label,patient,split,case_id,age",
        "images/a.png,No Finding,p1,train,,3",
        "",
        "images/b.png,virus,,val,second,4",
        f"{tmp_path}/images/../c.png,virus,p1,,third,5",
    )
    cases = open_source(path)
    assert facts(cases) == {
        "images-a": ("normal", "p1", "train"),
        "second": ("virus", "second", "val"),
        "third": ("virus", "p1", ""),
    }
    assert cases.table["path"].tolist() == [
        f"{tmp_path}/{name}" for name in ("images/a.png", "images/b.png", "c.png")
    ]
    assert cases.notes[0].startswith("1 of 3 rows have no patient")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (
            ["file,label", "c.png,virus"],
            "cases.csv lacks the column 'path' (row 1 holds: file, label); add it",
        ),
        (
            ["path;label", "c.png;virus"],
            "cases.csv lacks the column 'path' (row 1 holds: path;label); add it",
        ),
        (["path", "c.png"], "cases.csv lacks the column 'label'"),
        (
            ["path,label", "c.png,virus", "", "d.png,virus"],
            "cases.csv row 4: path 'd.png' is not a file; paths are",
        ),
        (["path,label", "c.png,"], "cases.csv: none of 1 rows has a label; fill in the column 'label'"),
        (["path,label", ",virus"], "cases.csv row 2: path is empty; fill"),
        (["path,label", "c.png,a,b"], "cases.csv row 2 has 3 cells, the header has 2; correct"),
        (
            ["path,label,split", "c.png,virus,tset"],
            "cases.csv row 2: split 'tset' is not one of train, val, test",
        ),
        (
            ["path,label", "c.png,virus", "./c.png,normal"],
            "row 3: path './c.png' is already in row 2; remove",
        ),
        (
            ["path,label,case_id", "c.png,virus,a/b"],
            "row 2: case_id 'a/b' can't be a file name; write for example",
        ),
        (["path,label", 'c.png,"virus'], "is not a readable CSV"),
        (["path,label"], "cases.csv holds no radiographs"),
        ([""], "cases.csv lacks the column 'path' (row 1 holds: nothing)"),
    ],
)
def test_table_names_row_value_and_remedy(tmp_path: Path, lines: list[str], words: str) -> None:
    assert words in sentence(open_source, csv(tmp_path, *lines))


def test_rows_without_a_label_are_left_out_and_counted(tmp_path: Path) -> None:
    image(tmp_path / "d.png", 9)
    rows = ["c.png,virus", "images/b.png,", "images/a.png,normal", 'd.png," "']
    cases = open_source(csv(tmp_path, "path,label", *rows))
    assert cases.table["case_id"].tolist() == ["c", "images-a"]
    assert cases.notes[0] == "Left out: 2 of 4 cases without a label (images-b, d)."
    assert cases.notes[1].startswith("2 of 2 rows have no patient")


def test_table_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\x00path")
    assert "is not a readable CSV" in sentence(table.load, tmp_path / "x.csv")


# -- medmnist ------------------------------------------------------------------------------------------


def arrays(counts: dict[str, int], size: int = 28, last: tuple[int, ...] = ()) -> dict[str, np.ndarray]:
    """Noise with alternating labels, as PneumoniaMNIST lays it out."""
    random = np.random.default_rng(0)
    made: dict[str, np.ndarray] = {}
    for split, n in counts.items():
        made[f"{split}_images"] = random.integers(0, 256, (n, size, size, *last), dtype=np.uint8)
        made[f"{split}_labels"] = (np.arange(n) % 2).astype(np.uint8)[:, None]
    return made


COUNTS = {"train": 4, "val": 2, "test": 3}


@pytest.mark.parametrize("last", [(), (1,)])
def test_medmnist_unpacks_every_image_as_it_is(tmp_path: Path, last: tuple[int, ...]) -> None:
    made = arrays(COUNTS, last=last)
    np.savez_compressed(tmp_path / "pneumoniamnist.npz", **made)
    cases = open_source(tmp_path / "pneumoniamnist.npz")
    assert cases.table["split"].value_counts().to_dict() == COUNTS
    row = cases.table.set_index("case_id").loc["test-00001"]
    assert (row["label"], row["patient"], row["split"]) == ("pneumonia", "test-00001", "test")
    decoded = cv2.imread(row["path"], cv2.IMREAD_UNCHANGED)
    assert np.array_equal(decoded, made["test_images"][1].reshape(28, 28))
    assert "intervals over patients are intervals over images" in cases.notes[0]


def test_medmnist_unpacks_once_and_again_when_files_are_missing(tmp_path: Path) -> None:
    path = tmp_path / "pneumoniamnist_64.npz"
    np.savez(path, **arrays(COUNTS, size=64))
    first = Path(medmnist.load(path).table["path"][0])
    written = first.stat().st_mtime_ns
    assert Path(medmnist.load(path).table["path"][0]).stat().st_mtime_ns == written
    first.unlink()
    force = medmnist.load(path)
    assert first.exists()
    assert not list(first.parent.parent.glob(".medmnist*"))
    assert len(force) == 9


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"val_labels": None}, "lacks the array 'val_labels'; download"),
        (
            {"train_images": np.zeros((4, 28, 28, 3), np.uint8)},
            "train_images is uint8 of shape (4, 28, 28, 3), not",
        ),
        ({"train_images": np.zeros((4, 28, 28), np.float32)}, "train_images is float32 of shape"),
        (
            {"train_labels": np.zeros((5, 1), np.uint8)},
            "of shape (5, 1), not one whole number for each of 4 images",
        ),
        ({"train_labels": np.zeros((4, 14), np.uint8)}, "train_labels is uint8 of shape (4, 14), not one"),
        (
            {"test_labels": np.array([[0], [1], [2]])},
            "test_labels holds the values 0, 1, 2, not 0 and 1 alone",
        ),
        ({"test_labels": np.array([[None]] * 3)}, "is not a readable .npz (Object arrays cannot be loaded"),
    ],
)
def test_medmnist_refuses_other_arrays(tmp_path: Path, change: dict, words: str) -> None:
    made = {name: array for name, array in {**arrays(COUNTS), **change}.items() if array is not None}
    np.savez(tmp_path / "pneumoniamnist.npz", **made)
    assert words in sentence(open_source, tmp_path / "pneumoniamnist.npz")


def test_medmnist_refuses_other_files(tmp_path: Path) -> None:
    np.savez(tmp_path / "breastmnist_64.npz", **arrays(COUNTS))
    assert "breastmnist_64.npz is another set of MedMNIST" in sentence(
        open_source, tmp_path / "breastmnist_64.npz"
    )
    np.savez(tmp_path / "whole.npz", **arrays(COUNTS))
    (tmp_path / "half.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:5000])
    np.save(tmp_path / "array.npy", np.zeros(3))
    (tmp_path / "array.npy").rename(tmp_path / "array.npz")
    (tmp_path / "empty.npz").write_bytes(b"")
    for name in ("half.npz", "array.npz", "empty.npz"):
        assert f"{name} is not a readable .npz" in sentence(open_source, tmp_path / name)


def test_medmnist_says_when_the_cache_can_not_be_written(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("HILUM_CACHE", str(tmp_path / "file"))
    np.savez(tmp_path / "a.npz", **arrays(COUNTS))
    assert "can't be written" in sentence(open_source, tmp_path / "a.npz")


# -- finding a source, reading files -------------------------------------------------------------------


def test_names_go_from_specific_to_general() -> None:
    known = [name for name in sources.names() if name in ("phantom", "medmnist", "table", "kaggle", "folder")]
    assert known == ["phantom", "medmnist", "table", "kaggle", "folder"]


def test_unknown_and_foreign_sources(tmp_path: Path, monkeypatch) -> None:
    assert "source 'kagle' is not known; did you mean 'kaggle'?" in sentence(open_source, tmp_path, "kagle")
    assert "source 'no.such' can't be imported" in sentence(open_source, tmp_path, "no.such")
    assert "source 'os.path' has no DESCRIPTION" in sentence(open_source, tmp_path, "os.path")
    package = tmp_path / "somebody"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "theirs.py").write_text("from hilum.data.sources.folder import DESCRIPTION, accepts, load\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert len(open_source(images(tmp_path / "data", "normal/a.png"), "somebody.theirs")) == 1


def test_what_does_not_exist_is_named() -> None:
    words = sentence(open_source, "no/such/folder")
    assert words.startswith(
        "no/such/folder does not exist; name a folder of radiographs, a .csv, a .npz, or the word"
    )


def test_a_file_that_can_not_be_read_is_named(tmp_path: Path, monkeypatch) -> None:
    def refuse(path: Path) -> str:
        raise PermissionError(13, "Permission denied")

    images(tmp_path, "normal/a.png")
    monkeypatch.setattr(listing, "digest_of_file", refuse)
    assert "normal/a.png can't be read (Permission denied); check" in sentence(open_source, tmp_path)


def test_a_broken_link_is_named_and_an_empty_file_is_left_to_the_audit(tmp_path: Path) -> None:
    images(tmp_path, "normal/a.png", "virus/b.png")
    (tmp_path / "normal" / "empty.png").write_bytes(b"")
    assert len(open_source(tmp_path)) == 3
    (tmp_path / "normal" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    assert "gone.png can't be read (No such file or directory)" in sentence(open_source, tmp_path)


def test_digests_come_in_the_order_of_the_files(tmp_path: Path) -> None:
    paths = [image(tmp_path / f"{value}.png", value) for value in range(20)]
    digests = listing.digests_of(paths)
    assert len(set(digests)) == 20
    assert listing.digests_of(paths[::-1]) == digests[::-1]


# -- real radiographs ----------------------------------------------------------------------------------


@pytest.mark.real
def test_real_counts(real_data: Path) -> None:
    cases = open_source(real_data)
    assert cases.source == "kaggle"
    kept = cases.table[cases.table["split"] != "test"]  # the official test part may or may not be there
    assert kept.value_counts(["split", "label"]).to_dict() == {
        ("train", "normal"): 1341,
        ("train", "bacteria"): 2530,
        ("train", "virus"): 1345,
        ("val", "normal"): 8,
        ("val", "bacteria"): 8,
    }
    abnormal = kept[(kept["split"] == "train") & (kept["label"] != "normal")]
    assert abnormal["patient"].nunique() == 2443
    assert cases.notes[0].startswith("The chest-xray-pneumonia set")
