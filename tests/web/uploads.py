"""What tests send to the service: phantoms, and files that are made to do harm."""

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
from fastapi.testclient import TestClient

from hilum.data.phantom.generate import phantom_image
from hilum.data.phantom.settings import PhantomSettings
from hilum.web.app import create_app
from hilum.web.settings import Settings
from tests.dicom_files import dataset_of

HERE = "http://127.0.0.1:8000"


@contextmanager
def client_of(settings: Settings) -> Iterator[TestClient]:
    """A client of a running service."""
    with TestClient(create_app(settings), base_url=HERE, raise_server_exceptions=False) as client:
        yield client


def picture(number: int = 1, label: str = "virus", side: int = 256) -> np.ndarray:
    """A phantom, uint8 "rows cols"."""
    return phantom_image(PhantomSettings(size=(side, side)), label, person=number, image=1).image


def png(number: int = 1, label: str = "virus", side: int = 256) -> bytes:
    """The same as a file."""
    return cv2.imencode(".png", picture(number, label, side))[1].tobytes()


def dicom(**header: object) -> bytes:
    """The same as DICOM."""
    stream = io.BytesIO()
    dataset_of(picture().astype(np.uint16) * 16, **header).save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def zipped(*files: bytes, name: str = "image{}.png") -> bytes:
    """Files in a zip."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, file in enumerate(files):
            archive.writestr(name.format(number), file)
    return packed.getvalue()


def png_bomb(side: int) -> bytes:
    """A PNG of a few kilobytes that unpacks to `side` x `side` pixels of nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(2**20), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def tiff_bomb(side: int) -> bytes:
    """A TIFF whose header says `side` x `side` pixels."""
    tags = [(256, 4, side), (257, 4, side), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1)]
    tags += [(278, 4, side), (279, 4, 64)]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    start = 8 + 64
    return (
        struct.pack("<2sHI", b"II", 42, start) + bytes(64) + struct.pack("<H", len(tags)) + entries + bytes(4)
    )


def sent(*files: bytes) -> list[tuple[str, tuple[str, bytes]]]:
    """Files as the field `file` of a form, with names that nobody may see again."""
    return [("file", (f"Quixano_Alonso_{number}.png", file)) for number, file in enumerate(files)]
