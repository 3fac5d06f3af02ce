"""DICOM files for tests, written by pydicom: a phantom's picture as digital radiography, with whatever is asked for."""

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

from hilum.data.dicom.header import quiet_pydicom

DX = "1.2.840.10008.5.1.4.1.1.1.1"
CR = "1.2.840.10008.5.1.4.1.1.1"
SC = "1.2.840.10008.5.1.4.1.1.7"

PLANTED = {
    "PatientName": "Quixano^Alonso^^Dr",
    "PatientID": "MRN-00471142",
    "PatientBirthDate": "20190817",
    "StudyDate": "20250611",
    "AccessionNumber": "ACC7788123",
    "InstitutionName": "Hospital Barataria",
    "ReferringPhysicianName": "Sancho^Panza",
    "StudyID": "STUDYX9917",
    "DeviceSerialNumber": "SN5550123",
}
"""What must never leave a header."""


def dataset_of(values: np.ndarray, bits: int = 12, **header: object) -> Dataset:
    """A DX dataset of grey values "rows cols" (or colour, "rows cols 3"); `header`: further elements by keyword."""
    dataset, meta = Dataset(), FileMetaDataset()
    allocated = 8 if values.dtype.itemsize == 1 else 16
    signed = values.dtype.kind == "i"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = UID(str(header.get("SOPClassUID", DX)))
    meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.file_meta = meta
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.Modality, dataset.BodyPartExamined, dataset.ViewPosition = "DX", "CHEST", "PA"
    dataset.Rows, dataset.Columns = values.shape[:2]
    dataset.SamplesPerPixel = 1 if values.ndim == 2 else 3
    dataset.PhotometricInterpretation = "MONOCHROME2" if values.ndim == 2 else "RGB"
    if values.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated, dataset.BitsStored = allocated, min(bits, allocated)
    dataset.HighBit, dataset.PixelRepresentation = dataset.BitsStored - 1, int(signed)
    with quiet_pydicom():  # tests write what should not be written
        for keyword, value in header.items():
            setattr(dataset, keyword, value)
    data = values.astype(values.dtype.newbyteorder("<")).tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset["PixelData"].VR = "OW" if allocated == 16 else "OB"
    return dataset


def write(path: Path, values: np.ndarray, bits: int = 12, **header: object) -> Path:
    """Writes such a dataset as a file; gives its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset_of(values, bits, **header).save_as(path, enforce_file_format=True)
    return path


def picture(rows: int = 60, cols: int = 72, bits: int = 12, seed: int = 0) -> np.ndarray:
    """A smooth picture of all values of so many bits, uint16 "rows cols"."""
    import cv2

    rough = np.random.default_rng(seed).random((6, 7)).astype(np.float32)
    smooth = cv2.resize(rough, (cols, rows), interpolation=cv2.INTER_CUBIC)
    return np.rint((smooth - smooth.min()) / np.ptp(smooth) * (2**bits - 1)).astype(np.uint16)
