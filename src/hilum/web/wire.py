"""Messages between the service and its decoding processes: a JSON header and bytes, over a socket. No pickles.

8 bytes   length of the header
8 bytes   length of the payload
header    JSON
payload   bytes
"""

import json
import socket
import struct
from typing import Any

_LENGTHS = struct.Struct(">QQ")
LONGEST_HEADER = 2**20


class Closed(Exception):
    """The other side has gone."""


def send(to: socket.socket, header: dict[str, Any], payload: bytes | bytearray | memoryview = b"") -> None:
    """Sends one message. Closed when nobody is there to read it.

    >>> ours, theirs = socket.socketpair()
    >>> send(ours, {"side": 64}, b"pixels")
    >>> receive(theirs)
    ({'side': 64}, bytearray(b'pixels'))
    >>> ours.close(), theirs.close()
    (None, None)
    """
    text = json.dumps(header, allow_nan=False).encode()
    try:
        to.sendall(_LENGTHS.pack(len(text), len(payload)) + text)
        if len(payload):
            to.sendall(payload)
    except (BrokenPipeError, ConnectionResetError):
        raise Closed from None


def receive(source: socket.socket, most: int = 2**33) -> tuple[dict[str, Any], bytearray]:
    """One message. Closed at the end of the stream, TimeoutError where the socket has a time limit; ValueError for a
    message of more than `most` bytes.

    >>> ours, theirs = socket.socketpair()
    >>> ours.close()
    >>> with theirs:
    ...     receive(theirs)
    Traceback (most recent call last):
    hilum.web.wire.Closed
    """
    header_length, length = _LENGTHS.unpack(_exactly(source, _LENGTHS.size))
    if header_length > LONGEST_HEADER or length > most:
        raise ValueError(f"a message of {header_length:,} and {length:,} bytes")
    return json.loads(_exactly(source, header_length)), _exactly(source, length)


def _exactly(source: socket.socket, length: int) -> bytearray:
    data = bytearray(length)
    view, at = memoryview(data), 0
    while at < length:
        try:
            count = source.recv_into(view[at:], min(length - at, 2**20))
        except ConnectionResetError:
            raise Closed from None
        if not count:
            raise Closed
        at += count
    return data
