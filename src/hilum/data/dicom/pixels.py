"""The stored values of a DICOM picture: native or compressed, one sample a pixel or three."""

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from hilum.data.dicom.header import NotRead, syntax, text, whole
from hilum.data.dicom.lossless import decode_lossless

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_UID = "1.2.840.10008.1.2"
_NATIVE = (_UID, f"{_UID}.1", f"{_UID}.1.99")
_BIG_ENDIAN = f"{_UID}.2"
_RLE = f"{_UID}.5"
_JPEG = (f"{_UID}.4.50", f"{_UID}.4.51")
_JPEG_LOSSLESS = (f"{_UID}.4.57", f"{_UID}.4.70")
_JPEG_LS = (f"{_UID}.4.80", f"{_UID}.4.81")
_JPEG_2000 = (f"{_UID}.4.90", f"{_UID}.4.91", f"{_UID}.4.201", f"{_UID}.4.202", f"{_UID}.4.203")
BLUE_RED = ("YBR_FULL", "YBR_FULL_422")
"""Colours that are stored as luminance, blue and red."""

_PLUGIN = "needs a plug-in: pip install 'hilum[dicom]'"


@dataclass(frozen=True)
class Layout:
    """How the header says that the picture is stored. `high`: the highest bit in use, counted from 0."""

    rows: int
    cols: int
    samples: int
    allocated: int
    stored: int
    high: int
    signed: bool
    planar: bool
    photometric: str


def layout_of(dataset: "Dataset", most: int) -> Layout:
    """The layout of the picture. NotRead for more than `most` pixels, and for what no radiograph is stored as.

    >>> from pydicom.dataset import Dataset
    >>> dataset = Dataset()
    >>> dataset.Rows, dataset.Columns = 65535, 65535
    >>> layout_of(dataset, 2**27)
    Traceback (most recent call last):
    hilum.data.dicom.header.NotRead: 65535 x 65535 pixels, more than 134 million
    """
    rows, cols = whole(dataset, "Rows"), whole(dataset, "Columns")
    if rows < 1 or cols < 1:
        raise NotRead(f"its header says {cols} x {rows} pixels")
    if rows * cols > most:
        raise NotRead(f"{cols} x {rows} pixels, more than {most // 10**6} million")
    samples, allocated = whole(dataset, "SamplesPerPixel", 1), whole(dataset, "BitsAllocated")
    stored = whole(dataset, "BitsStored", allocated)
    if allocated not in (8, 16) or not 1 <= stored <= allocated or "PixelData" not in dataset:
        raise NotRead(f"{stored} of {allocated} bits a pixel; 8 and 16 are read")
    high = whole(dataset, "HighBit", stored - 1)
    photometric = text(dataset, "PhotometricInterpretation").upper()
    if not photometric:
        raise NotRead("damaged: its header lacks PhotometricInterpretation")
    return Layout(
        rows,
        cols,
        samples,
        allocated,
        stored,
        high if stored - 1 <= high < allocated else stored - 1,
        whole(dataset, "PixelRepresentation", 0) == 1,
        whole(dataset, "PlanarConfiguration", 0) == 1,
        photometric,
    )


def stored_values(dataset: "Dataset", layout: Layout) -> np.ndarray:
    """The picture as it is stored, uint8 or uint16: "rows cols", or "rows cols 3" for colour; values with a sign
    keep their bits. NotRead when it is truncated, damaged, or needs a plug-in that is not installed.

    >>> from pydicom.dataset import Dataset
    >>> dataset = Dataset()
    >>> dataset.PixelData = bytes([7, 8])
    >>> stored_values(dataset, Layout(1, 2, 1, 8, 8, 7, False, False, "MONOCHROME2")).tolist()
    [[7, 8]]
    """
    name = syntax(dataset)
    data = dataset.PixelData
    if not isinstance(data, bytes):
        raise NotRead("damaged: its pixels can't be read")
    if name in _NATIVE:
        return _native(data, layout)
    if name == _BIG_ENDIAN:
        return _native(_swapped(data, dataset, layout), layout)
    frame = _frame(data)
    _check_size(frame, layout, name)
    if name in _JPEG:
        return _jpeg(frame, layout)
    if name in _JPEG_LOSSLESS:
        return _shaped(decode_lossless(frame)[0], layout)
    return _by_plugin(dataset, layout, name)


def colour_values(dataset: "Dataset", layout: Layout) -> np.ndarray:
    """As `stored_values`, with the colours where those give luminance alone: of JPEG in blue, green and red, at an
    eighth of the size; of native YBR_FULL_422 every second column.

    >>> from pydicom.dataset import Dataset
    >>> dataset = Dataset()
    >>> dataset.PixelData = bytes([90, 91, 128, 200])
    >>> colour_values(dataset, Layout(1, 2, 3, 8, 8, 7, False, False, "YBR_FULL_422")).tolist()
    [[[90, 128, 200]]]
    """
    name = syntax(dataset)
    if name in _JPEG:
        return _jpeg_in_colour(_frame(dataset.PixelData), layout)
    if layout.photometric != "YBR_FULL_422" or name not in _NATIVE:
        return stored_values(dataset, layout)
    n = layout.rows * layout.cols * 2
    if len(dataset.PixelData) < n:
        raise NotRead("truncated")
    pairs = np.frombuffer(dataset.PixelData, np.uint8, n).reshape(layout.rows, -1, 4)
    return pairs[..., [0, 2, 3]]


def _native(data: bytes, layout: Layout) -> np.ndarray:
    kind = np.dtype("u1" if layout.allocated == 8 else "<u2")
    halved = layout.photometric == "YBR_FULL_422"
    n = layout.rows * layout.cols * (2 if halved else layout.samples)
    if len(data) < n * kind.itemsize:
        raise NotRead("truncated")
    values = np.frombuffer(data, kind, n)
    if layout.samples == 1:
        return values.reshape(layout.rows, layout.cols)
    if halved:  # luminance, luminance, blue and red for two pixels
        luminance = values.reshape(-1, 4)[:, :2].reshape(layout.rows, layout.cols)
        return np.dstack([luminance] * 3)
    if layout.planar:
        return np.moveaxis(values.reshape(layout.samples, layout.rows, layout.cols), 0, -1)
    return values.reshape(layout.rows, layout.cols, layout.samples)


def _swapped(data: bytes, dataset: "Dataset", layout: Layout) -> bytes:
    """Big-endian pixels as little-endian ones; 8 bits are swapped in pairs where they are written as words."""
    if layout.allocated == 8 and dataset["PixelData"].VR == "OB":
        return data
    return np.frombuffer(data, ">u2", len(data) // 2).astype("<u2").tobytes()


def _frame(data: bytes) -> bytes:
    """The one compressed frame of the picture."""
    from pydicom.encaps import generate_frames

    try:
        frame = next(iter(generate_frames(data, number_of_frames=1)), b"")
    except Exception:  # a fragment that points behind the end, and whatever else
        raise NotRead("truncated") from None
    if not frame:
        raise NotRead("truncated")
    return frame


def _check_size(frame: bytes, layout: Layout, name: str) -> None:
    """A stream that says another size than the header is refused before it is decoded."""
    size = _size_of_jpeg_2000(frame) if name in _JPEG_2000 else None if name == _RLE else _size_of_jpeg(frame)
    if size and size != (layout.rows, layout.cols):
        raise NotRead(
            f"damaged: its header says {layout.cols} x {layout.rows} pixels, its picture {size[1]} x {size[0]}"
        )


def _size_of_jpeg(frame: bytes) -> tuple[int, int] | None:
    """Rows and columns of the start of frame (JPEG, JPEG lossless, JPEG-LS)."""
    at = 2
    while at + 9 <= len(frame) and frame[at] == 0xFF:
        marker = frame[at + 1]
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            return struct.unpack_from(">HH", frame, at + 5)
        at += 1 if marker == 0xFF else 2 + struct.unpack_from(">H", frame, at + 2)[0]
    return None


def _size_of_jpeg_2000(frame: bytes) -> tuple[int, int] | None:
    at = frame[:4096].find(b"\xff\x4f\xff\x51")
    if at < 0 or at + 24 > len(frame):
        return None
    right, bottom, left, top = struct.unpack_from(">IIII", frame, at + 8)
    return bottom - top, right - left


def _jpeg(frame: bytes, layout: Layout) -> np.ndarray:
    """Baseline, extended and progressive JPEG of 8 bits; grey, or the luminance of colour."""
    at = max(frame.find(bytes((0xFF, marker))) for marker in (0xC0, 0xC1, 0xC2))
    if at >= 0 and at + 4 < len(frame) and frame[at + 4] != 8:
        raise NotRead("JPEG of 12 bits, which no free plug-in decodes: write it anew as JPEG 2000")
    if b"\xff\xd9" not in frame[-64:]:
        raise NotRead("truncated")
    frame = _with_colour_model(frame, layout)
    grey = cv2.imdecode(np.frombuffer(frame, np.uint8), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION)
    if grey is None:
        raise NotRead("damaged: its JPEG picture can't be decoded")
    return _shaped(np.asarray(grey), layout, luminance=True)


def _with_colour_model(frame: bytes, layout: Layout) -> bytes:
    """A JPEG of which nothing but the header of the DICOM file says that its components are RGB says so itself."""
    if layout.photometric != "RGB" or b"JFIF" in frame[:64] or b"Adobe" in frame[:512]:
        return frame
    adobe = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"  # its last byte: the components are RGB
    return frame[:2] + adobe + frame[2:]


def _jpeg_in_colour(frame: bytes, layout: Layout) -> np.ndarray:
    data = np.frombuffer(_with_colour_model(frame, layout), np.uint8)
    picture = cv2.imdecode(data, cv2.IMREAD_REDUCED_COLOR_8 | cv2.IMREAD_IGNORE_ORIENTATION)
    if picture is None:
        raise NotRead("damaged: its JPEG picture can't be decoded")
    return (
        cv2.cvtColor(picture, cv2.COLOR_BGR2YCrCb)[..., [0, 2, 1]]
        if layout.photometric in BLUE_RED
        else picture
    )


def _by_plugin(dataset: "Dataset", layout: Layout, name: str) -> np.ndarray:
    """RLE, which pydicom decodes itself, JPEG-LS and JPEG 2000."""
    from pydicom.pixels.decoders.base import get_decoder

    kind = {**dict.fromkeys(_JPEG_LS, "JPEG-LS"), **dict.fromkeys(_JPEG_2000, "JPEG 2000"), _RLE: "RLE"}.get(
        name
    )
    if kind is None:
        raise NotRead(f"transfer syntax {name[:64]} is not read")
    decoder = get_decoder(name)
    if not decoder.is_available:
        raise NotRead(f"{kind} {_PLUGIN}")
    try:
        values, _ = decoder.as_array(dataset, raw=True, index=0)
    except Exception:  # plug-ins raise what their libraries say
        raise NotRead(f"damaged: its {kind} picture can't be decoded") from None
    return _shaped(values, layout)


def _shaped(values: np.ndarray, layout: Layout, luminance: bool = False) -> np.ndarray:
    """A decoded frame as `stored_values` gives it. `luminance`: one channel stands for colour."""
    if values.shape[:2] != (layout.rows, layout.cols):
        raise NotRead("damaged: its picture has another size than its header says")
    if values.dtype.itemsize > 2:
        raise NotRead("damaged: its picture has more bits than its header says")
    values = values.view(np.dtype(f"u{values.dtype.itemsize}"))
    if layout.allocated == 8 and values.dtype == np.uint16:
        values = values.astype(np.uint8)
    if values.ndim == 2 and layout.samples > 1 and luminance:
        return np.dstack([values] * 3)
    if values.ndim != (2 if layout.samples == 1 else 3):
        raise NotRead("damaged: its picture has another number of colours than its header says")
    return values
