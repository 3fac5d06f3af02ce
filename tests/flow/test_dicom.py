"""A study of phantoms written as DICOM: the greys of its PNG twin, and no word of the headers in what is written."""

import csv
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from hilum.data.decode import read_grey
from tests.conftest import Answer
from tests.dicom_files import write

SECRET = (
    "quixano",
    "mrn-",
    "/mrn",
    "barataria",
    "sancho^",
    "20190817",
    "20250611",
    "acc7788123",
    "sn5550123",
)
STUDY = [
    *(
        "--task",
        "binary",
        "--set=anomaly=null",
        "--set=explain=null",
        "--set=embed=null",
        "--set=leakage=null",
    ),
    *("--set=reliability=null", "--set=robustness=null", "--set=counterfactual=null"),
    *("--set=binary.training.epochs=1", "--set=binary.pixels.size=[32,40]", "--set=replicates=50"),
    "--set=binary.model={name: vgg, options: {blocks: [[8]], dense: [8]}}",
]


@pytest.fixture(scope="module")
def twins(phantom_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The phantoms as DX, with planted identifiers in headers and paths, and as 12-bit PNG."""
    root = tmp_path_factory.mktemp("twins")
    with (phantom_data / "cases.csv").open() as table:
        rows = list(csv.DictReader(table))
    for number, row in enumerate(rows):
        grey = cv2.imread(str(phantom_data / row["path"]), cv2.IMREAD_GRAYSCALE).astype(np.uint16) * 16
        label = "normal" if row["label"] == "normal" else "pneumonia"
        png = root / "png" / label / f"{row['patient']}_{number}.png"
        png.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(png), grey)
        inverted = number % 3 == 0
        write(
            root / "dicom" / label / f"Quixano_{row['patient']}" / f"MRN{number}",
            grey.max() - grey if inverted else grey,
            12,
            PhotometricInterpretation="MONOCHROME1" if inverted else "MONOCHROME2",
            PatientID=f"MRN-{row['patient']}",
            PatientName=f"Quixano^{row['patient']}",
            PatientBirthDate="20190817",
            StudyDate="20250611",
            AccessionNumber="ACC7788123",
            InstitutionName="Hospital Barataria",
            ReferringPhysicianName="Sancho^Panza",
            DeviceSerialNumber="SN5550123",
        )
    return root / "dicom", root / "png"


def test_the_greys_are_those_of_the_png_twins(twins: tuple[Path, Path]) -> None:
    from hilum.data.images import to_uint8

    dicom = {int(path.name[3:]): path for path in twins[0].rglob("MRN*")}
    png = {int(path.stem.split("_")[-1]): path for path in twins[1].rglob("*.png")}
    assert dicom.keys() == png.keys()
    assert len(dicom) > 60
    for number, path in dicom.items():
        assert np.abs(read_grey(path).astype(int) - to_uint8(read_grey(png[number]))).max() <= 1


def test_no_word_of_a_header_is_written(
    twins: tuple[Path, Path], tmp_path: Path, hilum: Callable[..., Answer]
) -> None:
    run = tmp_path / "run"
    answers = [
        hilum("study", str(twins[0]), "--out", str(run), *STUDY),
        hilum("data", "audit", str(twins[0])),
        hilum("report", str(run)),
    ]
    shown = [words for answer in answers for words in (answer.out, answer.err)]
    assert [answer.code for answer in answers] == [0, 0, 0], answers
    written = [path for path in run.rglob("*") if path.is_file()]
    assert {"cases.csv", "run.json", "audit.json", "index.html", "predictions.csv"} <= {
        path.name for path in written
    }
    place = str(twins[0]).lower()
    leaks = {
        (path.name, word)
        for path in written
        for word in SECRET
        if word.encode() in contents(path).replace(place.encode(), b"")
    }
    leaks |= {
        ("terminal", word) for word in SECRET for words in shown if word in words.lower().replace(place, "")
    }
    assert leaks == set()
    assert not [path for path in written if any(word in path.name.lower() for word in SECRET)]


def contents(path: Path) -> bytes:
    """The bytes of a file in small letters, those inside an archive as well."""
    data = path.read_bytes()
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            data += b"".join(archive.read(name) for name in archive.namelist())
    return data.lower()


def test_predictions_are_those_of_the_png_twins(
    twins: tuple[Path, Path], tmp_path: Path, hilum: Callable[..., Answer]
) -> None:
    shown = {}
    for name, root in zip(("dicom", "png"), twins, strict=True):
        answer = hilum("predict", str(root / "normal"), "--format", "csv")
        assert answer.code == 0
        rows = list(csv.DictReader(answer.out.splitlines()))
        shown[name] = {
            int("".join(filter(str.isdigit, Path(row["file"]).stem.split("_")[-1]))): row for row in rows
        }
    assert shown["dicom"].keys() == shown["png"].keys()
    assert len(shown["png"]) > 10
    column = next(name for name in next(iter(shown["png"].values())) if "normal" in name)
    apart = [
        abs(float(row[column]) - float(shown["png"][number][column]))
        for number, row in shown["dicom"].items()
    ]
    assert max(apart) < 0.02
