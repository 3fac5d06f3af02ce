"""The tuberculosis sets of Montgomery County and Shenzhen (NLM), one of them or both.

    .../CXR_png/MCUCXR_0001_0.png   CHNCXR_0327_1.png        the last digit: 0 normal, 1 tuberculosis
    .../ClinicalReadings/MCUCXR_0001_0.txt                   sex, age and what was seen; not read
    .../ManualMask/leftMask/...                              masks, left out

Each image shows another person. Jaeger S et al. Two public chest X-ray datasets for computer-aided screening of
pulmonary diseases. Quant Imaging Med Surg 4 (2014), 475-477.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from hilum.data.annotated import Annotated, files_below, root_of
from hilum.data.cases import HEALTHY, Cases
from hilum.data.details import person
from hilum.data.listing import listing
from hilum.errors import DataError

DESCRIPTION = "Montgomery and Shenzhen tuberculosis sets: CXR_png/MCUCXR_0001_0.png, CHNCXR_0327_1.png"

_NAME = re.compile(r"((?:MCUCXR|CHNCXR)_\d+)_([01])")
_SITES = {"MCUCXR": "Montgomery", "CHNCXR": "Shenzhen"}
_LABELS = {"0": HEALTHY, "1": "tuberculosis"}


def accepts(data: str | Path) -> bool:
    """Whether a folder CXR_png, at most two folders below, holds an image of these names.

    >>> accepts("no such folder")
    False
    """
    path = Path(data).expanduser()
    if not path.is_dir():
        return False
    folders = [path, *listing(path).folders]
    folders += [below for folder in folders[1:] for below in listing(folder).folders]
    return any(
        _NAME.fullmatch(image.stem)
        for folder in folders
        if folder.name.lower() == "cxr_png"
        for image in listing(folder).images
    )


def load(data: str | Path, exclude: Sequence[str] = ()) -> Cases:
    """Every image of the sets. DataError when there is none.

    >>> load("no such folder")
    Traceback (most recent call last):
    hilum.errors.DataError: no such folder does not exist; name a folder, a .csv or a .npz that exists
    """
    root = root_of(data)
    files = files_below(root, exclude)
    annotated = Annotated(root, excluded=files.excluded)
    for stem, path in sorted(files.by_stem.items()):
        if match := _NAME.fullmatch(stem):
            annotated.add(path, path.name, _LABELS[match[2]], match[1], details=_reading(path))
    if not annotated.rows:
        raise DataError(f"{data} has no image like CXR_png/MCUCXR_0001_0.png", "point to the unpacked folder")
    return annotated.cases(
        "montgomery_shenzhen", data, "the label is the last digit of the file name", "the file name"
    )


def _reading(image: Path) -> dict[str, str]:
    """Sex, age and site of an image: from its text in ClinicalReadings ("Patient's Sex: F", "male 35yrs"), if it is
    there, and from its name."""
    text = image.parent.parent / "ClinicalReadings" / f"{image.stem}.txt"
    try:
        words = text.read_text(encoding="utf-8", errors="replace")
    except OSError:
        words = ""
    sex = re.search(r"\b(female|male)\b|sex:\s*([FM])\b", words, re.IGNORECASE)
    age = re.search(r"(?:age:\s*)?(\d{1,3}\s*(?:y|m|d|w))", words, re.IGNORECASE)
    return person(
        (sex[1] or sex[2]) if sex else "", age[1] if age else "", _SITES.get(image.name[:6].upper(), "")
    )
