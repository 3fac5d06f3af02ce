"""Variants of the situations in which hilum once went wrong, beyond those that its other tests hold."""

import unicodedata
from pathlib import Path

import cv2
import numpy as np
import pytest

from hilum.data.decode import read_grey
from hilum.data.images import Pixels, to_uint8
from hilum.data.sources import open_source
from hilum.errors import DataError
from hilum.inference.stream import Wanted, listed, prepare
from tests import dicom_files
from tests.unit.test_sources import images, sentence

GREY = np.random.default_rng(0).integers(0, 4096, (300, 300)).astype(np.uint16)


# -- images without a picture --------------------------------------------------------------------------------------


def _one_hot_pixel() -> np.ndarray:
    image = np.full((300, 300), 100, np.uint16)
    image[5, 5] = 65535
    return image


@pytest.mark.parametrize(
    ("name", "image", "words"),
    [
        ("deep.png", np.full((300, 300), 40000, np.uint16), "holds no picture"),
        ("hot.png", _one_hot_pixel(), "holds no picture"),
        ("clear.png", np.zeros((300, 300, 4), np.uint8), "holds no picture"),
        ("float.tiff", np.zeros((300, 300), np.float32), "holds no picture"),
        (
            "line.png",
            np.tile(np.arange(256, dtype=np.uint8), (1, 20)),
            "1 x 5120 pixels, too few to be judged",
        ),
    ],
)
def test_an_image_that_holds_no_picture(name: str, image: np.ndarray, words: str, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / name), image)
    answer = prepare(tmp_path / name, Wanted([Pixels(size=(64, 64))], least=56))
    assert words in (answer.error or "") and not answer.images


@pytest.mark.parametrize(
    "header", [{"PhotometricInterpretation": "MONOCHROME1"}, {"WindowCenter": 9, "WindowWidth": 2}]
)
def test_a_dicom_that_holds_no_picture(header: dict[str, object], tmp_path: Path) -> None:
    path = dicom_files.write(tmp_path / "a.dcm", np.full((300, 300), 2000, np.uint16), 12, **header)
    assert "holds no picture" in (prepare(path, Wanted([Pixels(size=(64, 64))], least=56)).error or "")


# -- grey levels of 16 bits ----------------------------------------------------------------------------------------


def _marked(kind: str) -> np.ndarray:
    image = GREY.copy()
    if kind == "a row of hot pixels":
        image[100] = 65535
    elif kind == "a letter":
        image[5:40, 5:60] = 65535
    elif kind == "a dead pixel":
        image += 30000
        image[0, 0] = 0
    elif kind == "padding":
        image[:, 60:] += 20000
        image[:, :60] = 0
    return image


@pytest.mark.parametrize("kind", ["nothing", "a row of hot pixels", "a letter", "a dead pixel", "padding"])
def test_odd_pixels_leave_the_levels_to_the_picture(kind: str) -> None:
    plain, marked = to_uint8(_marked("nothing")), to_uint8(_marked(kind))
    inside = np.s_[150:, 100:]  # where no kind has changed a pixel
    assert np.abs(plain[inside].astype(int) - marked[inside]).max() <= 1


@pytest.mark.parametrize("odd", [None, -32768, 32767])
def test_levels_of_signed_and_float_files(odd: int | None, tmp_path: Path) -> None:
    signed = GREY.astype(np.int16) - 1024
    if odd is not None:
        signed[3, 3] = odd
    cv2.imwrite(str(tmp_path / "signed.tiff"), signed)
    assert len(np.unique(to_uint8(read_grey(tmp_path / "signed.tiff")))) == 256
    dim = (GREY / 65535).astype(np.float32)
    dim[3, 3] = 0 if odd is None else 1
    cv2.imwrite(str(tmp_path / "dim.tiff"), dim)
    assert len(np.unique(to_uint8(read_grey(tmp_path / "dim.tiff")))) == 256


# -- names of folders ----------------------------------------------------------------------------------------------


def split_counts(root: Path) -> dict[str, int]:
    return open_source(root).reading.splits


@pytest.mark.parametrize(
    ("folders", "splits"),
    [
        (("TRAIN", "VALID", "TEST"), ("train", "val", "test")),
        (("train_set", "validation set", "test data"), ("train", "val", "test")),
        (("trainval", "test"), ("train", "test")),
        (("Train_Val", "holdout"), ("train", "test")),
    ],
)
def test_folders_of_splits(folders: tuple[str, ...], splits: tuple[str, ...], tmp_path: Path) -> None:
    root = images(
        tmp_path, *(f"{part}/{label}/{n}.png" for part in folders for label in "ab" for n in range(2))
    )
    assert split_counts(root) == dict.fromkeys(splits, 4)
    assert open_source(root).labels == ("a", "b")


def test_most_images_beside_the_splits_is_a_question(tmp_path: Path) -> None:
    names = [f"development/{label}/{n}.png" for label in "ab" for n in range(4)]
    root = images(tmp_path, *names, "test/a/0.png", "test/b/1.png")
    assert (
        "8 of 10 images of" in sentence(open_source, root)
        and "lie beside its folders of splits, for example in 'development'; call that folder train, val or test, or"
        " leave it out with --exclude 'development'"
        in sentence(open_source, root)
    )
    few = images(
        tmp_path / "few", "extra/a/0.png", *(f"test/{label}/{n}.png" for label in "ab" for n in range(4))
    )
    assert len(open_source(few)) == 8


@pytest.mark.parametrize(
    ("folders", "healthy"),
    [
        (("yes", "no"), "no"),
        (("True", "False"), "False"),
        (("without_pneumonia", "with_pneumonia"), "without_pneumonia"),
        (("TB", "Not TB"), "Not TB"),
        (("present", "absent"), "absent"),
    ],
)
def test_words_that_deny_are_healthy_where_nothing_else_is(
    folders: tuple[str, ...], healthy: str, tmp_path: Path
) -> None:
    cases = open_source(images(tmp_path, *(f"{label}/{n}.png" for label in folders for n in range(2))))
    assert (cases.labels[0], cases.reading.healthy) == ("normal", healthy)


def test_class_folders_that_differ_in_how_letters_are_composed_are_one_class(tmp_path: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "Grippe é") for form in ("NFC", "NFD"))
    root = images(tmp_path, "normal/0.png", f"{composed}/1.png", f"{apart}/2.png", "Normal /3.png")
    assert open_source(root).labels == ("normal", composed.lower())


@pytest.mark.parametrize(
    "mask",
    [
        "{label}/Segmentations/{n}",
        "{label}/{n}-segmentation",
        "{label}/left_lung_mask/{n}",
        "masks/{label}/{n}",
    ],
)
def test_masks_wherever_they_lie(mask: str, tmp_path: Path) -> None:
    above = "images/" if mask.startswith("masks") else ""
    names = [f"{above}{label}/{n}.png" for label in "ab" for n in range(3)]
    names += [f"{mask.format(label=label, n=n)}.png" for label in "ab" for n in range(3)]
    cases = open_source(images(tmp_path, *names))
    assert len(cases) == cases.table["patient"].nunique() == 6
    assert any(note.startswith("Masks, left out: 6 images") for note in cases.notes)


# -- cells and names of files --------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["#N/A", "<NA>", "N.A.", "NaT", "NULL", "unknown", "  ", "-", "?"])
def test_words_for_not_known_are_no_class_and_no_patient(word: str, tmp_path: Path) -> None:
    images(tmp_path, "0.png", "1.png", "2.png", "3.png")
    rows = ["0.png,normal,p", f"1.png,flu,{word}", f"2.png,{word},q", f"3.png,flu,{word}"]
    (tmp_path / "t.csv").write_text("path,label,patient\n" + "\n".join(rows) + "\n")
    cases = open_source(tmp_path / "t.csv")
    assert cases.labels == ("normal", "flu")
    assert cases.table["patient"].nunique() == len(cases) == 3


def test_a_table_may_say_sex_age_and_site(tmp_path: Path) -> None:
    images(tmp_path, "0.png", "1.png", "2.png")
    rows = ["0.png,1,female,58,Ward A", "1.png,0,M,018M,", "2.png,0,1,414,Ward B"]
    (tmp_path / "t.csv").write_text("path,Edema,Sex,Age,Site\n" + "\n".join(rows) + "\n")
    cases = open_source(tmp_path / "t.csv")
    assert cases.findings == ("Edema",)  # a column of numbers called Sex is no finding
    assert cases.table[["sex", "age", "site"]].to_numpy().tolist() == [
        ["F", "58", "Ward A"],
        ["M", "1.5", ""],
        ["", "", "Ward B"],
    ]


def test_long_names_of_many_bytes_stay_apart(tmp_path: Path) -> None:
    names = [f"{label}/{'é' * 100}{n}.png" for label in "ab" for n in range(2)]
    (tmp_path / "t.csv").write_text(
        "path,label,case_id\n"
        + "\n".join(f"{name},{name[0]},{'c' * 300}{n}" for n, name in enumerate(names))
        + "\n"
    )
    root = images(tmp_path / "data", *names)
    for cases in (open_source(root), open_source((tmp_path / "t.csv").rename(root / "t.csv"))):
        ids = cases.table["case_id"]
        assert ids.is_unique and len(ids) == 4 and max(len(each.encode()) for each in ids) <= 128


def test_files_of_a_mac_or_a_disk_are_never_images(tmp_path: Path) -> None:
    junk = ("._0.png", "__MACOSX/a/._0.png", "a/.AppleDouble/0.png", "b/@eaDir/0.png", "$RECYCLE.BIN/0.png")
    root = images(tmp_path, *(f"{label}/{n}.png" for label in "ab" for n in range(2)), *junk)
    assert len(open_source(root)) == len(listed(root).images) == 4
    assert listed(root).skipped == []


def test_a_patient_and_an_image_on_both_sides_are_used_once(tmp_path: Path) -> None:
    from hilum.data.split import split_cases

    names = [
        f"{part}/{label}/{part[:2]}{label}{n}/{n}.png"
        for part in ("train", "test")
        for label in "ab"
        for n in range(9)
    ]
    root = images(tmp_path, *names, "train/a/tea3/x.png")
    (root / "test/b/teb4/copy.png").write_bytes((root / "train/b/trb5/5.png").read_bytes())
    split = split_cases(open_source(root), "patient", seed=0)
    assert split.of.value_counts()["unused"] == 2
    assert (
        "2 images are unused because their patient, or the very same image, is in the test part" in split.note
    )
    (root / "train/a/tea3/x.png").unlink()
    assert "1 image is unused because its patient" in split_cases(open_source(root), "patient", seed=0).note


def test_dicom_of_every_ending_in_folders_of_classes(tmp_path: Path) -> None:
    for label in ("normal", "flu"):
        for n, ending in enumerate((".DCM", ".Dicom", "", ".ima", ".img")):
            picture = dicom_files.picture(seed=n)
            dicom_files.write(tmp_path / label / f"{n}{ending}", picture, 12, PatientID=f"P{label}{n}")
    cases = open_source(tmp_path)
    assert (len(cases), cases.reading.patients) == (10, "the headers (10 images)")
    with pytest.raises(DataError, match="no such label"):
        from hilum.data.reading_options import ReadingOptions

        open_source(tmp_path, options=ReadingOptions(healthy="control"))
