"""The patient of an image from its name and folders, in the families of names that public sets use.

person1_bacteria_2, IM-0115-0001, NORMAL2-IM-0383-0001     Kermany 2018 as on Kaggle: numbers start again per
                                                           split and per label, so both belong to the name
BACTERIA-5660566-0001                                      Kermany 2018 as on Mendeley
00000001_000                                               NIH ChestX-ray14
patient00001/study1/view1_frontal                          CheXpert, MURA
p10/p10000032/s50414267/...                                MIMIC-CXR
sub-S03044/ses-E06140/...                                  BIDS, as BIMCV-COVID19
CXR1_1_IM-0001-3001                                        Open-i (Indiana)
MCUCXR_0001_0, CHNCXR_0001_1                               Montgomery and Shenzhen
patient_7_left, subject-12                                 names that say it
"""

import re
from collections.abc import Sequence
from pathlib import PurePath

from hilum.data.labels import HEALTHY

_END = r"(?![0-9A-Za-z])"
_ABNORMAL = re.compile(r"(?:.*[^0-9A-Za-z])?(person\d+)_(bacteria|virus)_\d+(?!\d)", re.IGNORECASE)
_HEALTHY = re.compile(r"((?:NORMAL2-)?IM-\d+)-\d+(?!\d)", re.IGNORECASE)
_MENDELEY = re.compile(r"(normal|bacteria|virus)-(\d+)-\d+(?!\d)", re.IGNORECASE)
_CAUSE = re.compile(r"bacteria|virus", re.IGNORECASE)

_STEMS = (
    re.compile(r"(\d{8})_\d{3}" + _END),
    re.compile(r"(CXR\d+)_\d*_?IM-\d+-\d+" + _END, re.IGNORECASE),
    re.compile(r"((?:MCUCXR|CHNCXR)_\d+)_[01]" + _END),
    re.compile(r"(sub-[0-9A-Za-z]+)_"),
    re.compile(r"((?:patient|subject|subj|person|child|pid)[-_ ]?\d+)" + _END, re.IGNORECASE),
)
_FOLDERS = (
    re.compile(r"(patient[-_ ]?\d+)", re.IGNORECASE),
    re.compile(r"(p\d{8})"),
    re.compile(r"(sub-[0-9A-Za-z]+)"),
    re.compile(r"((?:subject|subj|person|child|pid)[-_ ]?\d+)", re.IGNORECASE),
)


def kermany(stem: str, split: str = "") -> tuple[str | None, str | None]:
    """Label and patient of a file of the chest-xray-pneumonia set; None for what its name does not say.

    >>> kermany("person1_virus_6", "train")
    ('virus', 'train/virus/person1')
    >>> kermany("NORMAL2-IM-0383-0001"), kermany("VIRUS-5660566-0009"), kermany("a virus image")
    (('normal', 'normal/NORMAL2-IM-0383'), ('virus', 'patient/5660566'), ('virus', None))
    """
    above = f"{split}/" if split else ""
    if match := _MENDELEY.match(stem):
        return match[1].lower(), f"patient/{match[2]}"
    if match := _ABNORMAL.match(stem):
        return match[2].lower(), f"{above}{match[2].lower()}/{match[1].lower()}"
    if match := _HEALTHY.match(stem):
        return HEALTHY, f"{above}{HEALTHY}/{match[1].upper()}"
    match = _CAUSE.search(stem)
    return (match[0].lower() if match else None), None


def patient_of(path: PurePath | str, split: str = "") -> str:
    """The patient that a relative path names; empty when it names none. `split`: for names whose numbers start
    again in each split.

    >>> patient_of("train/patient00003/study1/view1_frontal.jpg"), patient_of("images/00000013_005.png")
    ('patient00003', '00000013')
    >>> patient_of("Normal/IM-0115-0001.jpeg", "train"), patient_of("COVID/COVID-1.png")
    ('train/normal/IM-0115', '')
    """
    return patient_of_folders(PurePath(path).parts[:-1]) or patient_of_stem(PurePath(path).stem, split)


def patient_of_folders(folders: Sequence[str]) -> str:
    """The first folder whose name says that it holds one patient; empty without one.

    >>> patient_of_folders(["p10", "p10000032", "s50414267"])
    'p10000032'
    """
    for folder in folders:
        for family in _FOLDERS:
            if match := family.fullmatch(folder):
                return match[1]
    return ""


def patient_of_stem(stem: str, split: str = "") -> str:
    """The patient in a file's name without its ending; empty without one.

    >>> patient_of_stem("CXR1_1_IM-0001-3001")
    'CXR1'
    """
    _, patient = kermany(stem, split)
    if patient:
        return patient
    return next((match[1] for family in _STEMS if (match := family.match(stem))), "")


def joined(patients: Sequence[str]) -> list[str]:
    """Patients 'val/...' take the name of 'train/...' where both occur: in the set as published no name is in both,
    so that whoever divided it anew has put images of one child into both.

    >>> joined(["train/virus/person1", "val/virus/person1", "val/virus/person2", "test/virus/person1"])
    ['train/virus/person1', 'train/virus/person1', 'val/virus/person2', 'test/virus/person1']
    """
    known = set(patients)

    def name(patient: str) -> str:
        same = re.sub(r"^val/", "train/", patient)
        return same if same in known else patient

    return [name(patient) for patient in patients]
