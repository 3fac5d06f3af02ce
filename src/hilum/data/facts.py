"""Facts about each image: what its header says, what its pixels measure, and two digests of the picture.

Width, height, mode, bits and bytes are the file's own. Mean, contrast, sharpness, gradient ratio and the
markers are measured on the image squeezed to 224 x 224 by area averaging (smaller images as they are): that is
about what a network sees, it makes images of different detectors comparable, and mean and contrast change
little by it. The pixel digest is taken from the full-size decoded image.

Facts are kept in $HILUM_CACHE/facts, one file per place that cases come from, its rows by content digest:
a second call, also for fewer images, decodes nothing, and of a larger set only the new images are decoded.
"""

import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from hilum.data import decode
from hilum.data.cases import Cases
from hilum.data.images import to_uint8
from hilum.files import cache_folder, digest, replacing

VERSION = 2
"""To be raised when a fact is measured in another way."""

SIDE = 224
THUMBNAIL = 64
_HASH_SIDE = 32
_CORNER = 0.2  # a corner is a fifth of each side; the letters that mark left and right lie there

NUMBERS = (
    "width",
    "height",
    "aspect",
    "channels",
    "bits",
    "bytes",
    "mean",
    "contrast",
    "sharpness",
    "gradient_ratio",
    "marker_top",
    "marker_bottom",
)
WORDS = ("mode", "phash", "pixel_digest")


@dataclass(frozen=True)
class Facts:
    """`table`: one row per case, as `facts_table`; `thumbnails`: uint8 "cases 64 64", squeezed."""

    table: pd.DataFrame
    thumbnails: np.ndarray


def facts_table(cases: Cases, progress: Callable[[int, int], None] | None = None) -> pd.DataFrame:
    """One row per case, in the order of the cases.

    Columns: `case_id`; `readable` (bool) and `reason` (text, empty if readable); `width`, `height` (pixels,
    as shown), `aspect` (width / height), `channels`, `bits` (per channel), `mode`, `bytes` (of the file);
    `mean` and `contrast` (standard deviation), grey levels 0..255; `sharpness`, the mean absolute Laplacian,
    grey levels; `gradient_ratio`, mean absolute horizontal difference / vertical; `marker_top`,
    `marker_bottom`, the 99th percentile minus the median of the two upper (lower) corners, the larger one,
    grey levels; `phash`, 1024 bits in hexadecimal, each says whether a pixel of the 32 x 32 thumbnail is
    brighter than its neighbourhood; `pixel_digest` of the decoded image. NaN or empty where unreadable.
    `progress` is called with (done, total).

    >>> import pandas as pd
    >>> from hilum.data.cases import Cases
    >>> row = {"case_id": "a", "path": "gone.png", "label": "normal", "patient": "a", "split": "", "digest": "-"}
    >>> table = facts_table(Cases.checked(pd.DataFrame([row]), "table", Path("cases.csv")))
    >>> table[["readable", "reason"]].values.tolist()
    [[False, 'no such file or directory']]
    """
    return gather(cases, progress).table


def gather(cases: Cases, progress: Callable[[int, int], None] | None = None) -> Facts:
    """`facts_table` together with the thumbnails (black where unreadable).

    >>> row = {"case_id": "a", "path": "gone.png", "label": "normal", "patient": "a", "split": "", "digest": "-"}
    >>> facts = gather(Cases.checked(pd.DataFrame([row]), "table", Path("cases.csv")))
    >>> facts.table["readable"].tolist(), facts.thumbnails.shape, int(facts.thumbnails.max())
    ([False], (1, 64, 64), 0)
    """
    digests = cases.table["digest"]
    path = cache_folder() / "facts" / f"{digest('facts', str(VERSION), str(cases.root.absolute()))}.npz"
    known = _load(path)
    todo = cases.table[~digests.isin(known)]
    reasons: dict[str, str] = {}
    if len(todo):
        fresh = _measure_all(todo["path"].tolist(), progress)
        for case, name, measured in zip(todo["case_id"], todo["digest"], fresh, strict=True):
            if isinstance(measured, str):
                reasons[case] = measured
            else:
                known[name] = measured
        if len(reasons) < len(todo):
            _save(path, known)
    return _join(cases, known, reasons)


Fact = tuple[dict[str, Any], np.ndarray]


def measure(path: Path | str) -> Fact:
    """The facts of one image and its thumbnail. UnreadableImage when it can't be decoded.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     _ = cv2.imwrite(f"{folder}/grey.png", np.full((20, 40), 100, np.uint8))
    ...     facts, thumbnail = measure(f"{folder}/grey.png")
    >>> facts["width"], facts["aspect"], facts["mean"], thumbnail.shape
    (40, 2.0, 100.0, (64, 64))
    """
    data = decode.read_bytes(path)
    image = decode.decode(data, path)
    header = decode.facts_of(data, path)
    rows, cols = image.shape
    grey = to_uint8(image)
    small = _shrunk(grey, SIDE)
    thumbnail = cv2.resize(small, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    facts = {
        "width": cols,
        "height": rows,
        "aspect": cols / rows,
        "channels": 1 if header.mode.startswith("grey") else 3,
        "bits": header.bits,
        "bytes": header.bytes,
        **_texture(small),
        "mode": header.mode,
        "phash": perceptual_hash(thumbnail),
        "pixel_digest": digest(f"{image.shape} {image.dtype}", image.tobytes()),
    }
    return facts, np.asarray(thumbnail)


def perceptual_hash(thumbnail: np.ndarray) -> str:
    """256 hexadecimal digits: for each pixel of 32 x 32, is it brighter than its neighbourhood (Gaussian,
    2 pixels)? Re-encoding, resizing and a change of contrast turn few of the 1024 bits.

    >>> perceptual_hash(np.zeros((64, 64), np.uint8)) == "0" * 256
    True
    """
    small = cv2.resize(thumbnail, (_HASH_SIDE, _HASH_SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    return np.packbits(small - cv2.GaussianBlur(small, (0, 0), 2) > 1e-3).tobytes().hex()


def _texture(image: np.ndarray) -> dict[str, float]:
    """The numbers that a network could use without the lungs."""
    values = image.astype(np.float32)
    across = np.abs(np.diff(values, axis=1)).mean() if image.shape[1] > 1 else 0.0
    down = np.abs(np.diff(values, axis=0)).mean() if image.shape[0] > 1 else 0.0
    markers = _markers(image)
    return {
        "mean": float(values.mean()),
        "contrast": float(values.std()),
        "sharpness": float(np.abs(cv2.Laplacian(values, cv2.CV_32F)).mean()),
        "gradient_ratio": float((across + 1e-6) / (down + 1e-6)),  # an even picture has the ratio 1
        "marker_top": float(markers[:2].max()),
        "marker_bottom": float(markers[2:].max()),
    }


def _markers(image: np.ndarray) -> np.ndarray:
    """How far the brightest spot stands out, for the upper left, upper right and the two lower corners."""
    high, wide = (max(1, round(_CORNER * side)) for side in image.shape)
    top, bottom = image[:high], image[-high:]
    corners = np.stack([top[:, :wide], top[:, -wide:], bottom[:, :wide], bottom[:, -wide:]])
    bright, middle = np.percentile(corners.reshape(4, -1), (99, 50), axis=1)
    return bright - middle


def _shrunk(image: np.ndarray, side: int) -> np.ndarray:
    rows, cols = (min(side, length) for length in image.shape)
    if (rows, cols) == image.shape:
        return image
    return np.asarray(cv2.resize(image, (cols, rows), interpolation=cv2.INTER_AREA))


def _measure_all(paths: list[str], progress: Callable[[int, int], None] | None) -> list[Fact | str]:
    """Facts, or the reason why there are none, in the order of the paths."""

    def fact_or_reason(path: str) -> Fact | str:
        try:
            return measure(path)
        except decode.UnreadableImage as error:
            return error.reason

    facts: list[Fact | str] = []
    with ThreadPoolExecutor() as pool, decode.quiet_codecs():
        for fact in pool.map(fact_or_reason, paths):
            facts.append(fact)
            if progress and (len(facts) % 64 == 0 or len(facts) == len(paths)):
                progress(len(facts), len(paths))
    return facts


def _join(cases: Cases, known: dict[str, Fact], reasons: dict[str, str]) -> Facts:
    blank = (
        {**dict.fromkeys(NUMBERS, np.nan), **dict.fromkeys(WORDS, "")},
        np.zeros((THUMBNAIL,) * 2, np.uint8),
    )
    rows = [
        blank if case in reasons else known[name]
        for case, name in zip(cases.table["case_id"], cases.table["digest"], strict=True)
    ]
    table = pd.DataFrame([facts for facts, _ in rows])
    table = table.astype({**dict.fromkeys(NUMBERS, float), **dict.fromkeys(WORDS, str)})
    table.insert(0, "case_id", cases.table["case_id"].to_numpy())
    table.insert(1, "readable", ~table["case_id"].isin(reasons))
    table.insert(2, "reason", [reasons.get(name, "") for name in table["case_id"]])
    return Facts(table, np.stack([thumbnail for _, thumbnail in rows]))


def _save(path: Path, known: dict[str, Fact]) -> None:
    arrays: dict[str, Any] = {
        name: np.array([facts[name] for facts, _ in known.values()]) for name in (*NUMBERS, *WORDS)
    }
    arrays["digest"] = np.array(list(known))
    arrays["thumbnail"] = np.stack([thumbnail for _, thumbnail in known.values()])
    with replacing(path) as temporary:
        np.savez(temporary, **arrays)


def _load(path: Path) -> dict[str, Fact]:
    """What `_save` kept; nothing if it is missing or damaged."""
    try:
        # opened here, because np.load leaves the file open when it is damaged
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            columns = {name: file[name].tolist() for name in (*NUMBERS, *WORDS)}
            names, thumbnails = file["digest"].tolist(), file["thumbnail"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return {}
    rows = zip(*columns.values(), strict=True)
    facts = [dict(zip(columns, row, strict=True)) for row in rows]
    return dict(zip(names, zip(facts, thumbnails, strict=True), strict=True))
