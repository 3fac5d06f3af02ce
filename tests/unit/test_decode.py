"""Decoding against Pillow and against files written by hand; truncation at every place."""

import io
import struct
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hilum.data import decode
from hilum.data.decode import ImageFacts, UnreadableImage, probe, read_grey
from hilum.errors import DataError


def texture(rows: int = 40, cols: int = 56, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (rows, cols)).astype(np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 1.5)


GREY = texture()
DEEP = GREY.astype(np.uint16) * 257
COLOUR = np.stack([GREY, 255 - GREY, np.roll(GREY, 9, axis=1)], axis=-1)
LUMA = COLOUR @ np.array([0.299, 0.587, 0.114])


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def picture(array: np.ndarray, mode: str | None = None) -> Image.Image:
    image = Image.fromarray(array)
    return image.convert(mode) if mode else image


def tiff(image: np.ndarray, order: str = "<", photometric: int = 1, offset_of_picture: int = 8) -> bytes:
    """A grey TIFF written by hand: header, picture, tags."""
    tags = [
        (256, 3, image.shape[1]),
        (257, 3, image.shape[0]),
        (258, 3, image.itemsize * 8),
        (259, 3, 1),
        (262, 3, photometric),
        (273, 4, offset_of_picture),
        (277, 3, 1),
        (278, 3, image.shape[0]),
        (279, 4, image.nbytes),
        (339, 3, {"u": 1, "i": 2, "f": 3}[image.dtype.kind]),
    ]
    body = image.astype(image.dtype.newbyteorder(order)).tobytes()
    header = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8 + len(body))
    entries = b"".join(
        struct.pack(f"{order}HHIH2x" if kind == 3 else f"{order}HHII", tag, kind, 1, value)
        for tag, kind, value in tags
    )
    return header + body + struct.pack(f"{order}H", len(tags)) + entries + struct.pack(f"{order}I", 0)


RGBA = np.dstack([COLOUR, np.full_like(GREY, 7)])
GREY_ALPHA = np.dstack([GREY, 255 - GREY])

EXACT = {
    "png grey": (encoded(picture(GREY), "PNG"), GREY, ("grey", 8)),
    "png 16 bit": (encoded(picture(DEEP), "PNG"), DEEP, ("grey", 16)),
    "png palette": (encoded(picture(GREY, "P"), "PNG"), GREY, ("palette", 8)),
    "png grey and alpha": (encoded(picture(GREY_ALPHA), "PNG"), GREY, ("grey+alpha", 8)),
    "png grey as rgb": (encoded(picture(np.dstack([GREY] * 3)), "PNG"), GREY, ("rgb", 8)),
    "tiff grey": (encoded(picture(GREY), "TIFF"), GREY, ("grey", 8)),
    "tiff lzw": (encoded(picture(GREY), "TIFF", compression="tiff_lzw"), GREY, ("grey", 8)),
    "tiff 16 bit": (tiff(DEEP), DEEP, ("grey", 16)),
    "tiff 16 bit big endian": (tiff(DEEP, ">"), DEEP, ("grey", 16)),
    "tiff white is zero": (tiff(255 - GREY, photometric=0), GREY, ("grey", 8)),
    "tiff 16 bit white is zero": (tiff(65535 - DEEP, photometric=0), DEEP, ("grey", 16)),
    "tiff float": (tiff((GREY / 255).astype(np.float32)), GREY, ("grey", 32)),
    "tiff double": (tiff(GREY / 255), GREY, ("grey", 64)),
}
ROUNDED = {
    "jpeg grey": (encoded(picture(GREY), "JPEG", quality=100), GREY, ("grey", 8)),
    "jpeg progressive": (encoded(picture(GREY), "JPEG", quality=100, progressive=True), GREY, ("grey", 8)),
    "jpeg rgb": (encoded(picture(COLOUR), "JPEG", quality=100, subsampling=0), LUMA, ("rgb", 8)),
    "jpeg cmyk": (encoded(picture(COLOUR, "CMYK"), "JPEG", quality=100, subsampling=0), LUMA, ("cmyk", 8)),
    "png rgb": (encoded(picture(COLOUR), "PNG"), LUMA, ("rgb", 8)),
    "png rgba": (encoded(picture(RGBA), "PNG"), LUMA, ("rgb+alpha", 8)),
    "tiff rgb": (encoded(picture(COLOUR), "TIFF"), LUMA, ("rgb", 8)),
}


@pytest.mark.parametrize("kind", EXACT)
def test_lossless_files_come_back_exactly(kind: str, tmp_path: Path) -> None:
    data, expected, _ = EXACT[kind]
    (tmp_path / "image").write_bytes(data)
    image = read_grey(tmp_path / "image")
    assert image.dtype == expected.dtype
    np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("kind", ROUNDED)
def test_jpeg_and_colour_become_luma(kind: str, tmp_path: Path) -> None:
    data, expected, _ = ROUNDED[kind]
    (tmp_path / "image").write_bytes(data)
    image = read_grey(tmp_path / "image")
    assert image.dtype == np.uint8
    assert np.abs(image - expected.astype(float)).max() <= 3


@pytest.mark.parametrize("kind", [*EXACT, *ROUNDED])
def test_probe_reads_the_header(kind: str, tmp_path: Path) -> None:
    data, _, (mode, bits) = (EXACT | ROUNDED)[kind]
    (tmp_path / "image").write_bytes(data)
    assert probe(tmp_path / "image") == ImageFacts(56, 40, len(data), mode, bits)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF"])
def test_orientation_is_applied_as_viewers_do(form: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6  # to be turned clockwise
    options = {"tiffinfo": {274: 6}} if form == "TIFF" else {"exif": exif}
    (tmp_path / "image").write_bytes(encoded(picture(GREY), form, **options))
    turned = np.rot90(GREY, -1).astype(int)
    image = read_grey(tmp_path / "image")
    assert image.shape == turned.shape
    assert np.abs(image - turned).mean() < 5


def test_bytes_after_the_end_do_no_harm() -> None:
    for data, expected, _ in (EXACT["png grey"], EXACT["tiff grey"], ROUNDED["jpeg grey"]):
        whole = decode.decode(data)
        np.testing.assert_array_equal(decode.decode(data + b"\0 and a note"), whole)
        assert whole.shape == expected.shape


def with_thumbnail(data: bytes, thumbnail: bytes) -> bytes:
    """A JPEG inside the header of a JPEG, as cameras write it."""
    segment = b"Exif\0\0" + thumbnail
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]


def test_the_end_of_a_thumbnail_is_not_the_end_of_the_image() -> None:
    small = encoded(picture(GREY[::4, ::4]), "JPEG")
    data = with_thumbnail(ROUNDED["jpeg grey"][0], small)
    assert decode.decode(data).shape == GREY.shape
    for cut in (len(small) + 30, len(data) // 2, len(data) - 1):
        with pytest.raises(UnreadableImage, match="truncated"):
            decode.decode(data[:cut])


@pytest.mark.parametrize("kind", ["jpeg grey", "jpeg rgb", "jpeg progressive", "png grey", "png 16 bit"])
def test_every_truncation_is_noticed(kind: str) -> None:
    data = (EXACT | ROUNDED)[kind][0]
    for cut in range(len(data)):
        with pytest.raises(UnreadableImage, match="empty" if cut == 0 else "truncated"):
            decode.facts_of(data[:cut])


@pytest.mark.parametrize("kind", ["tiff grey", "tiff lzw", "tiff 16 bit", "tiff float"])
def test_a_truncated_tiff_is_refused_or_whole(kind: str) -> None:
    """What is cut off may be tags or padding that the picture does not need."""
    data, expected, _ = EXACT[kind]
    whole = {cut: image for cut in range(len(data) + 1) if (image := decoded_or_none(data[:cut])) is not None}
    assert len(data) in whole and min(whole) > GREY.nbytes // 2
    for image in whole.values():
        np.testing.assert_array_equal(image, expected)


def decoded_or_none(data: bytes) -> np.ndarray | None:
    """None when the image cannot be read."""
    try:
        return decode.decode(data)
    except UnreadableImage:
        return None


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 70),
    cols=st.integers(1, 70),
    seed=st.integers(0, 2**16),
    form=st.sampled_from(["JPEG", "PNG"]),
    share=st.floats(0, 1, exclude_max=True),
)
def test_any_truncation_of_any_image_is_noticed(
    rows: int, cols: int, seed: int, form: str, share: float
) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (rows, cols)).astype(np.uint8)
    data = encoded(picture(image), form)
    assert decode.decode(data).shape == (rows, cols)
    with pytest.raises(DataError):
        decode.decode(data[: int(share * len(data))])


@settings(max_examples=200, deadline=None)
@given(start=st.sampled_from([b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0+"]), rest=st.binary())
def test_noise_never_gives_anything_but_the_sentence(start: bytes, rest: bytes) -> None:
    with pytest.raises(UnreadableImage, match="upload is no readable image"):
        decode.decode(start + rest)


def test_a_flipped_bit_in_a_png_is_noticed() -> None:
    data = bytearray(EXACT["png 16 bit"][0])
    data[len(data) // 2] ^= 1
    with pytest.raises(UnreadableImage, match="a checksum is wrong"):
        decode.decode(bytes(data))


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.jpeg", b"", "empty"),
        (
            "page.jpeg",
            b"<html>not found</html>",
            "not an image: neither JPEG nor PNG nor TIFF nor BMP nor WebP",
        ),
        ("image.dcm", b"anything", "not DICOM, although its name says so"),
        ("image", bytes(128) + b"DICM", "damaged: a DICOM file without a header"),
        ("whole.tiff", tiff(GREY.astype(np.int32)), "pixels of type int32 are not understood"),
        ("bright.tiff", tiff(GREY.astype(np.float32)), r"float pixels run from \d+ to \d+"),
    ],
)
def test_the_sentence_names_file_and_reason(name: str, content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(
        DataError, match=rf"{name} is no readable image \({reason}\); replace the file"
    ) as caught:
        read_grey(path)
    assert str(path) in str(caught.value)


def test_what_the_file_system_says_is_passed_on(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImage, match=r"gone.png is no readable image \(no such file or directory\)"):
        read_grey(tmp_path / "gone.png")
    with pytest.raises(UnreadableImage, match="is a directory"):
        read_grey(tmp_path)


def test_a_picture_too_large_for_memory_is_refused_before_it_is_decoded() -> None:
    data = tiff(GREY)
    vast = data.replace(struct.pack("<HHIH2x", 256, 3, 1, 56), struct.pack("<HHII", 256, 4, 1, 2**25))
    with pytest.raises(UnreadableImage, match="33554432 x 40 pixels, more than 134 million"):
        decode.decode(vast)


CORRUPT = b"\xff\xd9".join([ROUNDED["jpeg grey"][0][:-400], b""])


def test_codecs_print_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    decode.decode(CORRUPT)  # decodes, and libjpeg says 'premature end of data segment'
    assert capfd.readouterr() == ("", "")


def test_the_terminal_stays_open_for_python(tmp_path: Path) -> None:
    (tmp_path / "corrupt.jpeg").write_bytes(CORRUPT)
    code = (
        "import os, sys\nfrom hilum.data.decode import quiet_codecs, read_grey\n"
        "with quiet_codecs():\n    read_grey('corrupt.jpeg'); print('within \\u00e9', file=sys.stderr)\n"
        "read_grey('corrupt.jpeg'); os.write(2, b'after')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, check=True)
    assert done.stderr.decode() == "within é\nafter"


@pytest.mark.real
def test_real_images_decode_as_pillow_does(real_data: Path) -> None:
    images = sorted((real_data / "val").rglob("*.jpeg"))
    assert len(images) == 16
    for path in images:
        with Image.open(path) as image:
            expected = np.asarray(image.convert("L")).astype(int)
        assert np.abs(read_grey(path) - expected).max() <= 1
        for cut in np.linspace(1, path.stat().st_size - 1, 9).astype(int):
            with pytest.raises(UnreadableImage, match="truncated"):
                decode.decode(path.read_bytes()[:cut])
