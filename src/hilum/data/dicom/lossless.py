"""JPEG lossless (ITU-T T.81, processes 14 and 14 SV1; 2 to 16 bits), decoded with numpy.

The free plug-ins of pydicom do not decode it, OpenCV decodes 8 bits only, and much of what archives hold is written
in it. The chain of Huffman codes must be followed from code to code, but what lies at each bit is looked up for all
bits at once: a radiograph of 2,500 x 2,000 pixels takes about a second.
"""

import struct
from dataclasses import dataclass, field

import numpy as np

from hilum.data.dicom.header import NotRead

_BLOCK = 2**17  # bytes of the scan looked up at once


@dataclass
class _Frame:
    bits: int = 0
    rows: int = 0
    cols: int = 0
    components: list[int] = field(default_factory=list)
    tables: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    restart: int = 0


def decode_lossless(data: bytes) -> tuple[np.ndarray, int]:
    """The samples of a JPEG lossless stream, uint16 "rows cols" or "rows cols components", and their bits.

    NotRead when the stream is truncated, damaged, or of a kind that no radiograph uses (subsampled colour).

    >>> decode_lossless(b"\\xff\\xd8")
    Traceback (most recent call last):
    hilum.data.dicom.header.NotRead: damaged: its JPEG lossless picture can't be decoded
    """
    try:
        return _decode(data)
    except (struct.error, IndexError, ValueError, KeyError):
        raise NotRead("damaged: its JPEG lossless picture can't be decoded") from None


def _decode(data: bytes) -> tuple[np.ndarray, int]:
    frame, at = _Frame(), 2
    while True:
        if data[at] != 0xFF:
            raise ValueError
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        body = data[at + 4 : at + 2 + length]
        at += 2 + length
        if marker == 0xC3:
            _start_of_frame(frame, body)
        elif marker == 0xC4:
            _huffman_tables(frame, body)
        elif marker == 0xDD:
            (frame.restart,) = struct.unpack(">H", body)
        elif marker == 0xDA:
            return _scan(frame, body, data[at:]), frame.bits


def _start_of_frame(frame: _Frame, body: bytes) -> None:
    frame.bits, frame.rows, frame.cols, n = struct.unpack_from(">BHHB", body)
    if any(body[7 + 3 * k] != 0x11 for k in range(n)):
        raise NotRead("JPEG lossless with subsampled colour")
    frame.components = [body[6 + 3 * k] for k in range(n)]


def _huffman_tables(frame: _Frame, body: bytes) -> None:
    """Every table of a segment (T.81, annex C): for each 16 bits that may follow, the code's length and symbol."""
    while body:
        name, counts = body[0], body[1:17]
        symbols = body[17 : 17 + sum(counts)]
        body = body[17 + sum(counts) :]
        lengths, values = np.zeros(65536, np.uint8), np.zeros(65536, np.uint8)
        code, at = 0, 0
        for length, count in enumerate(counts, start=1):
            for _ in range(count):
                first = code << (16 - length)
                last = first + (1 << (16 - length))
                lengths[first:last], values[first:last] = length, symbols[at]
                code, at = code + 1, at + 1
            code <<= 1
        frame.tables[name & 15] = lengths, values


def _scan(frame: _Frame, body: bytes, data: bytes) -> np.ndarray:
    n = body[0]
    if n != len(frame.components) or not frame.rows:
        raise NotRead("JPEG lossless in several scans")
    tables = [frame.tables[body[2 + 2 * k] >> 4] for k in range(n)]
    predictor, shift = body[1 + 2 * n], body[3 + 2 * n] & 15
    samples = frame.rows * frame.cols
    if frame.restart and frame.restart % frame.cols:
        raise NotRead("JPEG lossless with restarts within a row")
    each = frame.restart or samples
    parts, left = [], samples
    for segment in _segments(data):
        if left <= 0:
            break
        differences = _differences(segment, tables, min(each, left) * n).reshape(-1, frame.cols, n)
        base = 1 << (frame.bits - shift - 1)
        parts.append(np.stack([_predicted(differences[..., k], predictor, base) for k in range(n)], axis=-1))
        left -= each
    if left > 0:
        raise NotRead("truncated")
    picture = np.concatenate(parts) << np.uint16(shift)
    return picture[..., 0] if n == 1 else picture


def _segments(data: bytes) -> list[bytes]:
    """The scan between its restarts, without the zero bytes that follow each FF."""
    end = _end_of_scan(data)
    scan, parts, start = data[:end], [], 0
    for at in _restarts(scan):
        parts.append(scan[start:at])
        start = at + 2
    return [part.replace(b"\xff\x00", b"\xff") for part in [*parts, scan[start:]]]


def _end_of_scan(data: bytes) -> int:
    at = data.find(b"\xff")
    while at >= 0:
        follows = data[at + 1 : at + 2]
        if follows and follows != b"\x00" and not 0xD0 <= follows[0] <= 0xD7:
            return at
        at = data.find(b"\xff", at + (2 if follows == b"\x00" else 1))
    raise NotRead("truncated")


def _restarts(scan: bytes) -> list[int]:
    bytes_ = np.frombuffer(scan, np.uint8)
    follows = bytes_[1:]
    return np.flatnonzero((bytes_[:-1] == 0xFF) & (follows >= 0xD0) & (follows <= 0xD7)).tolist()


def _differences(scan: bytes, tables: list[tuple[np.ndarray, np.ndarray]], n: int) -> np.ndarray:
    """The first n differences of a scan, modulo 65536 (T.81, H.1.2.2), components in turn."""
    differences = np.zeros(n, np.uint16)
    padded = np.frombuffer(scan + bytes([255] * 8), np.uint8)
    total, bit, done, turn = 8 * len(scan), 0, 0, len(tables)
    while done < n:
        if bit >= total:
            raise NotRead("truncated")
        start = bit // 8
        block = padded[start : start + _BLOCK + 8]
        limit = 8 * (len(block) - 8)
        if turn == 1 or all(table is tables[0] for table in tables):
            windows, steps, sizes = _looked_up(block, tables[0])
            places = _chain(steps, bit - 8 * start, limit, n - done)
            size, window = sizes[places], windows[places]
            ends = steps[places[-1]] + places[-1]
        else:
            looked = [_looked_up(block, table) for table in tables]
            places = _chain_in_turn([each[1] for each in looked], done, bit - 8 * start, limit, n - done)
            which = (done + np.arange(len(places))) % turn
            size, window = np.zeros(len(places), np.uint8), np.zeros(len(places), np.uint64)
            for k, (windows, _, sizes) in enumerate(looked):
                mine = which == k
                size[mine], window[mine] = sizes[places[mine]], windows[places[mine]]
            ends = looked[int(which[-1])][1][places[-1]] + places[-1]
        lengths = _lengths(tables, window, done, turn)
        differences[done : done + len(places)] = _extended(window, lengths, size)
        done += len(places)
        bit = 8 * start + int(ends)
    if bit > total:
        raise NotRead("truncated")
    return differences


def _lengths(
    tables: list[tuple[np.ndarray, np.ndarray]], window: np.ndarray, done: int, turn: int
) -> np.ndarray:
    head = (window >> np.uint64(16)).astype(np.uint16)
    if turn == 1:
        return tables[0][0][head]
    which = (done + np.arange(len(head))) % turn
    return np.choose(which, [table[0][head] for table in tables])


def _looked_up(
    block: np.ndarray, table: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each bit of a block: the 32 bits that follow (uint64), the length of the code there with what follows it
    (int64), and the size of the difference in bits (uint8)."""
    wide = block.astype(np.uint64)
    n = len(block) - 8
    five = sum(wide[k : k + n] << np.uint64(32 - 8 * k) for k in range(5))
    windows = np.empty((n, 8), np.uint64)
    for k in range(8):
        windows[:, k] = (five >> np.uint64(8 - k)) & np.uint64(0xFFFFFFFF)
    windows = windows.ravel()
    head = (windows >> np.uint64(16)).astype(np.uint16)
    sizes = table[1][head]
    steps = table[0][head].astype(np.int64) + np.where(sizes == 16, 0, sizes)
    return windows, steps, sizes


def _chain(steps: np.ndarray, at: int, limit: int, most: int) -> np.ndarray:
    """Where the codes begin, one after the other."""
    jumps = steps.astype(np.uint8).tobytes()
    places = []
    add = places.append
    while at < limit and len(places) < most:
        add(at)
        jump = jumps[at]
        if not jump:
            raise NotRead("damaged: its JPEG lossless picture holds a code that is not in its table")
        at += jump
    return np.array(places, np.int64)


def _chain_in_turn(steps: list[np.ndarray], first: int, at: int, limit: int, most: int) -> np.ndarray:
    jumps = [each.astype(np.uint8).tobytes() for each in steps]
    places: list[int] = []
    while at < limit and len(places) < most:
        jump = jumps[(first + len(places)) % len(jumps)][at]
        if not jump:
            raise NotRead("damaged: its JPEG lossless picture holds a code that is not in its table")
        places.append(at)
        at += jump
    return np.array(places, np.int64)


def _extended(window: np.ndarray, lengths: np.ndarray, size: np.ndarray) -> np.ndarray:
    """The differences, uint16: `size` bits behind the code, negative where the first of them is 0; size 16 is
    32768 and has no bits."""
    wide = size.astype(np.int64)
    bits = np.where(size == 16, 0, wide)
    after = (window.astype(np.int64) << lengths.astype(np.int64)) & 0xFFFFFFFF
    raw = np.where(bits > 0, after >> (32 - bits), 0)
    low = raw < (np.int64(1) << np.maximum(bits - 1, 0))
    values = np.where(low & (bits > 0), raw - (np.int64(1) << bits) + 1, raw)
    return np.where(size == 16, 32768, values).astype(np.uint16)


def _predicted(differences: np.ndarray, predictor: int, base: int) -> np.ndarray:
    """Samples from differences "rows cols" (T.81, table H.1), modulo 65536."""
    diff = differences.astype(np.int64)
    picture = np.empty(diff.shape, np.int64)
    picture[0] = np.cumsum(diff[0]) + base
    if predictor == 1:
        first = np.cumsum(diff[1:, 0]) + picture[0, 0]
        rest = diff[1:].copy()
        rest[:, 0] = first
        picture[1:] = np.cumsum(rest, axis=1)
        return picture.astype(np.uint16)
    picture &= 0xFFFF
    for row in range(1, len(diff)):
        picture[row] = _row(diff[row], picture[row - 1], predictor) & 0xFFFF
    return picture.astype(np.uint16)


def _row(diff: np.ndarray, above: np.ndarray, predictor: int) -> np.ndarray:
    first = diff[0] + above[0]
    b, c = above[1:], above[:-1]
    if predictor == 2:
        return np.concatenate([[first], diff[1:] + b])
    if predictor == 3:
        return np.concatenate([[first], diff[1:] + c])
    if predictor in (4, 5):
        step = (b - c) if predictor == 4 else (b - c) >> 1
        return np.cumsum(np.concatenate([[first], diff[1:] + step]))
    if predictor not in (6, 7):
        raise ValueError
    values = [int(first) & 0xFFFF]
    for delta, up, corner in zip(diff[1:].tolist(), b.tolist(), c.tolist(), strict=True):
        a = values[-1]
        guess = up + ((a - corner) >> 1) if predictor == 6 else (a + up) >> 1
        values.append((delta + guess) & 0xFFFF)
    return np.array(values, np.int64)
