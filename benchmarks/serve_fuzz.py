"""`hilum serve` under damaged files: mutated JPEG, PNG, TIFF, DICOM and zip through the HTTP door.

    python benchmarks/serve_fuzz.py [--files 10000]

There must be no status of 500 or above, no answer that takes longer than the time limit of a decoding process allows,
and memory must not grow by more than GROWTH once a fifth of the files are through. The exit code is 1 otherwise.
"""

import argparse
import io
import random
import re
import sys
import threading
import time
import zipfile
from collections import Counter

import cv2
import numpy as np

from serve import Server

GROWTH = 50 * 2**20
LONGEST = 30.0
"""Seconds: the limit of a decoding process, and what waits before it."""


def seeds() -> dict[str, list[bytes]]:
    """Whole files of each kind."""
    from hilum.data.phantom.generate import phantom_image
    from hilum.data.phantom.settings import PhantomSettings

    image = phantom_image(PhantomSettings(size=(256, 256)), "virus", person=1, image=1).image
    deep = image.astype(np.uint16) * 257
    kinds = {
        "JPEG": [cv2.imencode(".jpg", image)[1].tobytes()],
        "PNG": [cv2.imencode(".png", picture)[1].tobytes() for picture in (image, deep)],
        "TIFF": [cv2.imencode(".tif", picture)[1].tobytes() for picture in (image, deep)],
        "DICOM": [dicom(deep >> 4)],
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, files in kinds.items():
            archive.writestr(f"{name}.bin", files[0])
    return {**kinds, "zip": [packed.getvalue()]}


def dicom(values: np.ndarray) -> bytes:
    """A DX image."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    dataset, meta = Dataset(), FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = (
        ExplicitVRLittleEndian,
        "1.2.840.10008.5.1.4.1.1.1.1",
    )
    meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.file_meta, dataset.SOPClassUID = meta, meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID, dataset.Modality, dataset.ViewPosition = (
        meta.MediaStorageSOPInstanceUID,
        "DX",
        "PA",
    )
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = *values.shape, 1
    dataset.PhotometricInterpretation, dataset.PixelRepresentation = "MONOCHROME2", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelData = values.astype("<u2").tobytes()
    dataset["PixelData"].VR = "OW"
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def mutated(data: bytes, chance: random.Random) -> bytes:
    """A file with some bytes changed, most of them in its first kilobyte, cut, doubled or filled."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 2, 8, 40))):
        at = chance.randrange(min(len(changed), chance.choice((64, 1024, len(changed)))))
        changed[at] = chance.choice((0, 255, 127, chance.randrange(256)))
    way = chance.randrange(6)
    if way == 0:
        del changed[chance.randrange(len(changed)) :]
    elif way == 1:
        at, length = chance.randrange(len(changed)), chance.randrange(1, 200)
        changed[at:at] = changed[at : at + length] * chance.randrange(1, 20)
    elif way == 2:
        at = chance.randrange(len(changed))
        changed[at : at + 8] = chance.randbytes(8)
    return bytes(changed)


def fuzz(number: int, clients: int = 4) -> bool:
    """Sends mutated files; whether there was no 500, no hang and no growth of memory."""
    server, kinds, chance = Server(), seeds(), random.Random(0)
    statuses: Counter[str] = Counter()
    slowest, bad, lock = [0.0], [], threading.Lock()
    work = [
        (kind, mutated(chance.choice(files), chance))
        for kind, files in kinds.items()
        for _ in range(number // 5)
    ]
    chance.shuffle(work)
    warm = max(50, len(work) // 5)

    def client(part: list[tuple[str, bytes]]) -> None:
        for kind, data in part:
            start = time.perf_counter()
            status, body = server.request("POST", "/v1/predict", data, "application/octet-stream")
            took = time.perf_counter() - start
            with lock:
                statuses[f"{status}"] += 1
                slowest[0] = max(slowest[0], took)
                if status >= 500 or took > LONGEST:
                    bad.append((kind, status, round(took, 1), body[:200]))

    def send(part: list[tuple[str, bytes]]) -> int:
        threads = [threading.Thread(target=client, args=(part[start::clients],)) for start in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return server.memory()

    before = send(work[:warm])
    after = send(work[warm:])
    metrics = server.request("GET", "/metrics")[1].decode()
    is_alive = server.request("POST", "/v1/predict", kinds["JPEG"][0])[0] == 200
    server.stop()
    replaced = re.search(r"^hilum_decoders_replaced_total (\d\S*)", metrics, re.MULTILINE)
    growth = after - before
    print(f"{len(work)} mutated files: statuses {dict(sorted(statuses.items()))}; slowest {slowest[0]:.1f} s; memory "
          f"{before / 2**20:.0f} MB after {warm}, {after / 2**20:.0f} MB at the end ({growth / 2**20:+.0f} MB); "
          f"{float(replaced[1]) if replaced else 0:.0f} processes replaced; bad: {bad[:5] or 'none'}")  # fmt: skip
    return is_alive and not bad and growth < GROWTH


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=10_000)
    sys.exit(0 if fuzz(parser.parse_args().files) else 1)
