"""Compressed DICOM: every transfer syntax gives the grey levels of the native file, or its sentence."""

import shutil
import struct
import subprocess
from pathlib import Path
from typing import NoReturn

import cv2
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from hilum.data.decode import UnreadableImage, read_grey
from hilum.data.dicom.header import NotRead
from hilum.data.dicom.lossless import decode_lossless
from tests.dicom_files import dataset_of, picture, write

VALUES = picture(37, 50)
SIGNED = (VALUES.astype(int) - 2048).astype(np.int16)
COLOUR = np.dstack([VALUES >> 4, 255 - (VALUES >> 4), np.roll(VALUES >> 4, 9, axis=1)]).astype(np.uint8)
WINDOW = {"WindowCenter": 1800, "WindowWidth": 2500}
IMAGES: dict[str, tuple[np.ndarray, int, dict[str, object]]] = {
    "12 bits": (VALUES, 12, WINDOW),
    "16 bits": (VALUES * 16, 16, {"PhotometricInterpretation": "MONOCHROME1"}),
    "signed": (SIGNED, 12, {"WindowCenter": -100, "WindowWidth": 2500}),
    "8 bits": ((VALUES >> 4).astype(np.uint8), 8, {}),
    "colour": (COLOUR, 8, {}),
}


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize(
    "syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless], ids=lambda uid: uid.name[:18]
)
def test_lossless_syntaxes_give_the_native_greys(syntax: UID, name: str, tmp_path: Path) -> None:
    values, bits, header = IMAGES[name]
    native = read_grey(write(tmp_path / "native.dcm", values, bits, **header))
    dataset = dataset_of(values, bits, **header)
    dataset.compress(syntax, generate_instance_uid=False)
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    assert (tmp_path / "a.dcm").stat().st_size > 0
    np.testing.assert_array_equal(read_grey(tmp_path / "a.dcm"), native)


def test_lossy_jpeg_2000(tmp_path: Path) -> None:
    dataset = dataset_of(VALUES, 12, **WINDOW)
    dataset.compress(JPEG2000, j2k_psnr=[70], generate_instance_uid=False)
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    native = read_grey(write(tmp_path / "native.dcm", VALUES, 12, **WINDOW))
    assert np.abs(read_grey(tmp_path / "a.dcm") - native.astype(int)).mean() < 2


@pytest.mark.parametrize("name", ["12 bits", "colour"])
def test_deflated(name: str, tmp_path: Path) -> None:
    values, bits, header = IMAGES[name]
    native = read_grey(write(tmp_path / "native.dcm", values, bits, **header))
    dataset = dataset_of(values, bits, **header)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    np.testing.assert_array_equal(read_grey(tmp_path / "a.dcm"), native)


def with_frame(
    values: np.ndarray, frame: bytes, syntax: UID, path: Path, bits: int = 8, **header: object
) -> Path:
    dataset = dataset_of(values, bits, **header)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
def test_jpeg_baseline(kind: str, tmp_path: Path) -> None:
    values = IMAGES["8 bits"][0]
    frame = cv2.imencode(".jpg", values, [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    header = {"PhotometricInterpretation": kind, "WindowCenter": 128, "WindowWidth": 256}
    path = with_frame(values, frame, JPEGBaseline8Bit, tmp_path / "a.dcm", **header)
    native = read_grey(write(tmp_path / "native.dcm", values, 8, **header))
    assert np.abs(read_grey(path) - native.astype(int)).max() <= 2


@pytest.mark.parametrize("photometric", ["YBR_FULL_422", "RGB"])
def test_jpeg_baseline_of_colour(photometric: str, tmp_path: Path) -> None:
    """RGB components without a marker that says so: libjpeg alone would take the red for the luminance."""
    components = COLOUR if photometric == "RGB" else cv2.cvtColor(COLOUR, cv2.COLOR_RGB2YCrCb)[..., [0, 2, 1]]
    # what the encoder turns into YCbCr is chosen so that the components come out as they stand
    bgr = cv2.cvtColor(components[..., [0, 2, 1]], cv2.COLOR_YCrCb2BGR)
    flags = [
        cv2.IMWRITE_JPEG_QUALITY,
        100,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]
    frame = cv2.imencode(".jpg", bgr, flags)[1].tobytes()
    if photometric == "RGB":
        frame = without_jfif(frame)
    path = with_frame(
        COLOUR, frame, JPEGBaseline8Bit, tmp_path / "a.dcm", PhotometricInterpretation=photometric
    )
    luma = COLOUR @ np.array([0.299, 0.587, 0.114])
    apart = np.abs(read_grey(path) - luma)
    in_gamut = (
        np.abs(cv2.cvtColor(bgr, cv2.COLOR_BGR2YCrCb)[..., [0, 2, 1]].astype(int) - components).max(axis=-1)
        < 3
    )
    assert in_gamut.mean() > 0.2
    assert apart[in_gamut].mean() < 3


def without_jfif(frame: bytes) -> bytes:
    assert frame[2:4] == b"\xff\xe0"
    return frame[:2] + frame[4 + struct.unpack_from(">H", frame, 4)[0] :]


# -- JPEG lossless --------------------------------------------------------------------------------------------


def encoded(picture: np.ndarray, predictor: int, bits: int, shift: int = 0, restart_rows: int = 0) -> bytes:
    """JPEG lossless written by hand (ITU-T T.81, annex H); the Huffman table gives each size a code of 5 bits."""
    planes = picture.reshape(*picture.shape[:2], -1).astype(int) >> shift
    rows, cols, n = planes.shape
    table = (
        b"\xff\xc4"
        + struct.pack(">HB", 2 + 17 + 17, 0)
        + bytes([0, 0, 0, 0, 17, *[0] * 11])
        + bytes(range(17))
    )
    frame = struct.pack(">HBHHB", 8 + 3 * n, bits, rows, cols, n) + b"".join(
        bytes([k, 0x11, 0]) for k in range(n)
    )
    scan = (
        struct.pack(">HB", 6 + 2 * n, n)
        + b"".join(bytes([k, 0]) for k in range(n))
        + bytes([predictor, 0, shift])
    )
    interval = b"\xff\xdd" + struct.pack(">HH", 4, restart_rows * cols) if restart_rows else b""
    parts, step = [], restart_rows or rows
    for number, start in enumerate(range(0, rows, step)):
        body = entropy_coded(planes[start : start + step], predictor, bits - shift)
        parts.append((bytes([0xFF, 0xD0 + (number - 1) % 8]) if number else b"") + body)
    return b"\xff\xd8\xff\xc3" + frame + table + interval + b"\xff\xda" + scan + b"".join(parts) + b"\xff\xd9"


def entropy_coded(planes: np.ndarray, predictor: int, bits: int) -> bytes:
    stream = []
    rows, cols, n = planes.shape
    for row in range(rows):
        for col in range(cols):
            for k in range(n):
                delta = (int(planes[row, col, k]) - guess(planes[..., k], row, col, predictor, bits)) & 0xFFFF
                delta = delta - 65536 if delta > 32768 else delta
                size = abs(delta).bit_length()
                stream.append(f"{size:05b}")
                if 0 < size < 16:
                    stream.append(f"{delta if delta > 0 else delta + (1 << size) - 1:0{size}b}")
    text = "".join(stream)
    text += "1" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\x00")


def guess(plane: np.ndarray, row: int, col: int, predictor: int, bits: int) -> int:
    if row == 0:
        return 1 << (bits - 1) if col == 0 else int(plane[0, col - 1])
    above = int(plane[row - 1, col])
    if col == 0:
        return above
    left, corner = int(plane[row, col - 1]), int(plane[row - 1, col - 1])
    return {
        1: left,
        2: above,
        3: corner,
        4: left + above - corner,
        5: left + ((above - corner) >> 1),
        6: above + ((left - corner) >> 1),
        7: (left + above) >> 1,
    }[predictor]


@pytest.mark.parametrize("predictor", range(1, 8))
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_jpeg_lossless_of_each_predictor(predictor: int, bits: int) -> None:
    values = picture(9, 11, bits, seed=predictor)
    values[4, 4], values[4, 5] = 2**bits - 1, 0  # the largest difference
    decoded, depth = decode_lossless(encoded(values, predictor, bits))
    assert depth == bits
    np.testing.assert_array_equal(decoded, values)


def test_jpeg_lossless_with_restarts_a_shift_and_colour() -> None:
    np.testing.assert_array_equal(decode_lossless(encoded(VALUES, 1, 12, restart_rows=5))[0], VALUES)
    np.testing.assert_array_equal(decode_lossless(encoded(VALUES, 4, 12, shift=2))[0], VALUES >> 2 << 2)
    np.testing.assert_array_equal(decode_lossless(encoded(COLOUR, 1, 8))[0], COLOUR)


def test_jpeg_lossless_is_read_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hilum.data.dicom.lossless._BLOCK", 16)
    np.testing.assert_array_equal(decode_lossless(encoded(VALUES, 1, 12))[0], VALUES)
    np.testing.assert_array_equal(decode_lossless(encoded(COLOUR, 6, 8))[0], COLOUR)


def test_a_damaged_jpeg_lossless_is_named_wherever_it_is_cut() -> None:
    data = encoded(VALUES[:6, :7], 1, 12)
    for cut in range(2, len(data) - 2):
        with pytest.raises(NotRead, match=r"truncated|can't be decoded"):
            decode_lossless(data[:cut])


@pytest.mark.parametrize("name", IMAGES)
def test_a_dicom_in_jpeg_lossless(name: str, tmp_path: Path) -> None:
    values, bits, header = IMAGES[name]
    frame = encoded(values.view(np.uint16) & 0xFFF if name == "signed" else values, 1, bits)
    native = read_grey(write(tmp_path / "native.dcm", values, bits, **header))
    path = with_frame(values, frame, JPEGLosslessSV1, tmp_path / "a.dcm", bits, **header)
    np.testing.assert_array_equal(read_grey(path), native)


@pytest.mark.parametrize(
    "options", [["+e1"], ["+el", "+sv", "4"], ["+el", "+sv", "7"], ["+eb"]], ids=" ".join
)
@pytest.mark.parametrize("name", ["12 bits", "16 bits", "8 bits"])
def test_what_dcmtk_compresses(name: str, options: list[str], tmp_path: Path) -> None:
    tool = shutil.which("dcmcjpeg")
    if tool is None:
        pytest.skip("dcmcjpeg is not installed: apt-get install dcmtk")
    if options == ["+eb"] and name != "8 bits":
        pytest.skip("JPEG baseline has 8 bits")
    values, bits, header = IMAGES[name]
    path = write(tmp_path / "native.dcm", values, bits, **header)
    subprocess.run([tool, *options, str(path), str(tmp_path / "a.dcm")], check=True, capture_output=True)
    assert dcmread(tmp_path / "a.dcm").file_meta.TransferSyntaxUID.is_compressed
    apart = np.abs(read_grey(tmp_path / "a.dcm") - read_grey(path).astype(int))
    assert apart.max() <= (6 if options == ["+eb"] else 0)


# -- sentences ------------------------------------------------------------------------------------------------


def refusal(path: Path) -> str:
    with pytest.raises(UnreadableImage) as caught:
        read_grey(path)
    return caught.value.reason


def test_another_size_than_the_header_says(tmp_path: Path) -> None:
    frame = cv2.imencode(".jpg", np.zeros((500, 400), np.uint8))[1].tobytes()
    small = (VALUES >> 4).astype(np.uint8)
    path = with_frame(small, frame, JPEGBaseline8Bit, tmp_path / "a.dcm")
    assert refusal(path) == "damaged: its header says 50 x 37 pixels, its picture 400 x 500"


def test_jpeg_of_12_bits_has_a_remedy(tmp_path: Path) -> None:
    frame = bytearray(cv2.imencode(".jpg", (VALUES >> 4).astype(np.uint8))[1].tobytes())
    frame[frame.find(b"\xff\xc0") + 4] = 12
    path = with_frame(VALUES, bytes(frame), JPEGExtended12Bit, tmp_path / "a.dcm", 12)
    assert refusal(path) == "JPEG of 12 bits, which no free plug-in decodes: write it anew as JPEG 2000"


@pytest.mark.parametrize(("syntax", "kind"), [(JPEG2000Lossless, "JPEG 2000"), (JPEGLSLossless, "JPEG-LS")])
def test_without_the_plugins_the_sentence_names_the_extra(
    syntax: UID, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pydicom.pixels.decoders.base import get_decoder

    def damaged(*_: object, **__: object) -> NoReturn:
        raise RuntimeError("nothing is to be decoded here")

    dataset = dataset_of(VALUES, 12)
    dataset.compress(syntax, generate_instance_uid=False)
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    monkeypatch.setattr(type(get_decoder(syntax)), "as_array", damaged)
    assert refusal(tmp_path / "a.dcm") == f"damaged: its {kind} picture can't be decoded"
    monkeypatch.setattr(type(get_decoder(syntax)), "is_available", False)
    assert refusal(tmp_path / "a.dcm") == f"{kind} needs a plug-in: pip install 'hilum[dicom]'"


@pytest.mark.parametrize(
    "syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless], ids=lambda uid: uid.name[:18]
)
def test_a_truncated_stream_is_named(syntax: UID, tmp_path: Path) -> None:
    dataset = dataset_of(VALUES, 12)
    dataset.compress(syntax, generate_instance_uid=False)
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    whole = (tmp_path / "a.dcm").read_bytes()
    (tmp_path / "a.dcm").write_bytes(whole[: len(whole) * 3 // 4])
    assert "truncated" in refusal(tmp_path / "a.dcm") or "can't be" in refusal(tmp_path / "a.dcm")
