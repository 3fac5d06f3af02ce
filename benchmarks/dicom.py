"""How fast DICOM is read, beside pydicom and OpenCV by hand.

    python benchmarks/dicom.py --images 200 --rows 2500 --columns 2000

Writes DX files of 12 bits in 16 with a window (a third MONOCHROME1) into a temporary folder and reads each in turn by
all ways, from file to uint8 of the whole size, one thread. By hand is what pydicom's documentation shows: `dcmread`,
`pixel_array`, `apply_modality_lut`, `apply_voi_lut`, scaled to 0..255 by OpenCV, inverted for MONOCHROME1. "By hand,
lean" is the least that gives the same picture for these files: `pixel_array`, clipped and scaled once by OpenCV. Both
times are printed, by the clock and of the processor alone, which other work on the machine hardly moves. The ratio is
hilum's rate divided by theirs; 0.9 is the aim. `--syntax` compresses the files.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless, generate_uid

from hilum.data.decode import read_grey

SYNTAXES = {"native": None, "rle": RLELossless, "jpeg-ls": JPEGLSLossless, "jpeg-2000": JPEG2000Lossless}


def by_hand(path: Path) -> np.ndarray:
    """The usual way of a notebook."""
    dataset = dcmread(path)
    shown = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset)
    grey = cv2.convertScaleAbs(shown, alpha=255 / (2**dataset.BitsStored - 1))
    return 255 - grey if dataset.PhotometricInterpretation == "MONOCHROME1" else grey


def by_hand_lean(path: Path) -> np.ndarray:
    """One window, no LUT, no rescale, no padding: for files of this kind alone."""
    dataset = dcmread(path)
    center, width = float(dataset.WindowCenter), float(dataset.WindowWidth)
    low, scale = center - 0.5 - (width - 1) / 2, 255 / (width - 1)
    clipped = np.clip(dataset.pixel_array, max(0, round(low)), round(low + width - 1))
    grey = cv2.convertScaleAbs(clipped, alpha=scale, beta=-low * scale)
    return 255 - grey if dataset.PhotometricInterpretation == "MONOCHROME1" else grey


def write(path: Path, values: np.ndarray, number: int, syntax: str) -> None:
    """One DX file."""
    dataset, meta = Dataset(), FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.file_meta = meta
    dataset.Modality, dataset.BodyPartExamined, dataset.ViewPosition = "DX", "CHEST", "PA"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = *values.shape, 1
    dataset.PhotometricInterpretation = "MONOCHROME1" if number % 3 == 0 else "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.WindowCenter, dataset.WindowWidth = 2000, 3200
    dataset.PixelData = values.tobytes()
    dataset["PixelData"].VR = "OW"
    if SYNTAXES[syntax] is not None:
        dataset.compress(SYNTAXES[syntax], generate_instance_uid=False)
    dataset.save_as(path, enforce_file_format=True)


def seconds(read: Callable[[Path], np.ndarray], path: Path) -> tuple[tuple[float, float], np.ndarray]:
    """How long one file takes, by the clock and of the processor, and its picture."""
    start = time.perf_counter(), time.process_time()
    picture = read(path)
    return (time.perf_counter() - start[0], time.process_time() - start[1]), picture


def main() -> None:
    """Prints images per second of both ways, the largest difference in grey levels, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--rows", type=int, default=2500)
    parser.add_argument("--columns", type=int, default=2000)
    parser.add_argument("--syntax", choices=SYNTAXES, default="native")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    chance = np.random.default_rng(0)
    rough = chance.random((25, 20)).astype(np.float32)
    smooth = cv2.resize(rough, (options.columns, options.rows), interpolation=cv2.INTER_CUBIC)
    base = smooth * 3000 + 500
    times: dict[str, list[tuple[float, float]]] = {"hilum": [], "by hand": [], "by hand, lean": []}
    apart = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.dcm")
        for number in range(options.images):
            values = np.clip(base + chance.normal(0, 20), 0, 4095).astype(np.uint16)
            write(path, values, number, options.syntax)
            ways = [("hilum", read_grey), ("by hand", by_hand), ("by hand, lean", by_hand_lean)]
            pictures = {}
            for name, read in ways if number % 2 else ways[::-1]:
                spent, pictures[name] = seconds(read, path)
                times[name].append(spent)
            apart = max(
                apart, *(int(cv2.absdiff(pictures["hilum"], other).max()) for other in pictures.values())
            )
    print(f"largest difference {apart} grey levels")
    for place, clock in enumerate(("clock", "processor")):
        median = {name: float(np.median([both[place] for both in spent])) for name, spent in times.items()}
        for name, value in median.items():
            print(f"{clock}: {name:13} median {value * 1000:6.1f} ms, {1 / value:6.1f} images per second")
        for name in ("by hand", "by hand, lean"):
            print(f"{clock}: ratio to {name}: {median[name] / median['hilum']:.2f}")


if __name__ == "__main__":
    main()
