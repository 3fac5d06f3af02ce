"""Odd DICOM files are read or named in one sentence; what is no single chest radiograph is refused with what it is."""

import logging
import re
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filewriter import dcmwrite
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from hilum.data.decode import UnreadableImage, decode, probe, read_grey
from hilum.data.dicom.grey import read_image
from hilum.data.dicom.header import NotRead, is_dicom
from hilum.data.dicom.kinds import is_frontal, remarks, spacing_of, view_of
from tests.dicom_files import CR, SC, dataset_of, picture, write

VALUES = picture(12, 16)
WINDOW = {"WindowCenter": 1800, "WindowWidth": 2500}


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return write(tmp_path / "plain.dcm", VALUES, 12, **WINDOW)


@pytest.fixture
def expected(plain: Path) -> np.ndarray:
    return read_grey(plain)


def without_preamble(path: Path) -> bytes:
    return path.read_bytes()[132:]


def without_preamble_but_dicm(path: Path) -> bytes:
    return path.read_bytes()[128:]


def without_meta_header(path: Path) -> bytes:
    dataset = dcmread(path)
    out = path.with_suffix(".bare")
    del dataset.file_meta
    dcmwrite(out, dataset, implicit_vr=True, little_endian=True, enforce_file_format=False)
    return out.read_bytes()


def explicit_without_meta_header(path: Path) -> bytes:
    dataset = dcmread(path)
    out = path.with_suffix(".bare")
    del dataset.file_meta
    dcmwrite(out, dataset, implicit_vr=False, little_endian=True, enforce_file_format=False)
    return out.read_bytes()


def preamble_without_meta_header(path: Path) -> bytes:
    return bytes(128) + b"DICM" + explicit_without_meta_header(path)


def big_endian(path: Path) -> bytes:
    dataset = dcmread(path)
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
    dataset["PixelData"].VR = "OW"
    out = path.with_suffix(".big")
    dcmwrite(out, dataset, implicit_vr=False, little_endian=False)
    return out.read_bytes()


def big_endian_without_meta_header(path: Path) -> bytes:
    data = big_endian(path)
    return data[data.index(b"\x00\x08\x00\x16") :]


def implicit(path: Path) -> bytes:
    dataset = dcmread(path)
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    dataset.save_as(path.with_suffix(".implicit"))
    return path.with_suffix(".implicit").read_bytes()


def private_creators(path: Path) -> bytes:
    dataset = dcmread(path)
    block = dataset.private_block(0x0029, "SIEMENS MEDCOM HEADER", create=True)
    block.add_new(0x10, "UN", b"\x01\x02\x03")
    dataset.add_new((0x0031, 0x1001), "LO", "a private element without a creator")
    dataset.save_as(path.with_suffix(".private"))
    return path.with_suffix(".private").read_bytes()


def empty_sequences(path: Path) -> bytes:
    dataset = dcmread(path)
    for keyword in ("VOILUTSequence", "ModalityLUTSequence", "ViewCodeSequence", "RequestAttributesSequence"):
        setattr(dataset, keyword, Sequence([]))
    dataset.AnatomicRegionSequence = Sequence([Dataset()])
    dataset.save_as(path.with_suffix(".empty"))
    return path.with_suffix(".empty").read_bytes()


def wrong_kinds_of_value(path: Path) -> bytes:
    """Rows as text, a window with too many digits, a date that is none, an unknown character set."""
    dataset = dcmread(path)
    del dataset["Rows"]
    dataset.add_new("Rows", "IS", "12")
    dataset.add_new("WindowCenter", "LO", "1800.00000000000000000000")
    dataset.add_new("PatientBirthDate", "LO", "the third of May")
    dataset.add_new("SpecificCharacterSet", "CS", "ISO_IR 4711")
    dataset.add_new("PatientName", "PN", "Xu^Li")
    dataset.add_new("PatientAge", "UL", 7)
    dataset.save_as(path.with_suffix(".wrong"))
    return path.with_suffix(".wrong").read_bytes()


def bytes_after_the_end(path: Path) -> bytes:
    return path.read_bytes() + bytes(100)


def padded_pixels(path: Path) -> bytes:
    dataset = dcmread(path)
    dataset.PixelData += bytes(64)
    dataset.save_as(path.with_suffix(".padded"))
    return path.with_suffix(".padded").read_bytes()


ODD = (
    without_preamble,
    without_preamble_but_dicm,
    without_meta_header,
    explicit_without_meta_header,
    preamble_without_meta_header,
    big_endian,
    big_endian_without_meta_header,
    implicit,
    private_creators,
    empty_sequences,
    wrong_kinds_of_value,
    bytes_after_the_end,
    padded_pixels,
)


@pytest.mark.parametrize("make", ODD, ids=lambda function: function.__name__)
def test_an_odd_file_is_read(
    make: object, plain: Path, expected: np.ndarray, capfd: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pydicom, when it writes what it should not
        data = make(plain)  # type: ignore[operator]
    assert is_dicom(data[:132])
    capfd.readouterr()
    np.testing.assert_array_equal(decode(data), expected)
    assert capfd.readouterr() == ("", "")


def test_nothing_but_a_sentence_wherever_a_file_is_cut(plain: Path, expected: np.ndarray) -> None:
    data = plain.read_bytes()
    reasons = set()
    for cut in range(1, len(data) - 1):
        with pytest.raises(UnreadableImage) as caught:
            decode(data[:cut])
        reasons.add(re.sub(r":.*|.*(?=, not a radiograph)", "", caught.value.reason))
    named = {"a DICOM file without a picture", "not an image", ", not a radiograph of the chest"}
    assert reasons <= {"truncated", "damaged", *named}
    assert "truncated" in reasons


def test_nothing_but_a_sentence_for_any_damage(plain: Path) -> None:
    data = plain.read_bytes()
    chance = np.random.default_rng(0)
    answers = []
    for _ in range(300):
        spoiled = np.frombuffer(data, np.uint8).copy()
        at = chance.integers(132, 1000 if len(data) > 1000 else len(data), 3)
        spoiled[at] = chance.integers(0, 256, 3)
        try:
            answers.append(decode(spoiled.tobytes()).shape)
        except UnreadableImage as error:
            answers.append(error.reason)
    kinds = {type(answer) for answer in answers}
    assert len(answers) == 300 and kinds == {tuple, str}, "some are read, some are named"


def test_reading_leaves_pydicom_as_it_was(plain: Path) -> None:
    from pydicom.config import settings

    before = settings.reading_validation_mode, list(warnings.filters), logging.getLogger("pydicom").level
    read_grey(plain)
    assert (
        settings.reading_validation_mode,
        list(warnings.filters),
        logging.getLogger("pydicom").level,
    ) == before


def test_threads_read_together(plain: Path, expected: np.ndarray) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        for image in pool.map(read_grey, [plain] * 40):
            np.testing.assert_array_equal(image, expected)
    assert warnings.filters[0][0] == "error" or "error" in {filter_[0] for filter_ in warnings.filters}


def test_a_deflated_file_that_grows_too_large_is_refused(tmp_path: Path) -> None:
    dataset = dataset_of(np.zeros((100, 100), np.uint16), 12)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    data = (tmp_path / "a.dcm").read_bytes()
    assert read_image(data, 10_000).shape == (100, 100)
    with pytest.raises(NotRead, match="its deflated part is larger than"):
        read_image(data, 1000)


def refusal(path: Path) -> str:
    with pytest.raises(UnreadableImage) as caught:
        read_grey(path)
    return caught.value.reason


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"Modality": "CT"}, "a CT slice, not a radiograph of the chest"),
        ({"Modality": "MR"}, "an MR image, not a radiograph of the chest"),
        ({"Modality": "US"}, "an ultrasound image, not a radiograph of the chest"),
        ({"Modality": "MG"}, "a mammogram, not a radiograph of the chest"),
        ({"Modality": "XC"}, "a clinical photograph, not a radiograph of the chest"),
        ({"Modality": "PX"}, "a dental radiograph, not a radiograph of the chest"),
        ({"Modality": "QQ"}, "modality 'QQ', not a radiograph of the chest"),
        (
            {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.77.1.4", "Modality": "OT"},
            "a clinical photograph, not a radiograph of the chest",
        ),
        (
            {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2", "Modality": ""},
            "a CT slice, not a radiograph of the chest",
        ),
        ({"NumberOfFrames": 12}, "12 frames, a series of pictures and not a single radiograph"),
        ({"BodyPartExamined": "HAND"}, "its header says the body part HAND, not the chest"),
        ({"BodyPartExamined": "ABDOMEN"}, "its header says the body part ABDOMEN, not the chest"),
        ({"BodyPartExamined": "L SPINE"}, "its header says the body part L SPINE, not the chest"),
        ({"Rows": 60000, "Columns": 60000}, "60000 x 60000 pixels, more than 134 million"),
        ({"Rows": 0}, "its header says 16 x 0 pixels"),
        ({"Rows": 200}, "truncated"),
        ({"BitsAllocated": 32, "BitsStored": 32}, "32 of 32 bits a pixel; 8 and 16 are read"),
        ({"BitsAllocated": 1, "BitsStored": 1}, "1 of 1 bits a pixel; 8 and 16 are read"),
        ({"PhotometricInterpretation": ""}, "damaged: its header lacks PhotometricInterpretation"),
        ({"PhotometricInterpretation": "CMYK"}, "1 values a pixel as CMYK, which is not read"),
        ({"RescaleSlope": "0"}, "damaged: its header says RescaleSlope 0"),
    ],
)
def test_what_is_no_chest_radiograph_is_named(header: dict[str, object], reason: str, tmp_path: Path) -> None:
    assert refusal(write(tmp_path / "a.dcm", VALUES, 12, **header)) == reason


def test_files_without_a_picture_are_named(tmp_path: Path) -> None:
    report = dataset_of(VALUES, 12, Modality="SR", SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11")
    del report.PixelData
    report.save_as(tmp_path / "report.dcm", enforce_file_format=True)
    empty = dataset_of(VALUES, 12)
    del empty.PixelData
    empty.save_as(tmp_path / "empty.dcm", enforce_file_format=True)
    (tmp_path / "text.dcm").write_bytes(b"no DICOM")
    (tmp_path / "zero.dcm").write_bytes(bytes(128) + b"DICM" + bytes(500))
    (tmp_path / "none.dcm").write_bytes(b"")
    assert refusal(tmp_path / "report.dcm") == "a structured report, not a radiograph of the chest"
    assert refusal(tmp_path / "empty.dcm") == "a DICOM file without a picture"
    assert refusal(tmp_path / "text.dcm") == "not DICOM, although its name says so"
    assert refusal(tmp_path / "zero.dcm") == "damaged: a DICOM file without a header"
    assert refusal(tmp_path / "none.dcm") == "empty"


@pytest.mark.parametrize("header", [{"Modality": "CR", "SOPClassUID": CR}, {"Modality": "RG"}, {"Modality": "RF"},
                                    {"Modality": "OT", "SOPClassUID": SC}, {"Modality": ""},
                                    {"BodyPartExamined": "CHEST ABDOMEN"}, {"BodyPartExamined": "TORAX"},
                                    {"BodyPartExamined": ""}, {"BodyPartExamined": "PORT CHEST"}])  # fmt: skip
def test_radiographs_of_every_kind_are_read(header: dict[str, object], tmp_path: Path) -> None:
    assert read_grey(write(tmp_path / "a.dcm", VALUES, 12, **header)).shape == VALUES.shape


def test_the_header_gives_size_mode_and_bits(tmp_path: Path) -> None:
    facts = probe(write(tmp_path / "a.dcm", VALUES, 12))
    assert (facts.width, facts.height, facts.mode, facts.bits) == (16, 12, "grey", 12)
    colour = probe(write(tmp_path / "b.dcm", np.zeros((4, 6, 3), np.uint8), 8))
    assert (colour.width, colour.height, colour.mode, colour.bits) == (6, 4, "rgb", 8)


@pytest.mark.parametrize(
    ("view", "expected", "frontal"),
    [("PA", "PA", True), ("AP", "AP", True), ("LL", "LL", False), ("RL", "RL", False), ("LATERAL", "LATERAL", False),
     ("LAO", "LAO", False), ("LLD", "LLD", True), ("AP SUPINE", "AP SUPINE", True), ("", "", True)],
)  # fmt: skip
def test_views(view: str, expected: str, frontal: bool) -> None:
    assert view_of(dataset_of(VALUES, ViewPosition=view)) == expected
    assert is_frontal(expected) == frontal


def test_the_view_may_stand_in_its_code() -> None:
    code = Dataset()
    code.CodeMeaning = "left lateral"
    dataset = dataset_of(VALUES, ViewPosition="", ViewCodeSequence=Sequence([code]))
    assert not is_frontal(view_of(dataset))


def test_remarks_name_text_orientation_and_unknown_parts() -> None:
    assert remarks(dataset_of(VALUES, PatientOrientation=["L", "F"])) == []
    dataset = dataset_of(
        VALUES, BurnedInAnnotation="YES", PatientOrientation=["R", "F"], BodyPartExamined="BODY"
    )
    assert [remark.split()[0] for remark in remarks(dataset)] == ["carry", "are", "have"]
    assert spacing_of(dataset_of(VALUES, PixelSpacing=[0.2, 0.2])) == (0.2, 0.2)


def test_hilum_loads_without_pydicom() -> None:
    import subprocess

    code = "import hilum.data.decode, hilum.data.sources.dicom, sys; print('pydicom' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
