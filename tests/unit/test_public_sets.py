"""Readers of public sets: label, patient, split and findings of each image, and what they leave out."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from hilum.data.sources import get, open_source
from tests.unit import public_sets
from tests.unit.test_sources import facts, sentence


def finding(cases_table: pd.DataFrame, name: str) -> dict[str, float]:
    return dict(zip(cases_table["case_id"], cases_table[f"finding:{name}"], strict=True))


def test_nih_takes_findings_patient_and_the_official_split(tmp_path: Path) -> None:
    cases = open_source(public_sets.nih(tmp_path))
    assert facts(cases) == {
        "images_001-images-00000001_000": ("cardiomegaly", "00000001"[-1:], "train"),
        "images_002-images-00000001_001": ("several findings", "1", "train"),
        "images_001-images-00000002_000": ("normal", "2", "train"),
        "images_002-images-00000003_000": ("effusion", "3", "test"),
    }
    assert list(cases.findings) == ["Cardiomegaly", "Effusion"]
    assert set(cases.table["sex"]) == {"M"} and set(cases.table["age"]) == {"58"}
    assert finding(cases.table, "Effusion")["images_002-images-00000001_001"] == 1
    assert finding(cases.table, "Effusion")["images_001-images-00000002_000"] == 0


def test_nih_reads_a_part_of_the_images_and_counts_the_others(tmp_path: Path) -> None:
    root = public_sets.nih(tmp_path)
    next(root.rglob("00000001_001.png")).unlink()
    cases = open_source(root / "Data_Entry_2017.csv")
    assert len(cases) == 3
    assert "Left out: 1 of 4 rows whose image is not there (00000001_001.png)." in cases.notes
    for path in root.rglob("*.png"):
        path.unlink()
    assert "none of the 4 images that the table names lies below" in sentence(open_source, root)


def test_chexpert_keeps_what_is_stated_and_leaves_lateral_views_out(tmp_path: Path) -> None:
    cases = open_source(public_sets.chexpert(tmp_path))
    assert facts(cases) == {
        "train-patient00001-study1-view1_frontal": ("normal", "patient00001", "train"),
        "train-patient00002-study1-view1_frontal": ("edema", "patient00002", "train"),
        "train-patient00003-study2-view1_frontal": ("several findings", "patient00003", "train"),
        "valid-patient00005-study1-view1_frontal": ("atelectasis", "patient00005", "val"),
    }
    assert set(cases.table["sex"]) == {"F"} and set(cases.table["age"]) == {"68"}
    edema = finding(cases.table, "Edema")
    assert edema["train-patient00002-study1-view1_frontal"] == 1
    assert pd.isna(edema["train-patient00001-study1-view1_frontal"])
    assert edema["valid-patient00005-study1-view1_frontal"] == 0
    assert "Lateral views, left out: 1 (view2_lateral.jpg)." in cases.notes
    assert any(note.startswith("Left out: 1 of 6 images without a label") for note in cases.notes)


def test_chexpert_refuses_a_cell_of_another_kind(tmp_path: Path) -> None:
    root = public_sets.chexpert(tmp_path)
    table = root / "train.csv"
    table.write_text(table.read_text().replace(",-1.0,,,,,,,,\n", ",maybe,,,,,,,,\n"))
    assert "train.csv row 6: finding 'Edema' is 'maybe'; write 1, 0, -1 (uncertain)" in sentence(
        open_source, root
    )


def test_the_covid_database_leaves_masks_out(tmp_path: Path) -> None:
    cases = open_source(public_sets.covid19_radiography(tmp_path))
    assert cases.labels == ("normal", "covid", "lung_opacity", "viral pneumonia")
    assert len(cases) == cases.table["patient"].nunique() == 8
    assert "Masks, left out: 8 images." in cases.notes
    assert len(open_source(public_sets.covid19_radiography(tmp_path / "outer").parent)) == 8


def test_tuberculosis_sets_have_the_label_in_the_last_digit(tmp_path: Path) -> None:
    cases = open_source(public_sets.montgomery_shenzhen(tmp_path))
    assert {row[1]: row[0] for row in facts(cases).values()} == {
        "MCUCXR_0001": "normal",
        "MCUCXR_0104": "tuberculosis",
        "CHNCXR_0327": "tuberculosis",
        "CHNCXR_0001": "normal",
    }
    assert open_source(tmp_path / "tuberculosis" / "MontgomerySet").source == "montgomery_shenzhen"
    assert set(cases.table["site"]) == {"Montgomery", "Shenzhen"}
    assert set(cases.table["age"]) == {"26"} and set(cases.table["sex"]) == {"F"}


def test_readings_of_the_shenzhen_set_are_written_otherwise(tmp_path: Path) -> None:
    root = public_sets.montgomery_shenzhen(tmp_path)
    for text in root.rglob("CHNCXR*.txt"):
        text.write_text("male 35yrs\nnormal")
    next(root.rglob("MCUCXR_0001_0.txt")).write_text("Patient's Sex: F\nPatient's Age: 018M\nnormal")
    next(root.rglob("MCUCXR_0104_1.txt")).unlink()
    rows = open_source(root).table.set_index("patient")[["sex", "age"]]
    assert {name: tuple(row) for name, row in rows.iterrows()} == {
        "CHNCXR_0001": ("M", "35"),
        "CHNCXR_0327": ("M", "35"),
        "MCUCXR_0001": ("F", "1.5"),
        "MCUCXR_0104": ("", ""),
    }


def test_vindr_counts_the_radiologists(tmp_path: Path) -> None:
    cases = open_source(public_sets.vindr(tmp_path))
    assert {name: row[0] for name, row in facts(cases).items()} == {
        "train-a": "normal",
        "train-b": "bronchitis",
        "train-c": "several findings",
        "train-d": "brocho-pneumonia",
        "test-e": "normal",
        "test-f": "other disease",
    }
    assert facts(cases)["test-f"][2] == "test"
    assert finding(cases.table, "Brocho-pneumonia")["train-d"] == 1


def test_vindr_reads_boxes_where_there_are_no_image_labels(tmp_path: Path) -> None:
    root = public_sets.images(tmp_path / "kaggle", *(f"png/{name}.png" for name in "abc"))
    rows = ["a,No finding,14,R1,,,,", "a,No finding,14,R2,,,,", "a,Cardiomegaly,3,R3,1,2,3,4",
            "b,Cardiomegaly,3,R1,1,2,3,4", "b,Cardiomegaly,3,R2,1,2,3,4", "b,Nodule/Mass,8,R2,1,2,3,4",
            "b,No finding,14,R3,,,,",
            "c,Cardiomegaly,3,R1,1,2,3,4", "c,Nodule/Mass,8,R2,1,2,3,4", "c,No finding,14,R3,,,,"]  # fmt: skip
    head = "image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max"
    (root / "train.csv").write_text("\n".join([head, *rows]) + "\n")
    cases = open_source(root)
    assert {name: row[0] for name, row in facts(cases).items()} == {
        "png-a": "normal",
        "png-b": "cardiomegaly",
    }
    assert any(note.startswith("Left out: 1 of 3 images without a label (c)") for note in cases.notes)


def test_rsna_has_one_row_per_box_and_one_case_per_image(tmp_path: Path) -> None:
    root = public_sets.rsna(tmp_path)
    cases = open_source(root)
    assert {row[1]: row[0] for row in facts(cases).values()} == {
        "p1": "normal",
        "p2": "pneumonia",
        "p3": "no lung opacity / not normal",
    }
    (root / "stage_2_detailed_class_info.csv").unlink()
    assert open_source(root).labels == ("normal", "pneumonia")
    assert open_source(root).reading.healthy == "no pneumonia"


SETS = {
    "nih_chestxray14": (public_sets.nih, "00000001_000.png"),
    "chexpert": (public_sets.chexpert, "patient00003"),
    "covid19_radiography": (public_sets.covid19_radiography, "Normal-1.png"),
    "montgomery_shenzhen": (public_sets.montgomery_shenzhen, "CHNCXR_0327_1.png"),
    "vindr": (public_sets.vindr, "b.dicom"),
    "rsna_pneumonia": (public_sets.rsna, "p3.dcm"),
}


@pytest.mark.parametrize("name", SETS)
def test_every_reader_leaves_out_what_is_excluded(name: str, tmp_path: Path) -> None:
    make, pattern = SETS[name]
    data = make(tmp_path)
    assert len(get(name).load(data, exclude=[pattern])) == len(get(name).load(data)) - 1


@pytest.mark.parametrize("name", SETS)
def test_every_reader_says_how_it_read(name: str, tmp_path: Path) -> None:
    make: Callable[[Path], Path] = SETS[name][0]
    reading = open_source(make(tmp_path)).reading
    assert reading.layout
    assert reading.patients
    assert reading.healthy


@pytest.mark.parametrize("name", SETS)
def test_every_reader_asked_for_something_else_says_what_is_missing(name: str, tmp_path: Path) -> None:
    public_sets.images(tmp_path, "a/1.png")
    assert str(tmp_path) in sentence(open_source, tmp_path, name)
