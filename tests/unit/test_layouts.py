"""What a folder of radiographs may look like: splits, masks, patients, healthy words, missing values, odd names."""

import os
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from hilum.data.cases import Cases
from hilum.data.decode import UnreadableImage, probe, read_grey
from hilum.data.labels import canonical_label, healthy_among, is_missing
from hilum.data.listing import LONGEST, case_id_of, is_junk
from hilum.data.patients import patient_of
from hilum.data.roles import is_mask_folder, split_of
from hilum.data.sources import open_source
from hilum.files import write_text
from hilum.inference.stream import list_images
from tests.unit.test_sources import facts, image, images, sentence


def patients(cases: Cases) -> set[str]:
    return set(cases.table["patient"])


# -- splits and classes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [("Train", "Val", "Test"), ("Training", "Validation", "Testing"), ("train_set", "valid-set", "TEST_SET"),
     ("TRAIN", "Valid", "test data"), ("trainset", "valset", "testset"), ("1_train", "2_val", "3_test")],
)  # fmt: skip
def test_split_folders_have_any_case_and_their_usual_words(
    tmp_path: Path, train: str, val: str, test: str
) -> None:
    for label in ("COVID", "Normal", "Pneumonia"):
        images(tmp_path, f"{train}/{label}/a.png", f"{val}/{label}/b.png", f"{test}/{label}/c.png")
    cases = open_source(tmp_path)
    assert cases.labels == ("normal", "covid", "pneumonia")
    assert cases.table.groupby("split").size().to_dict() == {"test": 3, "train": 3, "val": 3}
    assert len(patients(cases)) == 9


@pytest.mark.parametrize(
    "name", ["train_normal", "training of lungs", "protest", "normal", "covid", "trained"]
)
def test_other_words_are_no_split(name: str) -> None:
    assert split_of(name) == ""


def test_splits_below_the_classes(tmp_path: Path) -> None:
    images(tmp_path, "COVID/Train/1.png", "COVID/Test/2.png", "Normal/Train/1.png", "Normal/Test/2.png")
    assert facts(open_source(tmp_path)) == {
        "COVID-Train-1": ("covid", "COVID-Train-1", "train"),
        "COVID-Test-2": ("covid", "COVID-Test-2", "test"),
        "Normal-Train-1": ("normal", "Normal-Train-1", "train"),
        "Normal-Test-2": ("normal", "Normal-Test-2", "test"),
    }


def test_a_wrapping_folder_stands_for_nothing(tmp_path: Path) -> None:
    images(tmp_path / "one", "archive/set/NORMAL/a.png", "archive/set/Tuberculosis/b.png")
    images(tmp_path / "two", "archive/Train/NORMAL/a.png", "archive/Test/TB/b.png", "archive/Train/TB/c.png")
    assert open_source(tmp_path / "one").labels == ("normal", "tuberculosis")
    two = open_source(tmp_path / "two")
    assert two.labels == ("normal", "tb")
    assert set(two.table["split"]) == {"train", "test"}


def test_folders_that_are_called_by_split_and_class(tmp_path: Path) -> None:
    cases = open_source(
        images(tmp_path, "train_normal/1.png", "train_covid/2.png", "test_normal/3.png", "covid-test/4.png")
    )
    assert {row[0::2] for row in facts(cases).values()} == {
        ("normal", "train"),
        ("covid", "train"),
        ("normal", "test"),
        ("covid", "test"),
    }


def test_covid_qu_ex_wraps_its_splits_in_folders_called_segmentation_data(tmp_path: Path) -> None:
    for kind, part in (("images", "a"), ("lung masks", "a"), ("infection masks", "a")):
        for label in ("COVID-19", "Non-COVID", "Normal"):
            image(tmp_path / f"Infection Segmentation Data/Train/{label}/{kind}/{label}{part}.png")
    cases = open_source(tmp_path)
    assert cases.labels == ("normal", "covid-19", "non-covid")
    assert len(cases) == 3


def test_the_paediatric_set_in_wrapping_folders_and_by_cause(tmp_path: Path) -> None:
    images(
        tmp_path,
        "ZhangLabData/CellData/chest_xray/train/NORMAL/NORMAL-1-0001.jpeg",
        "ZhangLabData/CellData/chest_xray/train/PNEUMONIA/bacteria/BACTERIA-2-0001.jpeg",
        "ZhangLabData/CellData/chest_xray/test/PNEUMONIA/virus/VIRUS-2-0001.jpeg",
        "ZhangLabData/CellData/OCT/1.jpeg",
    )
    cases = open_source(tmp_path)
    assert cases.source == "kaggle"
    assert cases.labels == ("normal", "bacteria", "virus")
    assert patients(cases) == {"patient/1", "patient/2"}


def test_unlabelled_test_images_do_not_take_the_classes_away(tmp_path: Path) -> None:
    images(tmp_path, "normal/a.png", "pneumonia/b.png", "test/1.png", "test/2.png")
    cases = open_source(tmp_path)
    assert cases.labels == ("normal", "pneumonia")
    assert "Not read, because they are not images in a class folder: 2 (1.png, 2.png)." in cases.notes


def test_two_class_folders_that_differ_in_case_are_one_class(tmp_path: Path) -> None:
    images(tmp_path, "Normal/a.png", "NORMAL/a.png", "covid/b.png")
    cases = open_source(tmp_path)
    assert cases.table["label"].tolist().count("normal") == 2
    assert len({name.lower() for name in cases.table["case_id"]}) == 3
    assert cases.reading.written["normal"] == ["NORMAL", "Normal"]


def test_deep_layouts_take_the_patient_below_the_class(tmp_path: Path) -> None:
    images(tmp_path, "normal/p1/study1/a.png", "normal/p1/study2/a.png", "covid/p2/s/series/b.png")
    cases = open_source(tmp_path)
    assert facts(cases)["normal-p1-study2-a"] == ("normal", "p1", "")
    assert patients(cases) == {"p1", "p2"}
    assert cases.reading.layout == "class / patient / ... / image"


# -- masks ---------------------------------------------------------------------------------------------


def test_masks_beside_images_are_no_radiographs_and_images_is_no_patient(tmp_path: Path) -> None:
    for label in ("COVID", "Normal"):
        for kind in ("images", "lung masks", "infection masks"):
            images(tmp_path, *(f"{label}/{kind}/{label}-{number}.png" for number in range(4)))
    cases = open_source(tmp_path)
    assert len(cases) == len(patients(cases)) == 8
    assert all("/images/" in path for path in cases.table["path"])
    assert "Masks, left out: 16 images in infection masks, lung masks." in cases.notes


def test_a_folder_with_the_names_of_its_neighbour_called_images_holds_masks(tmp_path: Path) -> None:
    for label in ("COVID", "Normal"):
        images(
            tmp_path, *(f"{label}/{kind}/{number}.png" for kind in ("imgs", "lungs") for number in range(3))
        )
    assert len(open_source(tmp_path)) == 6


def test_masks_above_the_classes_and_beside_their_image(tmp_path: Path) -> None:
    images(
        tmp_path / "above",
        "images/normal/1.png",
        "images/covid/2.png",
        "masks/normal/1.png",
        "masks/covid/2.png",
    )
    images(tmp_path / "near", "normal/1.png", "normal/1_mask.png", "covid/2.png", "covid/mask_2.png")
    assert sorted(open_source(tmp_path / "above").table["case_id"]) == ["images-covid-2", "images-normal-1"]
    assert sorted(open_source(tmp_path / "near").table["case_id"]) == ["covid-2", "normal-1"]


def test_nothing_says_which_of_two_folders_holds_masks(tmp_path: Path) -> None:
    for label in ("COVID", "Normal"):
        images(
            tmp_path,
            *(f"{label}/{kind}/{number}.png" for kind in ("shown", "painted") for number in range(3)),
        )
    words = sentence(open_source, tmp_path)
    assert "every class holds the same folders (painted, shown) with files of the same names" in words
    assert "--exclude" in words


@pytest.mark.parametrize(
    "name", ["masks", "Mask", "lung_masks", "leftMask", "segmentation", "ManualMask", "ground truth"]
)
def test_names_of_mask_folders(name: str) -> None:
    assert is_mask_folder(name)


@pytest.mark.parametrize("name", ["unmasked child", "segmental pneumonia", "damask", "images"])
def test_other_folders_hold_no_masks(name: str) -> None:
    assert is_mask_folder(name) == (name == "damask")


def test_lateral_views_are_named_and_left_out(tmp_path: Path) -> None:
    images(tmp_path, "normal/p1/view1_frontal.png", "normal/p1/view2_lateral.png", "bilateral/p2/a.png")
    cases = open_source(tmp_path)
    assert len(cases) == 2
    assert "Lateral views, left out: 1 (view2_lateral.png)." in cases.notes


# -- patients ------------------------------------------------------------------------------------------


def kermany_names(root: Path, normal: str, abnormal: str) -> Path:
    for number in range(8):
        image(root / f"train/{normal}/IM-{number // 4:04d}-{number:04d}.jpeg", number)
        cause = ("bacteria", "virus")[number // 4]
        image(root / f"train/{abnormal}/person{number // 2}_{cause}_{number}.jpeg", number + 20)
    return root


@pytest.mark.parametrize("names", [("Normal", "Pneumonia"), ("normal", "pneumonia"), ("NORMAL", "Pneumonia")])
def test_class_folders_in_any_case_keep_patients_and_the_third_class(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    upper = open_source(kermany_names(tmp_path / "upper", "NORMAL", "PNEUMONIA"))
    other = open_source(kermany_names(tmp_path / "other", *names))
    assert upper.source == other.source == "kaggle"
    assert upper.table.drop(columns="path").equals(other.table.drop(columns="path"))
    assert len(patients(other)) == 6


def test_a_set_divided_anew_shows_children_in_train_and_val(tmp_path: Path) -> None:
    images(
        tmp_path,
        "train/Pneumonia/person1_virus_6.jpeg",
        "val/Pneumonia/person1_virus_7.jpeg",
        "val/Pneumonia/person2_virus_8.jpeg",
    )
    rows = facts(open_source(tmp_path))
    assert rows["val-person1_virus_7"][1] == rows["train-person1_virus_6"][1] == "train/virus/person1"
    assert rows["val-person2_virus_8"][1] == "val/virus/person2"


def test_other_classes_beside_the_names_of_the_paediatric_set(tmp_path: Path) -> None:
    images(tmp_path, "Train/COVID/1.png", "Train/Normal/IM-0001-0001.jpeg", "Train/Normal/IM-0001-0002.jpeg")
    cases = open_source(tmp_path)
    assert facts(cases)["Train-Normal-IM-0001-0002"] == ("normal", "train/normal/IM-0001", "train")
    assert cases.reading.patients == "the file name (2 images); unknown, each image its own (1 images)"


def test_a_split_set_of_other_names_is_no_paediatric_set(tmp_path: Path) -> None:
    images(
        tmp_path, "train/NORMAL/0.png", "train/PNEUMONIA/0.png", "test/NORMAL/1.png", "test/PNEUMONIA/1.png"
    )
    assert open_source(tmp_path).labels == ("normal", "pneumonia")


def test_an_odd_file_among_many_is_named_and_left_out(tmp_path: Path) -> None:
    kermany_names(tmp_path, "NORMAL", "PNEUMONIA")
    image(tmp_path / "train/PNEUMONIA/scan.jpeg", 99)
    cases = open_source(tmp_path)
    assert len(cases) == 16
    assert (
        "Left out, because the file name and the folder do not say the same label: 1 (scan.jpeg)."
        in cases.notes
    )


@pytest.mark.parametrize(
    ("path", "patient"),
    [
        ("images/00000013_005.png", "00000013"),
        ("train/patient00003/study1/view1_frontal.jpg", "patient00003"),
        ("files/p10/p10000032/s50414267/02aa804e.jpg", "p10000032"),
        ("sub-S03044/ses-E06140/mod-rx/sub-S03044_ses-E06140_vp-pa.png", "sub-S03044"),
        ("CXR1_1_IM-0001-3001.png", "CXR1"),
        ("CXR_png/CHNCXR_0327_1.png", "CHNCXR_0327"),
        ("BACTERIA-5660566-0001.jpeg", "patient/5660566"),
        ("Patient-7 left.png", "Patient-7"),
        ("NORMAL2-IM-0383-0001 (1).jpeg", "normal/NORMAL2-IM-0383"),
        ("COVID-19 (12).png", ""),
        ("1.2.826.0.1.3680043.png", ""),
        ("personal.png", ""),
    ],
)
def test_names_of_known_families_name_the_patient(path: str, patient: str) -> None:
    assert patient_of(path) == patient


def test_folders_that_every_class_has_are_no_patients(tmp_path: Path) -> None:
    for label in ("COVID", "Normal"):
        images(
            tmp_path,
            *(
                f"{label}/{site}/{site}{label}{number}.png"
                for site in ("Kiel", "Bonn")
                for number in range(3)
            ),
        )
    cases = open_source(tmp_path)
    assert len(patients(cases)) == 12
    assert "Every class has the folders Bonn, Kiel: they are not taken for patients." in cases.notes


# -- words for healthy and for missing -----------------------------------------------------------------


@pytest.mark.parametrize(
    "word",
    ["No_findings", "no finding", "No Findings", "NoFinding", "without findings", "Healthy", "NORMAL2", "0_normal",
     "Normal CXR", "healthy_controls", "no_abnormality", "No pathology"],
)  # fmt: skip
def test_words_that_always_mean_healthy(word: str) -> None:
    assert canonical_label(word) == "normal"


@pytest.mark.parametrize(
    "word", ["abnormal", "not normal", "non-healthy", "unhealthy", "findings", "covid", "normality?"]
)
def test_words_that_do_not(word: str) -> None:
    assert canonical_label(word) != "normal"
    assert healthy_among([word, "something"]) is None


@pytest.mark.parametrize(
    "word",
    ["non-covid", "non_COVID", "NonCOVID", "noncovid", "covid_negative", "Negative", "control", "no pneumonia",
     "TB negative", "Negative for Pneumonia", "not COVID"],
)  # fmt: skip
def test_a_denial_is_healthy_where_nothing_else_is(word: str) -> None:
    assert healthy_among(["covid", word]) == word
    assert healthy_among(["covid", word, "Normal"]) == "Normal"


def test_two_denials_or_none_leave_the_question_open(tmp_path: Path) -> None:
    assert healthy_among(["non-covid", "non-tb", "covid"]) is None
    assert healthy_among(["No Lung Opacity / Not Normal", "Lung Opacity"]) is None
    assert open_source(images(tmp_path, "COVID/1.png", "Pneumonia/1.png")).labels == ("covid", "pneumonia")


def test_no_findings_and_non_covid_become_normal(tmp_path: Path) -> None:
    first = open_source(images(tmp_path / "a", "Covid-19/1.png", "No_findings/1.png"))
    second = open_source(images(tmp_path / "b", "COVID/1.png", "non-COVID/1.png"))
    assert first.labels == ("normal", "covid-19")
    assert second.labels == ("normal", "covid")
    assert (first.reading.healthy, second.reading.healthy) == ("No_findings", "non-COVID")


@pytest.mark.parametrize(
    "word", ["NA", "N/A", "NaN", "nan", "null", "None", "?", "-", "", " ", "<NA>", "#N/A", "n.a."]
)
def test_words_for_missing(word: str) -> None:
    assert is_missing(word)


@pytest.mark.parametrize("word", ["NA", "N/A", "NaN", "null", "none", "?", "-"])
def test_a_missing_label_or_patient_is_no_class_and_no_patient(tmp_path: Path, word: str) -> None:
    images(tmp_path, *(f"{number}.png" for number in range(4)))
    (tmp_path / "t.csv").write_text(
        f'path,label,patient\n0.png,normal,p\n1.png,covid,{word}\n2.png,"{word}",q\n3.png,covid,{word}\n'
    )
    cases = open_source(tmp_path / "t.csv")
    assert cases.labels == ("normal", "covid")
    assert patients(cases) == {"p", "1", "3"}
    assert cases.notes[0] == "Left out: 1 of 4 cases without a label (2)."
    assert cases.notes[1].startswith("2 of 3 rows have no patient")


def test_a_folder_called_na_is_no_class(tmp_path: Path) -> None:
    cases = open_source(
        images(tmp_path, "normal/a.png", "covid/b.png", "NaN/c.png", "covid/unknown/NA/d.png")
    )
    assert cases.labels == ("normal", "covid")
    assert "Left out, because their folder says that the label is not known: 1 (c.png)." in cases.notes


def test_whole_numbers_of_a_spreadsheet_are_whole(tmp_path: Path) -> None:
    images(tmp_path, "0.png", "1.png", "2.png")
    (tmp_path / "t.csv").write_text("path,label,patient\n0.png,0.0,12.0\n1.png,1,12\n2.png,,3\n")
    cases = open_source(tmp_path / "t.csv")
    assert cases.labels == ("0", "1")
    assert patients(cases) == {"12"}


def test_a_table_takes_patients_from_names_where_it_has_none(tmp_path: Path) -> None:
    images(tmp_path, "00000001_000.png", "00000001_001.png", "00000002_000.png")
    rows = "\n".join(f"{name.name},covid" for name in sorted(tmp_path.glob("*.png")))
    (tmp_path / "t.csv").write_text(f"path,label\n{rows}\n")
    assert patients(open_source(tmp_path / "t.csv")) == {"00000001", "00000002"}


# -- files and names -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["._a.png", ".hidden.png", "__MACOSX/a.png", ".git/a.png", "$RECYCLE.BIN/a.png"]
)
def test_files_of_the_system_are_no_radiographs(tmp_path: Path, name: str) -> None:
    images(tmp_path, "normal/a.png", "covid/b.png", f"covid/{name}", name)
    assert is_junk(name.split("/")[0])
    assert len(open_source(tmp_path)) == 2
    assert len(list_images(tmp_path)) == 2


def test_thumbs_db_is_not_even_counted(tmp_path: Path) -> None:
    images(tmp_path, "normal/p/a.png", "covid/q/b.png")
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store"):
        (tmp_path / "covid" / name).write_bytes(b"x")
    assert open_source(tmp_path).notes == ()


@pytest.mark.parametrize("ending", [".bmp", ".webp", ".BMP", ".WebP"])
@pytest.mark.parametrize("shape", [(40, 48), (40, 48, 3)])
def test_bmp_and_webp_are_read(tmp_path: Path, ending: str, shape: tuple[int, ...]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    good, bad = tmp_path / f"normal/a{ending}", tmp_path / f"normal/b{ending}"
    good.parent.mkdir()
    data = cv2.imencode(ending.lower(), picture, [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes()
    good.write_bytes(data)
    bad.write_bytes(data[: len(data) // 2])
    grey = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    assert np.abs(read_grey(good).astype(int) - grey).max() <= 1
    assert (probe(good).height, probe(good).width) == (40, 48)
    with pytest.raises(UnreadableImage, match="truncated"):
        read_grey(bad)
    assert len(open_source(tmp_path)) == 2


def test_names_of_dicom_uids_stay_short_and_different(tmp_path: Path) -> None:
    def uid(k: int) -> str:
        return f"1.2.826.0.1.3680043.8.498.{10**37 + k}"

    for label in ("normal", "pneumonia"):
        for i in range(4):
            image(tmp_path / label / f"{uid(i // 2)}.{uid(7)}" / f"{uid(i)}.{uid(i)}.png", i)
    cases = open_source(tmp_path)
    names = cases.table["case_id"]
    assert len(set(names)) == 8
    assert names.str.encode("utf-8").str.len().max() <= LONGEST
    assert cases.table["patient"].nunique() == 2
    write_text(tmp_path / f"{names[0]}{'x' * (255 - LONGEST - 4)}.npz", "a file name of 255 bytes")


def test_a_long_name_of_letters_outside_ascii_stays_short() -> None:
    name = case_id_of("ä" * 200 + "/" + "肺" * 200 + ".png")
    assert len(name.encode()) <= LONGEST
    assert name.startswith("ää")


def test_both_spellings_of_an_accent_are_one_class(tmp_path: Path) -> None:
    cases = open_source(images(tmp_path, "Café/a.png", "Cafe\u0301/b.png", "normal/c.png"))
    assert cases.labels == ("normal", "café")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_name_that_is_no_utf8_is_left_out_and_counted(tmp_path: Path) -> None:
    images(tmp_path, "normal/p/a.png", "covid/q/b.png")
    Path(os.fsdecode(os.fsencode(tmp_path / "covid") + b"/caf\xe9.png")).write_bytes(b"x")
    cases = open_source(tmp_path)
    assert len(cases) == 2
    assert "1 (caf\\udce9.png)" in cases.notes[0]


def test_files_that_differ_in_replaced_characters_are_two_cases(tmp_path: Path) -> None:
    images(tmp_path, "normal/a b.png", "normal/a_b.png", "covid/c.png")
    assert open_source(tmp_path).table["case_id"].is_unique


def test_a_link_to_a_folder_above_ends(tmp_path: Path) -> None:
    images(tmp_path, "normal/a.png", "covid/b.png")
    (tmp_path / "normal" / "again").symlink_to(tmp_path)
    assert len(open_source(tmp_path)) == 2
