"""The header of a DICOM file: read quietly, whatever is odd about it, and asked for values that may be missing."""

import logging
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from math import isfinite
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

SUFFIXES = (".dcm", ".dicom", ".dic", ".ima")
"""Endings that DICOM files have, if they have one."""

HEAD = 132
"""So many bytes tell whether a file is DICOM."""

_FIRST_GROUPS = (b"\x02\x00", b"\x08\x00", b"\x00\x08")
_VRS = frozenset(
    b"AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OW PN SH SL SQ SS ST TM UC UI UL UN UR US UT".split()
)
_DEFLATED = "1.2.840.10008.1.2.1.99"


class NotRead(Exception):
    """Why a DICOM file gives no grey image: the part of the sentence that stands in brackets."""


def is_dicom(data: bytes) -> bool:
    """Whether bytes begin as DICOM does: with 128 bytes and DICM, or, without this preamble, with an element of the
    groups 0002 or 0008. The first 132 bytes are enough.

    >>> is_dicom(bytes(128) + b"DICM"), is_dicom(b"\\x08\\x00\\x05\\x00CS\\x0a\\x00ISO_IR 100"), is_dicom(b"GIF89a")
    (True, True, False)
    """
    if data[128:132] == b"DICM" or data[:4] == b"DICM":
        return True
    if data[:2] not in _FIRST_GROUPS or len(data) < 8:
        return False
    if data[4:6] in _VRS:
        return True
    implicit_length = int.from_bytes(data[4:8], "little")
    return data[:2] == b"\x08\x00" and implicit_length < 2**12 and data[3] == 0


class _Quiet:
    """How many threads read DICOM just now, and what was there before the first of them."""

    lock = threading.Lock()
    nested = 0
    caught: Any = None
    mode: int = 0
    level: int = 0


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Keeps pydicom's remarks on odd values off the terminal; threads may enter together.

    >>> with quiet_pydicom():
    ...     warnings.warn("value is too long")
    """
    from pydicom.config import IGNORE, logger, settings

    with _Quiet.lock:
        _Quiet.nested += 1
        if _Quiet.nested == 1:
            _Quiet.caught = warnings.catch_warnings()
            _Quiet.caught.__enter__()
            warnings.simplefilter("ignore")
            _Quiet.level = logger.level
            logger.setLevel(logging.CRITICAL)
            _Quiet.mode, settings.reading_validation_mode = settings.reading_validation_mode, IGNORE
    try:
        yield
    finally:
        with _Quiet.lock:
            _Quiet.nested -= 1
            if _Quiet.nested == 0:
                settings.reading_validation_mode = _Quiet.mode
                logger.setLevel(_Quiet.level)
                _Quiet.caught.__exit__(None, None, None)


def dataset_of(data: bytes, pixels: bool = True) -> "Dataset":
    """The dataset in the bytes of a file, with or without preamble and meta header. `pixels`: False reads
    the header alone.

    NotRead says why there is none.

    >>> dataset_of(bytes(128) + b"DICM" + bytes(500))
    Traceback (most recent call last):
    hilum.data.dicom.header.NotRead: damaged: a DICOM file without a header
    """
    from pydicom import dcmread

    if data[:4] == b"DICM" and data[128:132] != b"DICM":
        data = bytes(128) + data  # the preamble was cut off
    if data[128:132] == b"DICM" and data[132:134] != b"\x02\x00":
        data = data[132:]  # no meta header: pydicom finds out how the rest is written
    try:
        dataset = dcmread(BytesIO(data), force=True, stop_before_pixels=not pixels)
    except Exception as error:  # pydicom answers damage by nearly every kind of error
        if _DEFLATED.encode() in data[:1024]:
            raise NotRead("damaged: its deflated part can't be read") from None
        reason = "truncated" if isinstance(error, EOFError) else "damaged: its DICOM header can't be read"
        raise NotRead(reason) from None
    if not _has_header(dataset):
        # pydicom keeps nothing of a file that ends within an element
        if pixels and _has_header(dataset_of(data, pixels=False)):
            raise NotRead("truncated")
        raise NotRead("damaged: a DICOM file without a header")
    return dataset


def _has_header(dataset: "Dataset") -> bool:
    return any(tag.group >= 4 for tag in dataset.keys())  # noqa: SIM118 (a dataset iterates over its elements)


def check_deflated(data: bytes, most: int) -> None:
    """NotRead when a deflated dataset would grow beyond `most` bytes; nothing else is said of it.

    >>> check_deflated(bytes(128) + b"DICM", 100)
    """
    at = data[:1024].find(_DEFLATED.encode())
    if at < 0 or data[128:132] != b"DICM":
        return
    length = int.from_bytes(data[140:144], "little")  # of the meta header, its first element
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        size = len(inflate.decompress(data[144 + length :], most + 1))
    except zlib.error:
        return
    if size > most:
        raise NotRead(f"its deflated part is larger than {most // 10**6} million bytes")


def value(dataset: "Dataset", keyword: str) -> Any:
    """A value of the header, None where it is missing, empty or not of its kind.

    >>> from pydicom.dataset import Dataset
    >>> value(Dataset(), "Rows") is None
    True
    """
    try:
        content = dataset.get(keyword)
    except Exception:  # an element whose bytes do not fit its kind
        return None
    return None if content is None or content == "" else content


def text(dataset: "Dataset", keyword: str) -> str:
    """A value of the header as text, its parts joined by a backslash; empty where it is missing.

    >>> from pydicom.dataset import Dataset
    >>> dataset = Dataset()
    >>> dataset.ViewPosition = "PA"
    >>> text(dataset, "ViewPosition"), text(dataset, "Modality")
    ('PA', '')
    """
    content = value(dataset, keyword)
    if content is None:
        return ""
    try:
        several = (
            not isinstance(content, str | bytes) and hasattr(content, "__iter__") and keyword != "PatientName"
        )
        return "\\".join(str(part) for part in content).strip() if several else str(content).strip()
    except Exception:  # a character set that is not known
        return ""


def numbers(dataset: "Dataset", keyword: str) -> list[float]:
    """The numbers of a value; empty where there are none.

    >>> from pydicom.dataset import Dataset
    >>> dataset = Dataset()
    >>> dataset.WindowCenter = ["2000", "1000"]
    >>> numbers(dataset, "WindowCenter"), numbers(dataset, "Rows")
    ([2000.0, 1000.0], [])
    """
    content = value(dataset, keyword)
    if content is None:
        return []
    parts = (
        list(content) if hasattr(content, "__iter__") and not isinstance(content, str | bytes) else [content]
    )
    try:
        read = [float(part) for part in parts]
    except (TypeError, ValueError, OverflowError):
        return []
    return [number for number in read if isfinite(number)]


def number(dataset: "Dataset", keyword: str) -> float | None:
    """The first number of a value, None where there is none.

    >>> from pydicom.dataset import Dataset
    >>> number(Dataset(), "Rows") is None
    True
    """
    content = numbers(dataset, keyword)
    return content[0] if content else None


def whole(dataset: "Dataset", keyword: str, default: int | None = None) -> int:
    """A whole number that the picture needs. NotRead when it is missing and there is no default.

    >>> from pydicom.dataset import Dataset
    >>> whole(Dataset(), "Rows")
    Traceback (most recent call last):
    hilum.data.dicom.header.NotRead: damaged: its header lacks Rows
    """
    content = number(dataset, keyword)
    if content is None:
        if default is None:
            raise NotRead(f"damaged: its header lacks {keyword}")
        return default
    return int(content)


def syntax(dataset: "Dataset") -> str:
    """The transfer syntax, as the meta header gives it or as the dataset turns out to be written.

    >>> from pydicom.dataset import Dataset
    >>> syntax(Dataset())
    '1.2.840.10008.1.2'
    """
    meta = getattr(dataset, "file_meta", None)
    named = text(meta, "TransferSyntaxUID") if meta is not None else ""
    if named:
        return named
    implicit, little = dataset.original_encoding
    if little is False:
        return "1.2.840.10008.1.2.2"
    return "1.2.840.10008.1.2.1" if implicit is False else "1.2.840.10008.1.2"
