"""What a file is, by its first bytes; its name and the type that a client states count for nothing."""

from hilum.data import formats
from hilum.data.dicom.header import is_dicom

_MAGIC = {
    b"\xff\xd8": "JPEG",
    b"\x89PNG": "PNG",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    formats.BMP: "BMP",
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",
}

KINDS = "JPEG, PNG, TIFF, BMP, WebP, DICOM or a zip of them"
"""What is read, in words."""


def kind_of_file(data: bytes | memoryview) -> str | None:
    """JPEG, PNG, TIFF, BMP, WebP, DICOM or zip; None for anything else.

    >>> kind_of_file(b"PK\\x03\\x04..."), kind_of_file(bytes(128) + b"DICM"), kind_of_file(b"<html>")
    ('zip', 'DICOM', None)
    """
    head = bytes(data[:160])
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return kind
    if formats.is_webp(head):
        return "WebP"
    return "DICOM" if is_dicom(head) else None
