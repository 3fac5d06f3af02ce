"""Miniatures of the layouts of public sets: their tables, folders and names, with tiny images."""

from pathlib import Path

import cv2
import numpy as np


def images(root: Path, *paths: str) -> Path:
    for value, path in enumerate(paths):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / path), np.full((8, 8), value, np.uint8))
    return root


NIH_HEAD = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"


def nih(root: Path) -> Path:
    names = ("00000001_000.png", "00000001_001.png", "00000002_000.png", "00000003_000.png")
    images(root / "NIH", *(f"images_00{at % 2 + 1}/images/{name}" for at, name in enumerate(names)))
    findings = ("Cardiomegaly", "Cardiomegaly|Effusion", "No Finding", "Effusion")
    lines = [f"{name},{text},0,{int(name[:8])},58,M,PA" for name, text in zip(names, findings, strict=True)]
    (root / "NIH" / "Data_Entry_2017.csv").write_text("\n".join([NIH_HEAD, *lines]) + "\n")
    (root / "NIH" / "train_val_list.txt").write_text("\n".join(names[:3]))
    (root / "NIH" / "test_list.txt").write_text(names[3] + "\n")
    return root / "NIH"


CHEXPERT_FINDINGS = (
    "No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,Edema,Consolidation,Pneumonia,"
    "Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices"
)


def chexpert(root: Path) -> Path:
    folder = root / "CheXpert-v1.0-small"
    head = f"Path,Sex,Age,Frontal/Lateral,AP/PA,{CHEXPERT_FINDINGS}"
    cells = {
        "train/patient00001/study1/view1_frontal.jpg": "1.0,,,,,,,,,,,,,1.0",
        "train/patient00001/study1/view2_lateral.jpg": "1.0,,,,,,,,,,,,,1.0",
        "train/patient00002/study1/view1_frontal.jpg": ",,,,,1.0,-1.0,,0.0,,,,,",
        "train/patient00003/study2/view1_frontal.jpg": ",,,,,1.0,,,1.0,,,,,",
        "train/patient00004/study1/view1_frontal.jpg": ",,,,,-1.0,,,,,,,,",
        "valid/patient00005/study1/view1_frontal.jpg": "0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,1.0,0.0,0.0,0.0,0.0,0.0",
    }
    images(folder, *cells)
    for part in ("train", "valid"):
        lines = [
            f"CheXpert-v1.0-small/{path},Female,68,{'Lateral' if 'lateral' in path else 'Frontal'},AP,{values}"
            for path, values in cells.items()
            if path.startswith(part)
        ]
        (folder / f"{part}.csv").write_text("\n".join([head, *lines]) + "\n")
    return folder


def covid19_radiography(root: Path) -> Path:
    folder = root / "COVID-19_Radiography_Dataset"
    for label in ("COVID", "Lung_Opacity", "Normal", "Viral Pneumonia"):
        images(folder, *(f"{label}/{kind}/{label}-{n}.png" for kind in ("images", "masks") for n in (1, 2)))
        (folder / f"{label}.metadata.xlsx").write_bytes(b"PK")
    return folder


def montgomery_shenzhen(root: Path) -> Path:
    folder = root / "tuberculosis"
    mask = "MontgomerySet/ManualMask/leftMask/MCUCXR_0001_0.png"
    names = ("MontgomerySet/CXR_png/MCUCXR_0001_0.png", "MontgomerySet/CXR_png/MCUCXR_0104_1.png",
              "ChinaSet_AllFiles/CXR_png/CHNCXR_0327_1.png", "ChinaSet_AllFiles/CXR_png/CHNCXR_0001_0.png")  # fmt: skip
    images(folder, *names, mask)
    for image in names:
        text = folder / image.replace("CXR_png", "ClinicalReadings").replace(".png", ".txt")
        text.parent.mkdir(parents=True, exist_ok=True)
        text.write_text("Patient's Sex: F\nPatient's Age: 026Y\nnormal\n")
    return folder


def dicom(root: Path, *paths: str) -> Path:
    """Files that are DICOM by their name and first bytes."""
    for value, path in enumerate(paths):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(bytes(128) + b"DICM" + bytes([value]))
    return root


def vindr(root: Path) -> Path:
    folder = dicom(
        root / "vindr-pcxr",
        *(f"train/{name}.dicom" for name in "abcd"),
        *(f"test/{name}.dicom" for name in "ef"),
    )
    head = "image_ID,rad_ID,No finding,Bronchitis,Brocho-pneumonia,Other disease"
    train = ["a,R1,1,0,0,0", "b,R1,0,1,0,0", "c,R2,0,1,1,0", "d,R1,0,0,1,0", "d,R2,1,0,0,0", "d,R3,0,0,1,0"]
    (folder / "image_labels_train.csv").write_text("\n".join([head, *train]) + "\n")
    (folder / "image_labels_test.csv").write_text("\n".join([head, "e,R1,1,0,0,0", "f,R1,0,0,0,1"]) + "\n")
    boxes = "image_id,rad_ID,class_name,x_min,y_min,x_max,y_max\nb,R1,Bronchial thickening,1,2,3,4\n"
    (folder / "annotations_train.csv").write_text(boxes)
    return folder


def rsna(root: Path) -> Path:
    folder = dicom(root / "rsna", *(f"stage_2_train_images/{name}.dcm" for name in ("p1", "p2", "p3")))
    lines = ["patientId,x,y,width,height,Target", "p1,,,,,0", "p2,1,2,3,4,1", "p2,5,6,7,8,1", "p3,,,,,0"]
    (folder / "stage_2_train_labels.csv").write_text("\n".join(lines) + "\n")
    details = [
        "patientId,class",
        "p1,Normal",
        "p2,Lung Opacity",
        "p2,Lung Opacity",
        "p3,No Lung Opacity / Not Normal",
    ]
    (folder / "stage_2_detailed_class_info.csv").write_text("\n".join(details) + "\n")
    return folder
