"""Folders of DICOM, DICOMDIR and tables as sources; pseudonyms; and what is planted in headers is found nowhere."""

import csv
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from hilum.data.cases import Cases
from hilum.data.decode import UnreadableImage, check_frontal, read_grey
from hilum.data.dicom.people import header_of, key_of_user
from hilum.data.reading_options import ReadingOptions
from hilum.data.sources import open_source
from hilum.errors import DataError
from hilum.inference.stream import Wanted, list_images, prepare
from tests.dicom_files import PLANTED, dataset_of, picture, write


def patient(number: int, **more: object) -> dict[str, object]:
    """A header of one of several patients, each with identifiers of their own."""
    return {
        "PatientID": f"MRN-{number:08d}",
        "PatientName": f"Quixano^Alonso{number}",
        "PatientBirthDate": "20190817",
        "StudyDate": "20250611",
        "PatientSex": "F" if number % 2 else "M",
        "InstitutionName": "Hospital Barataria",
        **more,
    }


def image_of(path: Path, number: int, **more: object) -> Path:
    return write(path, picture(seed=number), 12, **patient(number, **more))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes, three patients, one lateral view, names without endings and with the patient in them."""
    image_of(tmp_path / "set/normal/IM0001", 1)
    image_of(tmp_path / "set/normal/sub/1.2.840.99.5", 1)
    image_of(tmp_path / "set/Pneumonia/MRN-00000002/a.dcm", 2, PhotometricInterpretation="MONOCHROME1")
    image_of(tmp_path / "set/Pneumonia/deep/quixano_alonso3.dcm", 3, PatientAge="018M")
    image_of(tmp_path / "set/Pneumonia/side.dcm", 3, ViewPosition="LL")
    (tmp_path / "set/Pneumonia/notes about Quixano.txt").write_text("a note")
    return tmp_path / "set"


def test_a_folder_per_class(folder: Path) -> None:
    cases = open_source(folder)
    table = cases.table.sort_values("path").reset_index(drop=True)
    assert (cases.source, cases.labels, len(cases)) == ("dicom", ("normal", "pneumonia"), 4)
    assert table["patient"].nunique() == 3
    assert sorted(table["view"]) == ["PA"] * 4
    assert sorted(table["sex"]) == ["F", "F", "F", "M"]
    assert sorted(table["age"]) == ["1.5", "5.82", "5.82", "5.82"]
    assert table["site"].nunique() == 1
    assert "Lateral or oblique views, left out: 1." in cases.notes
    assert not [note for note in cases.notes if "uixano" in note]
    for path in table["path"]:
        assert read_grey(path).shape == (60, 72)


def test_what_identifies_people_is_not_in_the_cases(folder: Path, tmp_path: Path) -> None:
    cases = open_source(folder)
    cases.write(tmp_path / "cases.csv")
    text = (tmp_path / "cases.csv").read_text().lower() + " ".join(cases.notes).lower()
    for word in ("mrn", "quixano", "alonso", "barataria", "2019", "20250611", "1.2.826"):
        assert word not in text
    read = Cases.read(tmp_path / "cases.csv", cases.source, cases.root)
    assert read.digest == cases.digest
    assert read.table["sex"].tolist() == cases.table["sex"].tolist()


def test_pseudonyms_stay_and_change_with_the_key(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = open_source(folder), open_source(folder)
    assert first.digest == second.digest
    key = Path(os.environ["HILUM_CACHE"], "dicom", "key")
    assert key.stat().st_mode & 0o077 == 0
    monkeypatch.setenv("HILUM_DICOM_KEY", "a secret of the hospital")
    third = open_source(folder)
    assert not set(first.table["patient"]) & set(third.table["patient"])
    assert key_of_user() == b"a secret of the hospital"


def test_names_and_views_are_kept_when_asked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HILUM_DICOM_NAMES", "keep")
    monkeypatch.setenv("HILUM_DICOM_VIEWS", "all")
    cases = open_source(folder)
    assert sorted(set(cases.table["patient"])) == ["MRN-00000001", "MRN-00000002", "MRN-00000003"]
    assert "Pneumonia-side" in set(cases.table["case_id"])
    assert all(str(folder) in path for path in cases.table["path"])


def test_splits_and_other_images_in_the_folders(tmp_path: Path) -> None:
    for number, part in enumerate(("Train", "validation_set", "Testing"), start=1):
        image_of(tmp_path / part / "virus" / "a", number)
        image_of(tmp_path / part / "normal" / "b.dcm", number + 10)
    cv2.imwrite(str(tmp_path / "Train" / "normal" / "c.png"), np.zeros((8, 8), np.uint8))
    cases = open_source(tmp_path)
    assert cases.source == "dicom"
    assert sorted(cases.table["split"]) == ["test"] * 2 + ["train"] * 3 + ["val"] * 2
    assert cases.table.set_index("case_id").loc["Train-normal-c", "view"] == ""


@pytest.mark.parametrize("by", ["path", "SOPInstanceUID", "study_instance_uid", "Patient ID"])
def test_labels_from_a_csv(by: str, tmp_path: Path) -> None:
    rows = []
    for number in range(1, 5):
        dataset = dataset_of(picture(seed=number), 12, **patient(number))
        (tmp_path / f"s{number}").mkdir()
        dataset.save_as(tmp_path / f"s{number}" / "1", enforce_file_format=True)
        keys = {
            "path": f"s{number}/1",
            "SOPInstanceUID": dataset.SOPInstanceUID,
            "study_instance_uid": dataset.StudyInstanceUID,
            "Patient ID": dataset.PatientID,
        }
        rows.append([keys[by], "No finding" if number < 3 else "virus"])
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([[by, "Label"], *rows[:3]])
    cases = open_source(tmp_path)
    assert cases.table["label"].value_counts().to_dict() == {"normal": 2, "virus": 1}
    assert "Left out, because nothing gives them a label: 1." in cases.notes


def test_a_table_that_lists_dicom_gets_patients_and_views(tmp_path: Path) -> None:
    for number in range(1, 4):
        image_of(tmp_path / "disc" / f"quixano {number}.dcm", number)
    image_of(tmp_path / "disc" / "4.dcm", 4, ViewPosition="LATERAL")
    lines = [f"disc/quixano {number}.dcm,{'virus' if number > 1 else 'normal'}" for number in range(1, 4)]
    (tmp_path / "list.csv").write_text("\n".join(["path,label", *lines, "disc/4.dcm,virus"]))
    cases = open_source(tmp_path / "list.csv")
    assert len(cases) == 3
    assert cases.table["patient"].str.match("p[0-9a-f]{10}").all()
    assert "uixano" not in cases.table.to_csv()
    assert "Lateral or oblique views, left out: 1." in cases.notes
    assert read_grey(cases.table["path"].iloc[0]).shape == (60, 72)


def dicomdir(root: Path, names: list[str]) -> Path:
    """The index of a disc with these images, and one that is not there."""
    dataset, meta = Dataset(), FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, "1.2.840.10008.1.3.10"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    records = []
    for name in [*names, "IMAGES\\GONE"]:
        record = Dataset()
        record.DirectoryRecordType, record.ReferencedFileID = "IMAGE", name.split("\\")
        records.append(record)
    dataset.DirectoryRecordSequence, dataset.file_meta = Sequence(records), meta
    dataset.save_as(root / "DICOMDIR", enforce_file_format=True)
    return root / "DICOMDIR"


def test_a_dicomdir_lists_the_images(tmp_path: Path) -> None:
    disc = tmp_path / "disc"
    for number in (1, 2, 3):
        image_of(disc / "images" / f"im{number}", number)  # on the disc in small letters
    image_of(tmp_path / "OUTSIDE", 9)
    index = dicomdir(disc, ["IMAGES\\IM1", "IMAGES\\IM2"])
    (disc / "labels.csv").write_text("path,label\nim1,normal\nim2,virus\nim3,virus\n")
    cases = open_source(index)
    assert (cases.source, len(cases)) == ("dicom", 2)
    assert "Listed in the DICOMDIR and not there: 1." in cases.notes
    assert len(open_source(disc)) == 3


def test_folders_named_after_patients_are_no_classes(tmp_path: Path) -> None:
    for number in (1, 2):
        image_of(tmp_path / f"MRN-{number:08d}" / "a.dcm", number)
    with pytest.raises(DataError, match="the folders of 2 DICOM files are named after patients") as caught:
        open_source(tmp_path)
    assert "MRN" not in str(caught.value).replace(str(tmp_path), "")


def test_files_without_a_label_are_named(tmp_path: Path) -> None:
    image_of(tmp_path / "a.dcm", 1)
    with pytest.raises(DataError, match="no folder gives a label to 1 DICOM files; put them into one folder"):
        open_source(tmp_path)


def test_lateral_views_alone_are_no_study(tmp_path: Path) -> None:
    image_of(tmp_path / "normal/a.dcm", 1, ViewPosition="LL")
    with pytest.raises(DataError, match="are lateral or oblique views; read them with --views all"):
        open_source(tmp_path)


def test_a_copy_and_a_damaged_file_are_cases_of_their_own(tmp_path: Path) -> None:
    file = image_of(tmp_path / "normal/a.dcm", 1)
    shutil.copy(file, tmp_path / "normal/b.dcm")
    (tmp_path / "normal/c.dcm").write_bytes(file.read_bytes()[:400])
    cases = open_source(tmp_path)
    assert cases.table["case_id"].nunique() == 3
    assert cases.table["digest"].nunique() == 2


@pytest.mark.parametrize(
    ("header", "age", "sex"),
    [
        ({"PatientAge": "007Y", "PatientSex": "M"}, "7", "M"),
        ({"PatientAge": "003M"}, "0.25", ""),
        ({"PatientAge": "099Y", "PatientSex": "f"}, "90", "F"),
        ({"PatientAge": "seven", "PatientSex": "X"}, "", ""),
        ({"PatientBirthDate": "20200101", "StudyDate": "20220101"}, "2", ""),
    ],
)
def test_age_and_sex(header: dict[str, object], age: str, sex: str) -> None:
    header_read = header_of(dataset_of(picture(), 12, **header), b"key")
    assert (header_read.age, header_read.sex) == (age, sex)


def test_placeholders_are_no_patient() -> None:
    patients = {header_of(dataset_of(picture(), 12, PatientID="ANONYMOUS"), b"key").patient for _ in range(3)}
    assert len(patients) == 3  # by study
    named = {header_of(dataset_of(picture(), 12, PatientID="MRN-1"), b"key").patient for _ in range(3)}
    assert len(named) == 1


# -- predict, and the PNG twin --------------------------------------------------------------------------------


def test_predict_lists_dicom_with_and_without_an_ending(tmp_path: Path) -> None:
    image_of(tmp_path / "mixed/b.dcm", 1)
    image_of(tmp_path / "mixed/IM0001", 2)
    image_of(tmp_path / "mixed/DICOMDIR", 2)
    cv2.imwrite(str(tmp_path / "mixed/a.png"), np.zeros((8, 8), np.uint8))
    (tmp_path / "mixed/notes.txt").write_text("no image")
    (tmp_path / "mixed/README").write_text("no image either")
    assert [Path(str(image)).name for image in list_images(tmp_path / "mixed")] == [
        "IM0001",
        "a.png",
        "b.dcm",
    ]


def test_predict_names_a_lateral_view(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = image_of(tmp_path / "a.dcm", 1, ViewPosition="LL")
    assert "(a lateral or oblique view (LL), not a frontal one)" in (prepare(file, Wanted([])).error or "")
    assert read_grey(file).shape == (60, 72)
    with pytest.raises(UnreadableImage):
        check_frontal(file)
    monkeypatch.setenv("HILUM_DICOM_VIEWS", "all")
    assert prepare(file, Wanted([])).error is None


def test_planted_identifiers_are_all_known(tmp_path: Path) -> None:
    header = header_of(dataset_of(picture(), 12, **PLANTED), b"key")
    for word in PLANTED.values():
        assert header.names(f"folder/{word}/a.dcm")


def test_excluded_files_are_those_of_every_source(tmp_path: Path) -> None:
    for number, name in enumerate(("virus/a", "virus/old/b", "normal/c.dcm", "normal/d.dcm"), start=1):
        image_of(tmp_path / name, number)
    cases = open_source(tmp_path, options=ReadingOptions(exclude=["virus/old", "d.dcm"]))
    assert sorted(cases.table["label"]) == ["normal", "virus"]
    assert any("Left out by --exclude: 2" in note for note in cases.notes)
