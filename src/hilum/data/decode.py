"""Decoding: from a file's bytes to a grey image, and from its header to facts about it.

DICOM is read by `hilum.data.dicom` and becomes uint8, windowed as a viewer shows it. JPEG (grey, colour, CMYK), PNG
(1 to 16 bit, palette, alpha), TIFF (8 and 16 bit, float in 0..1, first page), BMP and WebP
are decoded by OpenCV. Before OpenCV sees a file its structure is walked to the end marker, because
decoders fill the rest of a truncated image with grey and say nothing: a JPEG must reach its end-of-image
marker, a PNG its IEND chunk with every checksum right, and in a TIFF every strip must lie inside the file.
Bytes after the end and thumbnails inside the header do no harm. A JPEG carries no checksum, so damage that
keeps its markers in place can't be noticed.

EXIF orientation is applied: the image is decoded as every viewer shows it, which is what the person saw who
labelled it. Ignoring it would turn or mirror a photographed image, and a mirrored heart is another finding.
"""

import os
import re
import struct
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO, TypeVar

import cv2
import numpy as np

from hilum.data import formats
from hilum.data.dicom.colour import read_colour
from hilum.data.dicom.grey import read_facts, read_image, refuse_lateral
from hilum.data.dicom.header import SUFFIXES, NotRead, is_dicom
from hilum.data.dicom.index import may_be_dicom
from hilum.data.images import to_uint8
from hilum.data.levels import counts_of, levels_in_use
from hilum.errors import DataError

MAX_PIXELS = 2**27
"""Larger images are refused before they are decoded (134 million; the largest detectors have 20 million)."""

DIM = 1 / 8
"""A float TIFF whose levels in use span less than this share of 0..1 is stretched."""

Read = TypeVar("Read")

_JPEG = b"\xff\xd8"
_PNG = b"\x89PNG\r\n\x1a\n"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two: BigTIFF
_COLOURS = {1: "grey", 2: "grey+alpha", 3: "rgb", 4: "rgb+alpha"}


class UnreadableImage(DataError):
    """A file that can't be decoded; `reason` is the part of the sentence in brackets."""

    def __init__(self, name: str | Path, reason: str) -> None:
        super().__init__(f"{name} is no readable image ({reason})", "replace the file or take it out")
        self.reason = reason


@dataclass(frozen=True)
class ImageFacts:
    """What a header says. `width` and `height` are as stored, before EXIF orientation; `bytes` is the file's
    size; `mode` is one of grey, grey+alpha, rgb, rgb+alpha, palette, cmyk; `bits` are per channel."""

    width: int
    height: int
    bytes: int
    mode: str
    bits: int


@dataclass(frozen=True)
class _Header:
    kind: str
    width: int
    height: int
    mode: str
    bits: int
    white_is_zero: bool = False


class _Broken(Exception):
    """Why a structure can't be walked; becomes UnreadableImage where the name is known."""


def read_grey(path: Path | str) -> np.ndarray:
    """A file as a grey image "rows cols": uint16 if it stores 16 bits, else uint8.

    Colour becomes luma (0.299 R + 0.587 G + 0.114 B, ITU-R BT.601), alpha is dropped (OpenCV blends an 8-bit
    TIFF with its alpha), float TIFF in 0..1 and 16 bit with a sign become uint8. UnreadableImage (a DataError)
    names the path and the reason: empty, truncated, not an image, damaged, too large, or what the file system says.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     _ = cv2.imwrite(f"{folder}/deep.png", np.full((2, 3), 4095, np.uint16))
    ...     image = read_grey(f"{folder}/deep.png")
    >>> image.shape, str(image.dtype), int(image.max())
    ((2, 3), 'uint16', 4095)
    """
    return decode(read_bytes(path), path)


def check_frontal(path: Path | str) -> None:
    """UnreadableImage when a file is a DICOM whose header says that it is a lateral or oblique view, unless all
    views are wanted. Other files are not opened.

    >>> check_frontal("gone.png")
    """
    if not may_be_dicom(Path(path)):
        return
    try:
        refuse_lateral(Path(path))
    except NotRead as error:
        raise UnreadableImage(path, str(error)) from None


def probe(path: Path | str) -> ImageFacts:
    """Size, mode and depth of a file without decoding it. UnreadableImage as in `read_grey`.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     _ = cv2.imwrite(f"{folder}/deep.png", np.zeros((2, 3), np.uint16))
    ...     facts = probe(f"{folder}/deep.png")
    >>> facts.width, facts.height, facts.mode, facts.bits
    (3, 2, 'grey', 16)
    """
    return facts_of(read_bytes(path), path)


def decode(data: bytes, name: str | Path = "upload") -> np.ndarray:
    """The bytes of a file -> a grey image, as `read_grey`; `name` stands in error sentences.

    >>> decode(b"")
    Traceback (most recent call last):
    hilum.data.decode.UnreadableImage: upload is no readable image (empty); replace the file or take it out
    """
    if is_dicom(data):
        return _dicom(data, name, read_image)
    header = _header(data, name)
    with quiet_codecs():
        try:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH)
        except cv2.error:
            image = None
    if image is None:
        raise UnreadableImage(name, f"damaged, or a kind of {header.kind} that OpenCV does not decode")
    if image.dtype == np.uint8:  # here OpenCV has already turned white-is-zero around
        return image
    if header.white_is_zero and image.dtype == np.uint16:
        return 65535 - image
    if image.dtype == np.uint16:
        return image
    try:
        return _from_other(image)
    except DataError as error:
        raise UnreadableImage(name, error.what) from None


def _dicom(data: bytes, name: str | Path, read: Callable[[bytes, int], Read]) -> Read:
    with quiet_codecs():
        try:
            return read(data, MAX_PIXELS)
        except NotRead as error:
            raise UnreadableImage(name, str(error)) from None


def dicom_colour(data: bytes, name: str | Path = "upload") -> np.ndarray | None:
    """Some pixels of a DICOM in colour, uint8 "rows cols 3"; None for one in grey. UnreadableImage as in `decode`.

    >>> dicom_colour(bytes(128) + b"DICM")
    Traceback (most recent call last):
    hilum.data.decode.UnreadableImage: upload is no readable image (damaged: a DICOM file without a header); ...
    """
    return _dicom(data, name, read_colour)


def _from_other(image: np.ndarray) -> np.ndarray:
    """int16 and float as uint8. 12 bits in 16, written as float in 0..1, fill a sixteenth: these are stretched."""
    grey = to_uint8(image)
    if np.issubdtype(image.dtype, np.floating):
        deep = np.rint(image * 65535.0).astype(np.uint16)
        low, high = levels_in_use(counts_of(deep))
        if 0 < high - low < DIM * 65535:
            return to_uint8(deep)
    return grey


def facts_of(data: bytes, name: str | Path = "upload") -> ImageFacts:
    """The header's facts about the bytes of a file, as `probe`.

    >>> data = cv2.imencode(".png", np.zeros((2, 3, 3), np.uint8))[1].tobytes()
    >>> facts = facts_of(data)
    >>> facts.width, facts.height, facts.mode, facts.bits
    (3, 2, 'rgb', 8)
    """
    header = _dicom(data, name, read_facts) if is_dicom(data) else _header(data, name)
    return ImageFacts(header.width, header.height, len(data), header.mode, header.bits)


def read_bytes(path: Path | str) -> bytes:
    """A whole file. UnreadableImage with what the file system says, if it can't be read.

    >>> read_bytes("gone.png")
    Traceback (most recent call last):
        ...
    hilum.data.decode.UnreadableImage: gone.png is no readable image (no such file or directory); ...
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UnreadableImage(path, (error.strerror or str(error)).lower()) from None


def _header(data: bytes, name: str | Path) -> _Header:
    """Walks the file to its end. UnreadableImage when it is not whole, or too large."""
    try:
        header = _walk(data, Path(name).suffix.lower())
    except (_Broken, formats.Broken) as error:
        raise UnreadableImage(name, str(error)) from None
    except (struct.error, IndexError, OverflowError):  # an offset or a length points behind the end
        raise UnreadableImage(name, "truncated") from None
    if header.width < 1 or header.height < 1:
        raise UnreadableImage(name, f"its header says {header.width} x {header.height} pixels")
    if header.width * header.height > MAX_PIXELS:
        raise UnreadableImage(
            name, f"{header.width} x {header.height} pixels, more than {MAX_PIXELS // 10**6} million"
        )
    return header


def _walk(data: bytes, suffix: str) -> _Header:
    if not data:
        raise _Broken("empty")
    if _begins(data, _JPEG):
        return _walk_jpeg(data)
    if _begins(data, _PNG):
        return _walk_png(data)
    if any(_begins(data, magic) for magic in _TIFF):
        return _walk_tiff(data)
    if _begins(data, formats.BMP):
        return _Header("BMP", *formats.bmp_header(data))
    if formats.is_webp(data):
        return _Header("WebP", *formats.webp_header(data))
    if suffix in SUFFIXES:
        raise _Broken("not DICOM, although its name says so")
    raise _Broken("not an image: neither JPEG nor PNG nor TIFF nor BMP nor WebP")


def _begins(data: bytes, magic: bytes) -> bool:
    """True also for a file so short that it ends within the magic bytes: it is truncated, not foreign."""
    return data[: len(magic)] == magic[: len(data)]


# Within compressed data FF00 is a plain byte and FFD0 to FFD7 are restarts.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


def _walk_jpeg(data: bytes) -> _Header:
    """Segment by segment to the end-of-image marker (ITU-T T.81, annex B). Thumbnails lie inside APP
    segments, whose length steps over them."""
    header, scans, at = None, 0, 2
    while True:
        match = _MARKER.search(data, at)
        if match is None:
            raise _Broken("truncated")
        marker, at = data[match.start() + 1], match.end()
        if marker == 0xD9:
            break
        if marker in (0x01, 0xD8):  # markers without a length
            continue
        length = struct.unpack_from(">H", data, at)[0]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # start of frame
            bits, height, width, channels = struct.unpack_from(">BHHB", data, at + 2)
            mode = {1: "grey", 3: "rgb", 4: "cmyk"}.get(channels, f"{channels} channels")
            header = _Header("JPEG", width, height, mode, bits)
        scans += marker == 0xDA
        at += length
    if header is None or not scans:
        raise _Broken("damaged: a JPEG without a picture")
    return header


def _walk_png(data: bytes) -> _Header:
    """Chunk by chunk to IEND (ISO/IEC 15948). Checksums of optional chunks are not checked."""
    header, at = None, len(_PNG)
    while True:
        length, kind = struct.unpack_from(">I4s", data, at)
        (checksum,) = struct.unpack_from(">I", data, at + 8 + length)
        critical = not kind[0] & 0x20  # an upper-case first letter
        if critical and zlib.crc32(memoryview(data)[at + 4 : at + 8 + length]) != checksum:
            raise _Broken("damaged: a checksum is wrong")
        if kind == b"IHDR":
            width, height, bits, colour = struct.unpack_from(">IIBB", data, at + 8)
            mode = {0: "grey", 2: "rgb", 3: "palette", 4: "grey+alpha", 6: "rgb+alpha"}.get(colour, "unknown")
            header = _Header("PNG", width, height, mode, bits)
        if kind == b"IEND":
            break
        at += 12 + length
    if header is None:
        raise _Broken("damaged: a PNG without a header")
    return header


def _walk_tiff(data: bytes) -> _Header:
    """The first page's tags, and whether its strips or tiles lie inside the file (TIFF 6.0, section 2)."""
    tags = _tiff_tags(data)
    offsets = tags.get(273) or tags.get(324) or ()
    counts = tags.get(279) or tags.get(325) or ()
    if not offsets or 256 not in tags or 257 not in tags:
        raise _Broken("damaged: a TIFF without a picture")
    ends = [start + size for start, size in zip(offsets, counts, strict=False)] or [max(offsets) + 1]
    if max(ends) > len(data):
        raise _Broken("truncated")
    photometric, channels = tags.get(262, (1,))[0], tags.get(277, (1,))[0]
    mode = {3: "palette", 5: "cmyk"}.get(photometric) or _COLOURS.get(channels, f"{channels} channels")
    bits = tags.get(258, (1,))[0]
    return _Header("TIFF", tags[256][0], tags[257][0], mode, bits, white_is_zero=photometric == 0)


def _tiff_tags(data: bytes) -> dict[int, tuple[int, ...]]:
    """The whole-number tags of the first page."""
    if len(data) < 8:
        raise _Broken("truncated")
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    word, inline = ("Q", 8) if big else ("I", 4)
    (at,) = struct.unpack_from(order + word, data, 8 if big else 4)
    (n_tags,) = struct.unpack_from(order + ("Q" if big else "H"), data, at)
    at += 8 if big else 2
    tags = {}
    for _ in range(n_tags):
        tag, kind, count = struct.unpack_from(f"{order}HH{word}", data, at)
        at += 4 + struct.calcsize(word)
        letter = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q"}.get(kind)
        if letter:
            values = f"{order}{count}{letter}"
            outside = struct.calcsize(values) > inline  # then the cell holds the place of the values
            where = struct.unpack_from(order + word, data, at)[0] if outside else at
            tags[tag] = struct.unpack_from(values, data, where)
        at += inline
    return tags


class _Stderr:
    """Descriptor 2 while codecs work. `nested` counts the threads inside; `terminal` is a stream to where
    descriptor 2 pointed, made once and never closed, so that no other thread can meet it closed."""

    lock = threading.Lock()
    nested = 0
    descriptor = -1
    terminal: TextIO | None = None
    python: TextIO | None = None


@contextmanager
def quiet_codecs() -> Iterator[None]:
    """Keeps what libjpeg, libpng and OpenCV print about damaged files off the user's terminal.

    They write to descriptor 2 itself, so it points to nowhere meanwhile; Python's own sys.stderr goes on to
    the terminal. Threads may enter together, and nesting it around a whole loop spares the switching.

    >>> with quiet_codecs():
    ...     cv2.imdecode(np.frombuffer(b"no image", np.uint8), cv2.IMREAD_GRAYSCALE) is None
    True
    """
    with _Stderr.lock:
        _Stderr.nested += 1
        if _Stderr.nested == 1:
            _mute()
    try:
        yield
    finally:
        with _Stderr.lock:
            _Stderr.nested -= 1
            if _Stderr.nested == 0:
                _unmute()


def _mute() -> None:
    try:
        if _Stderr.terminal is None:
            _Stderr.descriptor = os.dup(2)
            how = {"encoding": getattr(sys.__stderr__, "encoding", None), "errors": "backslashreplace"}
            _Stderr.terminal = os.fdopen(_Stderr.descriptor, "w", buffering=1, closefd=False, **how)
        else:
            os.dup2(2, _Stderr.descriptor, inheritable=False)
        is_python = sys.stderr.fileno() == 2
    except (OSError, AttributeError):
        is_python = False  # descriptor 2 is closed, or sys.stderr is no file (a notebook) and needs no detour
    if _Stderr.terminal is None:
        return
    if is_python:
        sys.stderr.flush()
        _Stderr.python, sys.stderr = sys.stderr, _Stderr.terminal
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def _unmute() -> None:
    if _Stderr.terminal is None:
        return
    _Stderr.terminal.flush()
    os.dup2(_Stderr.descriptor, 2)
    if sys.stderr is _Stderr.terminal and _Stderr.python is not None:
        sys.stderr = _Stderr.python
    _Stderr.python = None
