"""What a DICOM file shows: whether it is a single chest radiograph, and from where it was taken."""

import re
from typing import TYPE_CHECKING

from hilum.data.dicom.header import NotRead, number, numbers, text, value

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

RADIOGRAPHY = ("CR", "DX", "DR", "XR", "RG", "RF", "SC", "OT", "")
"""Modalities that are read: computed, digital and screen radiography, fluoroscopy as a single image, secondary capture;
OT and an empty cell, which exports write, say nothing."""

_MODALITIES = {
    "CT": "a CT slice",
    "MR": "an MR image",
    "US": "an ultrasound image",
    "IVUS": "an ultrasound image",
    "PT": "a PET image",
    "NM": "a nuclear medicine image",
    "MG": "a mammogram",
    "IO": "a dental radiograph",
    "PX": "a dental radiograph",
    "XA": "an angiogram",
    "XC": "a clinical photograph",
    "ES": "an endoscopic image",
    "GM": "a microscopic image",
    "SM": "a microscopic image",
    "OP": "a photograph of the eye",
    "DERM": "a photograph of the skin",
    "BMD": "a bone density image",
    "SR": "a structured report",
    "PR": "a presentation state",
    "KO": "a list of key images",
    "SEG": "a segmentation",
    "DOC": "a document",
    "REG": "a registration",
    "RTIMAGE": "a radiotherapy image",
    "RTDOSE": "a radiotherapy dose",
    "RTPLAN": "a radiotherapy plan",
    "RTSTRUCT": "radiotherapy contours",
    "ECG": "an electrocardiogram",
}
_STORAGE = "1.2.840.10008.5.1.4.1.1."
_SOP_CLASSES = {
    "1.2": "a mammogram",
    "1.3": "a dental radiograph",
    "2": "a CT slice",
    "3": "an ultrasound image",
    "4": "an MR image",
    "6": "an ultrasound image",
    "11": "a presentation state",
    "12.1": "an angiogram",
    "13": "a volume of slices",
    "20": "a nuclear medicine image",
    "66": "a segmentation",
    "77.1": "a clinical photograph",
    "88": "a structured report",
    "104": "a document",
    "128": "a PET image",
    "481": "radiotherapy data",
}
_CHEST = re.compile(
    r"CHEST|THORA|TORA[CKX]|TÓRAX|LUNG|PULM|PULM[OÓ]N|RIB|CXR|THX|STERN|HEART|BRUSTKORB|POUMON"
)
_OTHER_PARTS = """
    ABDOMEN ANKLE ARM BACK BRAIN BREAST CALCANEUS CLAVICLE COCCYX CSPINE DENTAL ELBOW EXTREMITY EYE FACE FEMUR FIBULA
    FINGER FOOT FOREARM HAND HEAD HEEL HIP HUMERUS JAW KIDNEY KNEE LEG LSPINE LSSPINE MANDIBLE MAXILLA NECK NOSE ORBIT
    PATELLA PELVIS RADIUS SACRUM SCAPULA SHOULDER SINUS SKULL SPINE SSPINE TEETH THIGH THUMB TIBIA TOE TOOTH TSPINE
    ULNA WRIST
"""
_LATERAL = frozenset(("LL", "RL", "LAT", "LATERAL", "LLAT", "RLAT"))
_OBLIQUE = frozenset(("LAO", "RAO", "LPO", "RPO", "LLO", "RLO", "OBLIQUE"))


def check_kind(dataset: "Dataset") -> None:
    """NotRead, with what the file shows instead, unless it can be a single radiograph of a chest.

    >>> from pydicom.dataset import Dataset
    >>> dataset = Dataset()
    >>> dataset.Modality = "CT"
    >>> check_kind(dataset)
    Traceback (most recent call last):
    hilum.data.dicom.header.NotRead: a CT slice, not a radiograph of the chest
    """
    other = _other_kind(dataset)
    if other:
        raise NotRead(f"{other}, not a radiograph of the chest")
    if not _has_pixels(dataset):
        raise NotRead("a DICOM file without a picture")
    frames = number(dataset, "NumberOfFrames") or 1
    if frames > 1:
        raise NotRead(f"{frames:g} frames, a series of pictures and not a single radiograph")
    part = text(dataset, "BodyPartExamined").upper()
    if part and not _CHEST.search(part) and set(_OTHER_PARTS.split()) & set(re.findall(r"[A-Z]+", part)):
        raise NotRead(f"its header says the body part {part[:16]}, not the chest")


def _other_kind(dataset: "Dataset") -> str:
    """What it is, if it is known to be no radiograph; empty otherwise."""
    modality = text(dataset, "Modality").upper()
    uid = text(dataset, "SOPClassUID").removeprefix(_STORAGE)
    known = [name for start, name in _SOP_CLASSES.items() if f"{uid}.".startswith(f"{start}.")]
    if modality in _MODALITIES:
        return _MODALITIES[modality]
    if known:
        return known[0]
    return "" if modality in RADIOGRAPHY else f"modality {modality[:16]!r}"


def _has_pixels(dataset: "Dataset") -> bool:
    return any(name in dataset for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData"))


def view_of(dataset: "Dataset") -> str:
    """The projection in capitals as the header gives it (PA, AP, LL, ...), 'LATERAL' where only the code of the view
    says so; empty where it is not known.

    >>> from pydicom.dataset import Dataset
    >>> dataset = Dataset()
    >>> dataset.ViewPosition = "LL"
    >>> view_of(dataset), is_frontal(view_of(dataset))
    ('LL', False)
    """
    view = re.sub(r"[^A-Z ]", "", text(dataset, "ViewPosition").upper())[:16].strip()
    if view:
        return view
    codes = value(dataset, "ViewCodeSequence") or []
    words = set(re.findall(r"[a-z]+", " ".join(text(code, "CodeMeaning").lower() for code in codes)))
    return "LATERAL" if "lateral" in words and "decubitus" not in words else ""


def is_frontal(view: str) -> bool:
    """False for lateral and oblique projections; a view that is not known counts as frontal.

    >>> is_frontal("PA"), is_frontal(""), is_frontal("LATERAL")
    (True, True, False)
    """
    words = set(view.split())
    return not words & (_LATERAL | _OBLIQUE)


def remarks(dataset: "Dataset") -> list[str]:
    """What a reader should know of an image that is read: each is the end of 'n images ...'.

    >>> from pydicom.dataset import Dataset
    >>> dataset = Dataset()
    >>> dataset.Modality, dataset.BurnedInAnnotation = "DX", "YES"
    >>> remarks(dataset)
    ['carry text burned into the picture (BurnedInAnnotation)']
    """
    findings = []
    if text(dataset, "BurnedInAnnotation").upper() == "YES":
        findings.append("carry text burned into the picture (BurnedInAnnotation)")
    if (number(dataset, "SamplesPerPixel") or 1) > 1 or text(
        dataset, "PhotometricInterpretation"
    ) == "PALETTE COLOR":
        findings.append("are stored in colour and are read by their brightness (PhotometricInterpretation)")
    direction = text(dataset, "PatientOrientation").upper().split("\\")
    if len(direction) == 2 and all(direction) and (direction[0][:1], direction[1][:1]) != ("L", "F"):
        findings.append("are mirrored or turned by their header (PatientOrientation) and are read as stored")
    part = text(dataset, "BodyPartExamined").upper()
    if part and not _CHEST.search(part):
        findings.append("have a body part in their header that is not known to be the chest")
    if modality_is_silent(dataset):
        findings.append("do not say in their header that they are radiographs (Modality)")
    if aspect_of(dataset) != 1.0:
        findings.append("have pixels that are not square and were stretched to true proportions")
    return findings


def modality_is_silent(dataset: "Dataset") -> bool:
    """Whether the header leaves open how the image was made.

    >>> from pydicom.dataset import Dataset
    >>> modality_is_silent(Dataset())
    True
    """
    return text(dataset, "Modality").upper() in ("", "OT", "SC")


def spacing_of(dataset: "Dataset") -> tuple[float, float] | None:
    """(between rows, between columns) in mm, at the detector where the header gives both; None where it is not known.

    >>> from pydicom.dataset import Dataset
    >>> dataset = Dataset()
    >>> dataset.ImagerPixelSpacing = [0.139, 0.139]
    >>> spacing_of(dataset)
    (0.139, 0.139)
    """
    for keyword in ("ImagerPixelSpacing", "PixelSpacing", "NominalScannedPixelSpacing"):
        pair = numbers(dataset, keyword)
        if len(pair) == 2 and min(pair) > 0:
            return pair[0], pair[1]
    return None


def aspect_of(dataset: "Dataset") -> float:
    """Height of a pixel divided by its width; 1 where the header says nothing, or nothing sensible (0.2 to 5).

    >>> from pydicom.dataset import Dataset
    >>> dataset = Dataset()
    >>> dataset.PixelAspectRatio = [2, 1]
    >>> aspect_of(dataset)
    2.0
    """
    pair = spacing_of(dataset)
    if pair is None:
        ratio = numbers(dataset, "PixelAspectRatio")
        pair = (ratio[0], ratio[1]) if len(ratio) == 2 and min(ratio) > 0 else (1.0, 1.0)
    aspect = pair[0] / pair[1]
    return aspect if 0.2 <= aspect <= 5 and abs(aspect - 1) > 0.01 else 1.0
