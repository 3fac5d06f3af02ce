"""The layouts of public sets, large enough to be split: some patients per label, images that a network can tell apart.

Each maker writes its set below a folder and gives what `hilum study` is pointed to. An image is noise with a bright bar
at the height of its first label."""

import csv
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from tests import dicom_files
from tests.unit.public_sets import CHEXPERT_FINDINGS, NIH_HEAD

EACH = 12
"""Patients per label."""


def pixels(label: int, number: int) -> np.ndarray:
    """Noise with a bar at the height of the label, uint8 "40 48"."""
    image = np.random.default_rng(1000 * label + number).integers(0, 200, (40, 48)).astype(np.uint8)
    image[3 + 5 * label : 7 + 5 * label, 8:40] = 255
    return image


def save(path: Path, label: int, number: int) -> None:
    """The image as PNG, JPEG or DICOM, as its ending says; every third DICOM is MONOCHROME1."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = pixels(label, number)
    if path.suffix not in (".dcm", ".dicom"):
        cv2.imwrite(str(path), image)
        return
    deep = image.astype(np.uint16) * 16
    inverted = number % 3 == 0
    dicom_files.write(
        path,
        deep.max() - deep if inverted else deep,
        12,
        PhotometricInterpretation="MONOCHROME1" if inverted else "MONOCHROME2",
        PatientID=f"MRN-{label}-{number}",
        PatientSex="FM"[number % 2],
        PatientAge=f"{20 + number:03}Y",
    )


def table(path: Path, head: str, rows: Sequence[Sequence[object]]) -> None:
    """A CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(head.split(","))
        writer.writerows(rows)


def nih(root: Path) -> Path:
    rows, lists = [], {"train_val_list.txt": [], "test_list.txt": []}
    for label, finding in enumerate(("No Finding", "Effusion", "Mass", "Effusion|Mass")):
        for number in range(EACH):
            patient = 100 * label + number
            name = f"{patient:08}_000.png"
            save(root / f"images_00{number % 2 + 1}" / "images" / name, label, number)
            rows.append([name, finding, 0, patient, 30 + number, "MF"[number % 2], "PA"])
            lists["test_list.txt" if number % 4 == 3 else "train_val_list.txt"].append(name)
    table(root / "Data_Entry_2017.csv", NIH_HEAD, rows)
    for name, images in lists.items():
        (root / name).write_text("\n".join(images) + "\n")
    return root


def chexpert(root: Path) -> Path:
    names = CHEXPERT_FINDINGS.split(",")
    rows: dict[str, list[list[object]]] = {"train": [], "valid": []}
    for label, finding in enumerate(("No Finding", "Edema", "Pleural Effusion")):
        for number in range(EACH):
            part = "valid" if number % 4 == 3 else "train"
            patient = f"patient{100 * label + number:05}"
            for view, kind in ((1, "frontal"), (2, "lateral"))[: 1 + (number == 0)]:
                path = f"{part}/{patient}/study1/view{view}_{kind}.jpg"
                save(root / path, label, number)
                cells = [f"CheXpert-v1.0-small/{path}", ("Female", "Male")[number % 2], 40 + number]
                stated = [
                    1.0 if name == finding else -1.0 if name == "Pneumonia" and number == 1 else 0.0
                    for name in names
                ]
                rows[part].append([*cells, kind.capitalize(), "AP", *stated])
    for part, lines in rows.items():
        table(root / f"{part}.csv", f"Path,Sex,Age,Frontal/Lateral,AP/PA,{CHEXPERT_FINDINGS}", lines)
    return root


def covid19_radiography(root: Path) -> Path:
    for label, name in enumerate(("Normal", "COVID", "Lung_Opacity", "Viral Pneumonia")):
        for number in range(EACH):
            save(root / name / "images" / f"{name}-{number + 1}.png", label, number)
            mask = root / name / "masks" / f"{name}-{number + 1}.png"
            mask.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(mask), np.zeros((40, 48), np.uint8))
        (root / f"{name}.metadata.xlsx").write_bytes(b"PK")
    return root


def montgomery_shenzhen(root: Path) -> Path:
    for at, (folder, prefix) in enumerate((("MontgomerySet", "MCUCXR"), ("ChinaSet_AllFiles", "CHNCXR"))):
        for label in (0, 1):
            for number in range(EACH):
                stem = f"{prefix}_{100 * label + number:04}_{label}"
                save(root / folder / "CXR_png" / f"{stem}.png", label, number + 50 * at)
                text = root / folder / "ClinicalReadings" / f"{stem}.txt"
                text.parent.mkdir(parents=True, exist_ok=True)
                text.write_text(f"Patient's Sex: {'FM'[number % 2]}\nPatient's Age: 0{20 + number}Y\n\n")
    return root


def _radiologists(root: Path, head: str, findings: Sequence[str], suffix: str) -> Path:
    """Three radiologists per image of train, one per image of test."""
    for part, numbers in (("train", range(EACH)), ("test", range(EACH, EACH + 4))):
        rows: list[list[object]] = []
        for label in range(len(findings)):
            for number in numbers:
                name = f"{label}{number:02}abc"
                save(root / part / f"{name}{suffix}", label, number)
                stated = [int(place == label) for place in range(len(findings))]
                readers = ("R1", "R2", "R3") if part == "train" else ("R1",)
                rows.extend([name, reader, *stated] for reader in readers)
        table(root / "annotations" / f"image_labels_{part}.csv", f"{head},{','.join(findings)}", rows)
    return root


def vindr_cxr(root: Path) -> Path:
    return _radiologists(root, "image_id,rad_id", ("No finding", "Cardiomegaly", "Pneumothorax"), ".dicom")


def vindr_pcxr(root: Path) -> Path:
    return _radiologists(root, "image_ID,rad_ID", ("No finding", "Bronchitis", "Brocho-pneumonia"), ".dicom")


def rsna(root: Path) -> Path:
    boxes: list[list[object]] = []
    details: list[list[object]] = []
    for label, name in enumerate(("Normal", "Lung Opacity", "No Lung Opacity / Not Normal")):
        for number in range(EACH):
            patient = f"{label}{number:02}-0004cfab"
            save(root / "stage_2_train_images" / f"{patient}.dcm", label, number)
            for box in range(2 if label == 1 else 1):
                place = [1, 2 + box, 3, 4, 1] if label == 1 else ["", "", "", "", 0]
                boxes.append([patient, *place])
                details.append([patient, name])
    table(root / "stage_2_train_labels.csv", "patientId,x,y,width,height,Target", boxes)
    table(root / "stage_2_detailed_class_info.csv", "patientId,class", details)
    return root


SETS = {
    "nih_chestxray14": nih,
    "chexpert": chexpert,
    "covid19_radiography": covid19_radiography,
    "montgomery_shenzhen": montgomery_shenzhen,
    "vindr_cxr": vindr_cxr,
    "vindr_pcxr": vindr_pcxr,
    "rsna_pneumonia": rsna,
}
