"""Published figures of anomaly detectors on the public children's set, which that literature calls ZhangLab.

All were fitted on the normal training images and measured on the official test split (234 healthy, 390 abnormal
images), most with the accuracy at a threshold that was chosen on that split. Figures on held-out training patients
are of other images and can't be compared with these.
"""

from dataclasses import dataclass

from hilum.report.wording import number, percent

TEST_IMAGES = "official test split (234 healthy and 390 abnormal images)"


@dataclass(frozen=True)
class Published:
    """`auroc`, `accuracy`: 0 to 1, None where none is printed; `remark`: pretraining, venue; `about`: the source
    gives an approximate figure."""

    name: str
    auroc: float
    accuracy: float | None = None
    remark: str = ""
    about: bool = False


PUBLISHED = (
    Published("plain auto-encoders", 0.60, about=True),
    Published("PANDA", 0.657, 0.654, "network pretrained on photographs"),
    Published("CutPaste", 0.739, 0.640),
    Published("M-KD", 0.741, 0.691, "network pretrained on photographs"),
    Published("MemAE", 0.778, 0.565),
    Published("IF-2D", 0.810, 0.764),
    Published("SALAD", 0.827, 0.759),
    Published("SQUID", 0.876, 0.803, "CVPR 2023"),
    Published("SimSID", 0.91, about=True),
    Published("PPAD", 0.967, 0.894, "MICCAI 2024; network pretrained on chest radiographs and their reports"),
)
"""Lowest AUROC first."""


@dataclass(frozen=True)
class PublishedRow:
    """One method as text."""

    name: str
    auroc: str
    accuracy: str
    remark: str


@dataclass(frozen=True)
class PublishedTable:
    """`images`: what all were measured on."""

    images: str
    rows: list[PublishedRow]


def published() -> PublishedTable:
    """The table, highest AUROC first."""
    return PublishedTable(
        TEST_IMAGES,
        [
            PublishedRow(
                name=row.name,
                auroc=("about " if row.about else "") + number(row.auroc, 2 if row.about else 3),
                accuracy=percent(row.accuracy),
                remark=row.remark,
            )
            for row in reversed(PUBLISHED)
        ],
    )
