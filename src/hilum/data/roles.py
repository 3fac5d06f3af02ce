"""What the name of a folder says about the images in it: a split, masks, a lateral view, or nothing."""

import re
from pathlib import PurePath

from hilum.data.labels import spaced

_SPLITS = {
    "train": "train", "training": "train", "trn": "train", "trainval": "train", "train val": "train",
    "val": "val", "valid": "val", "validation": "val", "validate": "val", "dev": "val",
    "test": "test", "testing": "test", "tst": "test", "holdout": "test",
}  # fmt: skip
_PLAIN = {
    "image", "images", "img", "imgs", "picture", "pictures", "png", "pngs", "jpg", "jpeg", "jpegs", "tif", "tiff",
    "bmp", "webp", "dicom", "dicoms", "dcm", "original", "originals", "raw", "cxr", "cxrs", "xray", "xrays",
    "radiograph", "radiographs", "file", "files", "data", "dataset", "frontal",
}  # fmt: skip
_NO_PATIENT = {
    *_PLAIN, "pa", "ap", "part", "batch", "fold", "chunk", "shard", "folder", "group", "aug", "augmented",
    "augmentation", "resized", "cropped", "bacteria", "bacterial", "virus", "viral",
}  # fmt: skip
_MASK = re.compile(
    r"\w*masks?|masked|segmentations?|segmented|segm|segs?|contours?|annotations?|overlays?|heatmaps?|gt|groundtruth"
)
_MASK_ENDING = re.compile(r"[-_ ](?:\w*mask|seg|segmentation|gt|label)$", re.IGNORECASE)
_MASK_BEGINNING = re.compile(r"^(?:\w*mask|seg|segmentation|gt)[-_ ]", re.IGNORECASE)


def split_of(folder: str) -> str:
    """The split that a folder's name stands for, in any case and with 'set', 'data' or a number; else empty.

    >>> [split_of(name) for name in ("Train", "Testing", "val_set", "validation-data", "test2", "train_val", "normal")]
    ['train', 'test', 'val', 'val', 'test', 'train', '']
    """
    words = [word for word in spaced(folder).split() if not word.isdigit()]
    words = [re.sub(r"(?:set|data|images)?\d*$", "", word) for word in words]
    words = [word for word in words if word and word not in {*_PLAIN, "split", "set", "sets"}]
    return _SPLITS.get(" ".join(words), "")


def split_and_class(folder: str) -> tuple[str, str]:
    """The split and the class of a folder that is called by both; empty texts for one that is not.

    >>> split_and_class("train_NORMAL"), split_and_class("covid test"), split_and_class("normal")
    (('train', 'NORMAL'), ('test', 'covid'), ('', ''))
    """
    parts = re.split(r"[-_ ]+", folder)
    if len(parts) < 2:
        return "", ""
    for word, rest in ((parts[0], parts[1:]), (parts[-1], parts[:-1])):
        if split := _SPLITS.get(word.lower(), ""):
            return split, " ".join(rest)
    return "", ""


def is_plain(folder: str) -> bool:
    """Whether a folder's name says only that images lie in it.

    >>> is_plain("images"), is_plain("images_001"), is_plain("X-ray"), is_plain("normal")
    (True, True, True, False)
    """
    return _only(folder, _PLAIN)


def is_no_patient(folder: str) -> bool:
    """Whether a folder below a class is called by what its images are or by a number of a part.

    >>> is_no_patient("part2"), is_no_patient("PA"), is_no_patient("p2")
    (True, True, False)
    """
    return _only(folder, _NO_PATIENT)


def _only(folder: str, words: set[str]) -> bool:
    text = re.sub(r"\bx rays?\b", "xray", spaced(folder))
    names = [name for name in re.findall(r"[^\W\d_]+|\d+", text) if not name.isdigit()]
    return bool(names) and all(name in words for name in names)


def is_mask_folder(folder: str) -> bool:
    """Whether a folder's name says that it holds masks.

    >>> is_mask_folder("lung masks"), is_mask_folder("leftMask"), is_mask_folder("segmental pneumonia")
    (True, True, False)
    """
    text = spaced(folder)
    if {"data", "dataset", "set"} & set(
        text.split()
    ):  # 'Infection Segmentation Data' of COVID-QU-Ex holds both
        return False
    return "ground truth" in text or any(_MASK.fullmatch(word) for word in text.split())


def base_of_mask(stem: str) -> str:
    """The name of the image that a mask beside it belongs to, after its own name; empty if it is called otherwise.

    >>> base_of_mask("a_mask"), base_of_mask("mask_a"), base_of_mask("a")
    ('a', 'a', '')
    """
    for pattern in (_MASK_ENDING, _MASK_BEGINNING):
        if pattern.search(stem):
            return pattern.sub("", stem)
    return ""


def is_lateral(relative: PurePath | str) -> bool:
    """Whether the name of a file, or of a folder below its class, says that it is a lateral view.

    >>> is_lateral("study1/view2_lateral.jpg"), is_lateral("bilateral.png")
    (True, False)
    """
    path = PurePath(relative)
    return any("lateral" in spaced(part).split() for part in (*path.parts[1:-1], path.stem))
