"""What a decoding process does with the bytes of one upload: prepare, preview, look at for an explanation, unpack,
read the header.

The bytes lie in memory only. `hilum.inference.stream.prepare` reads a path, so they get one: a link, in a folder of the
process, to a file that has no place on any disk (memfd), or a file there where the system has no such thing.
"""

import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hilum.artifacts.card import PixelContract
from hilum.data.decode import MAX_PIXELS, facts_of, read_grey
from hilum.data.dicom.header import check_deflated, dataset_of, quiet_pydicom, text
from hilum.data.images import Pixels, to_uint8
from hilum.data.listing import is_junk
from hilum.data.place import scaled
from hilum.errors import DataError, HilumError
from hilum.inference.stream import Wanted, prepare
from hilum.web.sniff import KINDS, kind_of_file

Reply = tuple[dict[str, Any], bytes]
"""Header and payload. A header with `error`, a sentence, has a `status` of HTTP."""

TOO_LARGE, NO_IMAGE, UNREADABLE = 413, 415, 422

COPY = 512
"""Longest side of the grey copy that an explanation looks for lungs in."""


def run_task(header: dict[str, Any], data: bytes | bytearray) -> Reply:
    """Does what `header["task"]` says with the bytes of a file. Raises nothing for a file that can't be read.

    >>> run_task({"task": "preview", "name": "image 1", "side": 64, "pixels": 100}, b"GIF89a")[0]["status"]
    415
    """
    try:
        if header["task"] not in ("unpack", "identify"):
            refuse(bytes(data[:160]), data, header["name"], header["pixels"])
        return TASKS[header["task"]](header, data)
    except Refused as refused:
        return {"error": str(refused), "status": refused.status}, b""
    except HilumError as error:
        return {"error": str(error), "status": UNREADABLE}, b""
    except MemoryError:
        return {"error": "there is not enough memory to decode this image", "status": TOO_LARGE}, b""
    except Exception as error:  # of a decoder that meets what nobody has met
        return {
            "error": f"{header['name']} can't be read ({type(error).__name__})",
            "status": UNREADABLE,
        }, b""


class Refused(Exception):
    """A file that is not even decoded; `status`: of the answer."""

    def __init__(self, sentence: str, status: int) -> None:
        super().__init__(sentence)
        self.status = status


def refuse(head: bytes, data: bytes | bytearray, name: str, most: int) -> None:
    """Refused for a file of no known kind, and for one whose header says more than `most` pixels.

    >>> refuse(b"<html>", b"<html>", "image 1", 100)
    Traceback (most recent call last):
    hilum.web.tasks.Refused: image 1 is no readable image (not JPEG, PNG, TIFF, BMP, WebP, DICOM ...
    """
    kind = kind_of_file(head)
    if data and kind in (None, "zip"):
        what = f"not {KINDS}" if kind is None else "a zip within a zip"
        raise Refused(f"{name} is no readable image ({what}); replace the file or take it out", NO_IMAGE)
    try:
        facts = facts_of(bytes(data), name)
    except HilumError as error:
        status = TOO_LARGE if f"more than {MAX_PIXELS // 10**6} million" in str(error) else UNREADABLE
        raise Refused(str(error), status) from None
    if facts.width * facts.height > most:
        raise Refused(
            f"{name} has {facts.width:,} x {facts.height:,} pixels, more than {most / 1e6:.3g} million; reduce it",
            TOO_LARGE,
        )


# -- one image ------------------------------------------------------------------------------------------------


def wanted_of(header: dict[str, Any]) -> Wanted:
    """The inverse of `as_json`.

    >>> wanted = Wanted([Pixels(size=(4, 4))], least=28)
    >>> wanted_of(as_json(wanted)) == wanted
    True
    """
    contracts = [Pixels.of(PixelContract.model_validate(contract)) for contract in header["contracts"]]
    return Wanted(contracts, least=header["least"], colour=header["colour"])


def as_json(wanted: Wanted) -> dict[str, Any]:
    """What is wanted of an image, for the header of a message.

    >>> as_json(Wanted([], least=28))
    {'contracts': [], 'least': 28, 'colour': False}
    """
    contracts = [asdict(pixels) for pixels in wanted.contracts]
    return {"contracts": contracts, "least": wanted.least, "colour": wanted.colour}


def _prepare(header: dict[str, Any], data: bytes | bytearray) -> Reply:
    """uint8 of each contract, one after the other; with `keep` a PNG of the grey image behind them."""
    wanted = wanted_of(header)
    with file_of(data, header["name"]) as path:
        image = prepare(path, wanted)
        if image.error is not None:
            return {"error": image.error, "status": UNREADABLE}, b""
        png = _png(read_grey(path)) if header["keep"] else b""
    parts = b"".join(np.ascontiguousarray(image.images[pixels]).tobytes() for pixels in wanted.contracts)
    return {"lungs": image.lungs, "in_colour": image.colour}, parts + png


def _preview(header: dict[str, Any], data: bytes | bytearray) -> Reply:
    """A grey PNG, at most `side` pixels on its longest side."""
    grey = _grey(header, data)
    rows, cols = grey.shape
    return {"width": cols, "height": rows}, _png(_shrunk(grey, header["side"]))


def _explain(header: dict[str, Any], data: bytes | bytearray) -> Reply:
    """uint8 of one contract, the place of this part in the image, and a small grey copy of the whole image."""
    wanted = wanted_of(header)
    [pixels] = wanted.contracts
    with file_of(data, header["name"]) as path:
        image = prepare(path, wanted)
    if image.error is not None:
        return {"error": image.error, "status": UNREADABLE}, b""
    grey = _grey(header, data)
    place, copy = pixels.place(grey), _shrunk(grey, COPY)
    facts = {"place": asdict(place), "shape": list(grey.shape), "copy": list(copy.shape)}
    return facts, np.ascontiguousarray(image.images[pixels]).tobytes() + np.ascontiguousarray(copy).tobytes()


def _grey(header: dict[str, Any], data: bytes | bytearray) -> np.ndarray:
    with file_of(data, header["name"]) as path:
        return to_uint8(read_grey(path))


def _shrunk(grey: np.ndarray, side: int) -> np.ndarray:
    share = min(1.0, side / max(grey.shape))
    return scaled(grey, (max(1, round(grey.shape[0] * share)), max(1, round(grey.shape[1] * share))))


def _png(grey: np.ndarray) -> bytes:
    return cv2.imencode(".png", grey, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()


@contextmanager
def file_of(data: bytes | bytearray, name: str) -> Iterator[str]:
    """A path whose last part is `name`, relative to the working folder, for bytes that stay in memory.

    >>> import tempfile, contextlib
    >>> with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), file_of(b"abc", "image 1") as path:
    ...     path, Path(path).read_bytes()
    ('image 1', b'abc')
    """
    if not hasattr(os, "memfd_create"):
        Path(name).write_bytes(data)
        try:
            yield name
        finally:
            Path(name).unlink()
        return
    memory = os.memfd_create("upload")
    try:
        os.truncate(memory, len(data))
        os.pwrite(memory, data, 0)
        Path(name).symlink_to(f"/proc/{os.getpid()}/fd/{memory}")
        yield name
    finally:
        Path(name).unlink(missing_ok=True)
        os.close(memory)


# -- a zip ----------------------------------------------------------------------------------------------------


def _unpack(header: dict[str, Any], data: bytes | bytearray) -> Reply:
    """The images of a zip, their bytes one after the other; `entries`: name and size of each."""
    try:
        return unpacked(bytes(data), header["name"], header["files"], header["bytes"], header["ratio"])
    except (zipfile.BadZipFile, EOFError, NotImplementedError, OSError, ValueError, RuntimeError) as error:
        reason = "it asks for a password" if "password" in str(error) else "damaged"
        raise Refused(f"{header['name']} is no readable zip ({reason}); pack it again", UNREADABLE) from None


def unpacked(data: bytes, name: str, files: int, size: int, ratio: int) -> Reply:
    """The images of a zip without folders and what a system leaves in them. Nothing is written.

    Refused when there are more than `files` images, when they have more than `size` bytes or one is more than `ratio`
    times as large as it was packed (a zip bomb), for an archive within the archive, and when it holds no image.

    >>> packed = BytesIO()
    >>> with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
    ...     archive.writestr("a.png", bytes(10**6))
    >>> unpacked(packed.getvalue(), "x.zip", 10, 10**7, 100)
    Traceback (most recent call last):
    hilum.web.tasks.Refused: x.zip: an entry is more than 100 times larger than it was packed; ...
    """
    entries: list[dict[str, Any]] = []
    contents: list[bytes] = []
    with zipfile.ZipFile(BytesIO(data)) as archive:
        infos = [info for info in archive.infolist() if not info.is_dir()]
        infos = [info for info in infos if not any(map(is_junk, Path(info.filename).parts))]
        _check_sizes(infos, name, files, size, ratio)
        left = size
        for info in infos:
            with archive.open(info) as entry:
                content = entry.read(left + 1)
            left -= len(content)
            if left < 0:
                raise Refused(
                    f"{name} holds more than {size:,} bytes; send fewer images at a time", TOO_LARGE
                )
            kind = kind_of_file(content)
            if kind == "zip":
                raise Refused(f"{name} holds another zip; pack the images themselves", NO_IMAGE)
            if kind is not None:
                entries.append({"name": Path(info.filename).name, "size": len(content)})
                contents.append(content)
    if not entries:
        raise Refused(
            f"{name} holds no images; pack {KINDS.removesuffix(' or a zip of them')} files", UNREADABLE
        )
    return {"entries": entries}, b"".join(contents)


def _check_sizes(infos: list[zipfile.ZipInfo], name: str, files: int, size: int, ratio: int) -> None:
    """By what the directory of the zip states; what is unpacked is counted again."""
    if len(infos) > files:
        raise Refused(
            f"{name} holds {len(infos):,} files, more than {files:,}; send fewer at a time", TOO_LARGE
        )
    if sum(info.file_size for info in infos) > size:
        raise Refused(f"{name} holds more than {size:,} bytes; send fewer images at a time", TOO_LARGE)
    if any(info.file_size > ratio * max(info.compress_size, 1024) for info in infos):
        raise Refused(
            f"{name}: an entry is more than {ratio} times larger than it was packed; send the image itself",
            TOO_LARGE,
        )


# -- a header -------------------------------------------------------------------------------------------------


def _identify(header: dict[str, Any], data: bytes | bytearray) -> Reply:
    """What a DICOM report on the image carries of its header, by keyword; "" for what is missing."""
    if kind_of_file(bytes(data[:160])) != "DICOM":
        raise Refused(f"{header['name']} is no DICOM instance; send one that belongs to a study", NO_IMAGE)
    with quiet_pydicom():
        check_deflated(bytes(data), 4 * MAX_PIXELS)
        dataset = dataset_of(bytes(data), pixels=False)
        identity = {keyword: text(dataset, keyword) for keyword in header["keywords"]}
    return {"identity": identity}, b""


TASKS: dict[str, Callable[[dict[str, Any], bytes | bytearray], Reply]] = {
    "prepare": _prepare,
    "preview": _preview,
    "explain": _explain,
    "unpack": _unpack,
    "identify": _identify,
}


def check_name(name: str) -> str:
    """A name that is one part of a path, and not a hidden one. DataError for any other.

    >>> check_name("../image")
    Traceback (most recent call last):
    hilum.errors.DataError: a file can't be called '../image'; rename it
    """
    if not name or name.startswith(".") or "/" in name or "\0" in name or len(name.encode()) > 200:
        raise DataError(f"a file can't be called {name!r}", "rename it")
    return name
