"""What every source must hold. The files are found; a new one needs an example of its input here."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.dicom_files import picture as dicom_picture
from tests.dicom_files import write
from tests.unit import public_sets
from tests.unit.public_sets import images

from hilum.data.cases import COLUMNS, DETAILS
from hilum.data.sources import get, names, open_source


def _kaggle(root: Path) -> Path:
    return images(
        root / "chest_xray",
        "train/NORMAL/IM-0115-0001.jpeg",
        "train/PNEUMONIA/person1_bacteria_1.jpeg",
        "val/PNEUMONIA/person1_virus_1.jpeg",
    )


def _folder(root: Path) -> Path:
    return images(root / "data", "train/normal/p1/a.png", "train/abnormal/b.png", "test/abnormal/c.tif")


def _table(root: Path) -> Path:
    images(root / "data", "a.png", "sub/b.png")
    path = root / "data" / "list.csv"
    path.write_text("path,label,patient,split\na.png,normal,p1,train\nsub/b.png,virus,,\n")
    return path


def _medmnist(root: Path) -> Path:
    values = np.arange(3 * 28 * 28).reshape(3, 28, 28).astype(np.uint8)
    labels = np.array([[0], [1], [1]], np.uint8)
    path = root / "pneumoniamnist.npz"
    np.savez(
        path,
        **{f"{split}_images": values for split in ("train", "val", "test")},
        **{f"{split}_labels": labels for split in ("train", "val", "test")},
    )
    return path


def _dicom(root: Path) -> Path:
    for number, name in enumerate(("train/normal/IM1", "train/virus/IM2", "test/virus/sub/IM3.dcm")):
        write(root / "disc" / name, dicom_picture(8, 8, seed=number), 12, PatientID=f"MRN-{number}")
    return root / "disc"


EXAMPLES: dict[str, Callable[[Path], Path]] = {
    "dicom": _dicom,
    "folder": _folder,
    "kaggle": _kaggle,
    "medmnist": _medmnist,
    "table": _table,
    "nih_chestxray14": public_sets.nih,
    "chexpert": public_sets.chexpert,
    "covid19_radiography": public_sets.covid19_radiography,
    "montgomery_shenzhen": public_sets.montgomery_shenzhen,
    "vindr": public_sets.vindr,
    "rsna_pneumonia": public_sets.rsna,
}


@pytest.fixture(params=names())
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def example(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A small input that the source accepts."""
    if name == "phantom":
        return request.getfixturevalue("phantom_data")
    if name not in EXAMPLES:
        pytest.fail(f"write an example input for the source {name!r} into EXAMPLES of this file")
    return EXAMPLES[name](tmp_path)


def test_says_what_it_is(name: str) -> None:
    source = get(name)
    assert (source.__doc__ or "").strip()
    assert source.DESCRIPTION.strip()
    assert "\n" not in source.DESCRIPTION
    assert source.load.__doc__
    assert source.accepts.__doc__


def test_does_not_accept_nonsense(name: str, tmp_path: Path) -> None:
    source = get(name)
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").write_text("no radiograph")
    for nonsense in ("no/such/place", tmp_path / "empty", str(tmp_path / "text.txt")):
        assert source.accepts(nonsense) is False


def test_is_the_one_that_opens_its_example(name: str, example: Path) -> None:
    assert get(name).accepts(example) is True
    assert get(name).accepts(str(example)) is True
    assert open_source(example).source == name


def test_gives_checked_cases(name: str, example: Path) -> None:
    cases = get(name).load(example)
    table = cases.table
    assert tuple(table.columns)[: len(COLUMNS)] == COLUMNS
    further = table.columns[len(COLUMNS) :]
    assert all(name.startswith("finding:") or name in DETAILS for name in further)
    assert len(cases) > 0
    assert table["case_id"].is_unique
    assert table["case_id"].is_monotonic_increasing
    assert not table["case_id"].str.contains(r"[/\\\s]").any()
    assert all(Path(path).is_absolute() and Path(path).is_file() for path in table["path"])
    assert set(table["split"]) <= {"train", "val", "test", ""}
    assert cases.source == name
    assert cases.root == example
    assert all(note and "\n" not in note for note in cases.notes)


def test_reads_the_same_twice(name: str, example: Path) -> None:
    first, second = get(name).load(example), get(name).load(str(example))
    assert first.table.equals(second.table)
    assert (first.digest, first.notes) == (second.digest, second.notes)


def test_reads_the_same_from_another_place(name: str, example: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / example.name
    if example.is_dir():
        shutil.copytree(example, copy)
    else:
        shutil.copytree(example.parent, copy.parent, ignore=shutil.ignore_patterns("elsewhere"))
    cases = get(name).load(copy)
    assert cases.root == copy
    assert cases.digest == get(name).load(example).digest


def test_notices_another_image(name: str, example: Path, tmp_path: Path) -> None:
    if example.is_file() and example.suffix == ".npz":
        pytest.skip("the images are inside the file")
    copy = tmp_path / "elsewhere"
    shutil.copytree(example if example.is_dir() else example.parent, copy)
    data = copy if example.is_dir() else copy / example.name
    before = get(name).load(data)
    image = Path(before.table["path"].iloc[-1])
    image.write_bytes(image.read_bytes() + b"\0")
    assert get(name).load(data).digest != before.digest


def test_every_known_example_has_its_source() -> None:
    assert set(EXAMPLES) <= set(names())
