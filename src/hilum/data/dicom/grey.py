"""From stored values to the grey levels of a viewer (DICOM PS3.3, C.7.6.3, C.11.1, C.11.2).

Every possible stored value is taken through the whole chain once, and the picture is looked up in that table: the bits
in use and their sign, the modality LUT or rescale, the VOI LUT or the first window (LINEAR, LINEAR_EXACT, SIGMOID),
then MONOCHROME1 turned round and the padding made black. Where the header has neither window nor VOI LUT, the levels in
use are stretched as those of any 16-bit image (`hilum.data.levels`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from hilum.data.dicom.header import (
    NotRead,
    check_deflated,
    dataset_of,
    number,
    numbers,
    quiet_pydicom,
    text,
    value,
)
from hilum.data.dicom.kinds import aspect_of, check_kind, is_frontal, view_of
from hilum.data.dicom.options import views_are_kept
from hilum.data.dicom.pixels import Layout, layout_of, stored_values
from hilum.data.levels import counts_of, levels_in_use, looked_up, stretched

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_INFLATED = 8
"""A deflated dataset may hold so many bytes for each pixel of the largest picture."""


@dataclass(frozen=True)
class DicomFacts:
    """What the header says of the picture: size, `mode` ('grey', 'rgb', 'palette'), bits stored in each channel."""

    width: int
    height: int
    mode: str
    bits: int


def read_facts(data: bytes, most: int) -> DicomFacts:
    """The facts in the bytes of a file, without decoding it. NotRead as in `read_image`.

    >>> read_facts(bytes(128) + b"DICM", 2**27)
    Traceback (most recent call last):
    hilum.data.dicom.header.NotRead: damaged: a DICOM file without a header
    """
    with quiet_pydicom():
        dataset = checked_dataset(data, most)
        layout = layout_of(dataset, most)
    mode = "palette" if layout.photometric == "PALETTE COLOR" else "grey" if layout.samples == 1 else "rgb"
    return DicomFacts(layout.cols, layout.rows, mode, layout.stored)


def read_image(data: bytes, most: int) -> np.ndarray:
    """The picture in the bytes of a file as a viewer shows it, uint8 "rows cols", with square pixels.

    `most`: a picture of more pixels is refused before it is decoded. NotRead says why there is none: no radiograph,
    truncated, damaged, or what it needs.

    >>> read_image(bytes(128) + b"DICM", 2**27)
    Traceback (most recent call last):
    hilum.data.dicom.header.NotRead: damaged: a DICOM file without a header
    """
    with quiet_pydicom():
        dataset = checked_dataset(data, most)
        grey = grey_of(dataset, most)
        return _square(grey, aspect_of(dataset), most)


def refuse_lateral(path: Path) -> None:
    """NotRead when the header of a file says that the view is lateral or oblique, unless all views are wanted.
    Nothing is said of a file that can't be read.

    >>> refuse_lateral(Path("gone.dcm"))
    """
    if views_are_kept():
        return
    try:
        with quiet_pydicom():
            view = view_of(dataset_of(path.read_bytes(), pixels=False))
    except (NotRead, OSError):
        return
    if not is_frontal(view):
        raise NotRead(f"a lateral or oblique view ({view}), not a frontal one")


def checked_dataset(data: bytes, most: int) -> "Dataset":
    """The dataset in the bytes of a file, if it can be a single radiograph of a chest. NotRead as in `read_image`.

    >>> checked_dataset(bytes(128) + b"DICM", 2**27)
    Traceback (most recent call last):
    hilum.data.dicom.header.NotRead: damaged: a DICOM file without a header
    """
    check_deflated(data, most * _INFLATED)
    dataset = dataset_of(data)
    check_kind(dataset)
    return dataset


def grey_of(dataset: "Dataset", most: int) -> np.ndarray:
    """The picture of a dataset, uint8 "rows cols", its pixels as stored.

    >>> from pydicom.dataset import Dataset
    >>> grey_of(Dataset(), 2**27)
    Traceback (most recent call last):
    hilum.data.dicom.header.NotRead: damaged: its header lacks Rows
    """
    layout = layout_of(dataset, most)
    values = stored_values(dataset, layout)
    if layout.photometric in ("MONOCHROME1", "MONOCHROME2") and layout.samples == 1:
        return _monochrome(dataset, layout, values)
    if layout.photometric == "PALETTE COLOR" and layout.samples == 1:
        return _luma(from_palette(dataset, values))
    if layout.samples == 3 and layout.photometric in ("RGB", "YBR_RCT", "YBR_ICT"):
        return _luma(values)  # JPEG 2000 has turned its YBR into RGB already
    if layout.samples == 3 and layout.photometric in ("YBR_FULL", "YBR_FULL_422"):
        return _eight_bits(np.ascontiguousarray(values[..., 0]))
    raise NotRead(f"{layout.samples} values a pixel as {layout.photometric[:16]}, which is not read")


# -- grey -----------------------------------------------------------------------------------------------------


def _monochrome(dataset: "Dataset", layout: Layout, stored: np.ndarray) -> np.ndarray:
    place = _places(layout, stored.dtype.itemsize * 8)
    values = _values(layout)
    is_padding = _padding(dataset, layout, values)
    rescaled = _modality(dataset, layout, values)
    table = _shown(dataset, rescaled)
    if table is None or _is_flat(table, stored, place, is_padding):
        counts = np.bincount(place, counts_of(stored), len(values))
        table = _stretch(rescaled, np.where(is_padding, 0, counts))
    if layout.photometric == "MONOCHROME1":
        table = 255.0 - table
    table = np.rint(np.clip(np.where(is_padding, 0, table), 0, 255)).astype(np.uint8)
    return looked_up(stored, table[place])


def _places(layout: Layout, bits: int) -> np.ndarray:
    """Which of the values in `_values` each code of so many bits stands for, by its bits in use."""
    shift = layout.high + 1 - layout.stored if bits >= layout.allocated else 0
    return (np.arange(2**bits, dtype=np.int32) >> shift) & ((1 << layout.stored) - 1)


def _values(layout: Layout) -> np.ndarray:
    """The values that the bits in use can have, with their sign, in the order of their codes."""
    values = np.arange(1 << layout.stored)
    half = 1 << (layout.stored - 1)
    return np.where(values >= half, values - 2 * half, values) if layout.signed else values


def _padding(dataset: "Dataset", layout: Layout, values: np.ndarray) -> np.ndarray:
    """Which values stand for no image (PixelPaddingValue, PixelPaddingRangeLimit)."""
    ends = [number(dataset, "PixelPaddingValue"), number(dataset, "PixelPaddingRangeLimit")]
    known = [_as_value(int(end), layout) for end in ends if end is not None]
    if ends[0] is None or not known:
        return np.zeros(len(values), bool)
    return (values >= min(known)) & (values <= max(known))


def _as_value(end: int, layout: Layout) -> int:
    """A padding value whose sign was lost or added when it was written."""
    wraps = 1 << layout.allocated
    if layout.signed and end >= wraps // 2:
        return end - wraps
    return end + wraps if not layout.signed and end < 0 else end


def _modality(dataset: "Dataset", layout: Layout, values: np.ndarray) -> np.ndarray:
    """Values in the units of the modality: by its LUT, or rescaled."""
    lut = _lut(dataset, "ModalityLUTSequence", layout.signed)
    if lut is not None:
        return lut.of(values)
    slope, intercept = number(dataset, "RescaleSlope"), number(dataset, "RescaleIntercept")
    if slope == 0:
        raise NotRead("damaged: its header says RescaleSlope 0")
    return values * (1.0 if slope is None else slope) + (intercept or 0.0)


def _shown(dataset: "Dataset", values: np.ndarray) -> np.ndarray | None:
    """0..255 by the VOI LUT or the first window; None where the header has neither."""
    lut = _lut(dataset, "VOILUTSequence", signed=bool(values.min() < 0))
    if lut is not None:
        return lut.of(np.rint(values).astype(np.int64)) * (255.0 / (2**lut.bits - 1))
    centers, widths = numbers(dataset, "WindowCenter"), numbers(dataset, "WindowWidth")
    function = _window_function(text(dataset, "VOILUTFunction").upper() or "LINEAR")
    if not centers or not widths or function is None:
        return None
    least = 1 if function is _linear else 0
    return function(values, centers[0], widths[0]) if widths[0] > least else None


def _window_function(name: str) -> Callable[[np.ndarray, float, float], np.ndarray] | None:
    return {"LINEAR": _linear, "LINEAR_EXACT": _linear_exact, "SIGMOID": _sigmoid}.get(name)


def _linear(values: np.ndarray, center: float, width: float) -> np.ndarray:
    return np.clip(((values - (center - 0.5)) / (width - 1) + 0.5) * 255, 0, 255)


def _linear_exact(values: np.ndarray, center: float, width: float) -> np.ndarray:
    return np.clip(((values - center) / width + 0.5) * 255, 0, 255)


def _sigmoid(values: np.ndarray, center: float, width: float) -> np.ndarray:
    return 255 / (1 + np.exp(np.clip(-4 * (values - center) / width, -500, 500)))


def _is_flat(table: np.ndarray, stored: np.ndarray, place: np.ndarray, is_padding: np.ndarray) -> bool:
    """Whether a window shows one grey only, although the values differ: such a window was meant for nothing. Some
    pixels of some rows mostly show two; else all pixels of these rows are looked at."""
    rows = stored[:: max(1, len(stored) // 64)]
    some = rows[:, :: max(1, rows.shape[1] // 64)]
    for sample in (some, rows):
        used = np.unique(place[sample])
        used = used[~is_padding[used]]
        if len(used) and np.ptp(np.rint(table[used])) > 0:
            return False
    return len(used) > 1


def _stretch(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The levels in use from black to white, for each code. `counts`: how many pixels have it."""
    if not counts.any():
        return np.zeros(len(values))
    present = counts > 0
    lowest, span = values[present].min(), np.ptp(values[present])
    scale = 1.0 if span <= 65535 and np.all(values == np.rint(values)) else 65535 / max(span, 1e-9)
    steps = np.clip(np.rint((values - lowest) * scale), 0, 65535).astype(np.int64)
    low, high = levels_in_use(np.bincount(steps[present], counts[present], 65536))
    return np.clip((steps - low) * (255.0 / max(high - low, 1)), 0, 255)


@dataclass(frozen=True)
class _Lut:
    first: int
    bits: int
    entries: np.ndarray

    def of(self, values: np.ndarray) -> np.ndarray:
        at = np.clip(np.rint(values).astype(np.int64) - self.first, 0, len(self.entries) - 1)
        return self.entries[at].astype(float)


def _lut(dataset: "Dataset", sequence: str, signed: bool) -> _Lut | None:
    """The first table of a LUT sequence; None where there is none that can be used."""
    items = value(dataset, sequence)
    if not items:
        return None
    descriptor, data = numbers(items[0], "LUTDescriptor"), value(items[0], "LUTData")
    if len(descriptor) != 3 or data is None:
        return None
    length, first, bits = (int(part) for part in descriptor)
    length = length % 65536 or 65536
    if signed and first >= 32768:
        first -= 65536
    entries = _entries(data, length)
    return None if not len(entries) or not 1 <= bits <= 16 else _Lut(first, bits, entries & (2**bits - 1))


def _entries(data: Any, length: int) -> np.ndarray:
    """LUTData as numbers: words, or bytes of 8-bit entries."""
    if isinstance(data, bytes):
        kind = "u1" if len(data) < 2 * length else "<u2"
        return np.frombuffer(data[: length * (1 if kind == "u1" else 2)], kind).astype(np.int64)
    parts = list(data) if hasattr(data, "__iter__") else [data]
    return np.array([int(part) & 0xFFFF for part in parts][:length], np.int64)


# -- colour ---------------------------------------------------------------------------------------------------


def from_palette(dataset: "Dataset", values: np.ndarray) -> np.ndarray:
    """Stored values "rows cols" through the palette of the header, uint8 "rows cols 3". NotRead where it can't be read.

    >>> from pydicom.dataset import Dataset
    >>> from_palette(Dataset(), np.zeros((1, 1), np.uint8))
    Traceback (most recent call last):
    hilum.data.dicom.header.NotRead: damaged: its palette can't be read
    """
    from pydicom.pixels.processing import apply_color_lut

    try:
        coloured = apply_color_lut(values, dataset)
    except Exception:  # pydicom answers a damaged palette by several kinds of error
        raise NotRead("damaged: its palette can't be read") from None
    bits = numbers(dataset, "RedPaletteColorLookupTableDescriptor")
    return coloured if bits[2] == 8 else (coloured >> 8).astype(np.uint8)


def _luma(values: np.ndarray) -> np.ndarray:
    grey = np.asarray(cv2.cvtColor(np.ascontiguousarray(values), cv2.COLOR_RGB2GRAY))
    return _eight_bits(grey)


def _eight_bits(grey: np.ndarray) -> np.ndarray:
    return stretched(grey) if grey.dtype == np.uint16 else grey


def _square(image: np.ndarray, aspect: float, most: int) -> np.ndarray:
    """The image with square pixels: the side whose pixels are longer is stretched."""
    rows, cols = image.shape
    size = (round(rows * aspect), cols) if aspect > 1 else (rows, round(cols / aspect))
    if size == image.shape or size[0] * size[1] > most:
        return image
    return np.asarray(cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR))
