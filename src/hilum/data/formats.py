"""The headers of BMP and WebP, walked to their end like those of the other formats (see hilum.data.decode)."""

import struct

BMP, RIFF = b"BM", b"RIFF"


class Broken(Exception):
    """Why a structure can't be walked."""


def is_webp(data: bytes) -> bool:
    """Whether the bytes begin as a WebP.

    >>> is_webp(b"RIFF\\0\\0\\0\\0WEBPVP8 "), is_webp(b"RIFF\\0\\0\\0\\0WAVEfmt ")
    (True, False)
    """
    return data[:4] == RIFF and data[8:12] == b"WEBP"


def bmp_header(data: bytes) -> tuple[int, int, str, int]:
    """Width, height, mode and bits per channel of a Windows bitmap. Broken where pixels are missing.

    >>> import cv2, numpy as np
    >>> bmp_header(cv2.imencode(".bmp", np.zeros((2, 3), np.uint8))[1].tobytes())
    (3, 2, 'palette', 8)
    """
    start, size = struct.unpack_from("<II", data, 10)
    if size == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        packed = 0
    else:
        width, height, _, bits, packed = struct.unpack_from("<iiHHI", data, 18)
    width, height = abs(width), abs(height)
    row = (width * bits + 31) // 32 * 4
    if packed in (0, 3, 6) and start + row * height > len(data):
        raise Broken("truncated")
    if packed not in (0, 3, 6) and len(data) < struct.unpack_from("<I", data, 2)[0]:
        raise Broken("truncated")
    mode = "palette" if bits <= 8 else "rgb+alpha" if bits == 32 else "rgb"
    return width, height, mode, min(bits, 8)


def webp_header(data: bytes) -> tuple[int, int, str, int]:
    """Width, height, mode and bits per channel of a WebP (RFC 9649). Broken where its length is more than there is.

    >>> import cv2, numpy as np
    >>> webp_header(cv2.imencode(".webp", np.zeros((2, 3, 3), np.uint8))[1].tobytes())[:2]
    (3, 2)
    """
    (length,) = struct.unpack_from("<I", data, 4)
    if length + 8 > len(data):
        raise Broken("truncated")
    kind = data[12:16]
    if kind == b"VP8X":
        (flags,) = struct.unpack_from("<B", data, 20)
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
        return width, height, "rgb+alpha" if flags & 0x10 else "rgb", 8
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        return width, height, "rgb+alpha" if bits >> 28 & 1 else "rgb", 8
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF, "rgb", 8
    raise Broken("damaged: a WebP without a picture")
