"""Duplicates: images that are the same picture, exactly or nearly.

Exact: the decoded pixels are identical. Near: the same image encoded, resized, brightened, slightly cropped or
turned. Chest images are all similar, so plain correlation does not tell duplicates: 48,000 pairs of different
images of the Kermany set correlate by more than 0.9. What differs is fine structure (ribs, vessels), so a pair
counts if

- at most 18 % of the 1024 bits of the perceptual hashes differ, and
- after an affine registration of the 64 x 64 thumbnails (ECC; Evangelidis & Psarakis, IEEE TPAMI 30, 2008)
  their local contrast (each pixel minus its neighbourhood, divided by the local standard deviation)
  correlates by 0.9 or more.

Measured on the Kermany set at 224 x 224: copies that were re-encoded, halved in size, brightened, equalised,
written on, cropped by 2 % or turned by 2 degrees reach 0.91 to 1.00, and full-size originals beside their
squeezed versions 0.98 and more; different images of one child stay below 0.82, of two phantoms below 0.89.
Copies cropped or shifted by more than about 3 %, mirrored, or padded are not found.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np

MAX_BITS = 184
"""Bits of the perceptual hash, of 1024, in which candidates may differ."""

MIN_CORRELATION = 0.9
MAX_CHECKED = 10_000
"""At most so many candidates are registered, the closest first: about 15 seconds of one core."""

_WORDS = 1024 // 64

CRITERION = (
    f"at most {MAX_BITS} of 1024 bits of the perceptual hash differ, and the local contrast of the "
    f"registered thumbnails correlates by {MIN_CORRELATION} or more"
)


@dataclass(frozen=True)
class NearPairs:
    """`pairs`: int "pairs 2", rows of the images; `correlation`: float "pairs", 0.9 to 1, highest first;
    `candidates` and `checked`: how many pairs the hash named, and how many of them were registered."""

    pairs: np.ndarray
    correlation: np.ndarray
    candidates: int
    checked: int


def near_pairs(hashes: list[str], thumbnails: np.ndarray) -> NearPairs:
    """Pairs that are nearly the same picture. `hashes` as from `perceptual_hash`; `thumbnails`: uint8
    "images 64 64". Even pictures (black, white) are left out: they have no structure to compare.

    >>> from hilum.data.facts import perceptual_hash
    >>> image = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    >>> image = cv2.GaussianBlur(image, (0, 0), 2)
    >>> darker = (image * 0.9).astype(np.uint8)
    >>> near_pairs([perceptual_hash(image), perceptual_hash(darker)], np.stack([image, darker])).pairs.tolist()
    [[0, 1]]
    """
    textured = np.flatnonzero(thumbnails.std(axis=(1, 2)) >= 2.0)
    bits = np.array([np.frombuffer(bytes.fromhex(hashes[row]), np.uint64) for row in textured])
    near, total = _close_hashes(bits.reshape(len(textured), _WORDS))
    near = textured[near]
    with ThreadPoolExecutor() as pool:
        correlations = pool.map(lambda pair: registered_correlation(*thumbnails[pair]), near)
        correlation = np.array(list(correlations), float)
    order = np.argsort(-correlation, kind="stable")
    order = order[correlation[order] >= MIN_CORRELATION]
    return NearPairs(near[order], correlation[order], total, len(near))


def registered_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Correlation of local contrast after the second thumbnail is laid over the first; -1..1.

    -1 also where no registration is found, or one that scales, shears or turns by more than 15 %.

    >>> image = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    >>> round(registered_correlation(image, image), 3)
    1.0
    """
    fixed, moving = local_contrast(first), local_contrast(second)
    warp = np.eye(2, 3, dtype=np.float32)
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 50, 1e-4)
    everywhere = np.ones_like(first)
    try:
        _, warp = cv2.findTransformECC(fixed, moving, warp, cv2.MOTION_AFFINE, stop, everywhere, 5)
    except cv2.error:  # it did not converge: the pictures have nothing in common
        return -1.0
    if np.abs(warp[:, :2] - np.eye(2)).max() > 0.15:
        return -1.0
    size = (first.shape[1], first.shape[0])
    laid = cv2.warpAffine(moving, warp, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    inside = cv2.warpAffine(everywhere, warp, size, flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP) > 0
    if inside.mean() < 0.5:
        return -1.0
    a, b = fixed[inside] - fixed[inside].mean(), laid[inside] - laid[inside].mean()
    return float(a @ b / max(float(np.sqrt((a @ a) * (b @ b))), 1e-9))


def local_contrast(thumbnail: np.ndarray) -> np.ndarray:
    """float32 of the same shape: minus the neighbourhood (Gaussian, 2 pixels), divided by the local standard
    deviation (4 pixels), cut at 2 so that written letters do not outweigh the image.

    >>> float(np.abs(local_contrast(np.full((64, 64), 90, np.uint8))).max())
    0.0
    """
    values = thumbnail.astype(np.float32)
    detail = values - cv2.GaussianBlur(values, (0, 0), 2)
    spread = np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), 4))
    return np.clip(detail / (spread + 1.0), -2.0, 2.0).astype(np.float32)


def _close_hashes(bits: np.ndarray) -> tuple[np.ndarray, int]:
    """Row pairs whose hashes (uint64 "images words") differ in at most MAX_BITS bits, the closest MAX_CHECKED
    of them, and how many there were."""
    block = 256
    kept, total = np.empty((0, 3), np.int64), 0
    for start in range(0, len(bits), block):
        mine, others = bits[start : start + block], bits[start:]
        distance = np.zeros((len(mine), len(others)), np.uint16)
        for word in range(bits.shape[1]):
            distance += np.bitwise_count(mine[:, None, word] ^ others[None, :, word])
        a, b = np.nonzero(distance <= MAX_BITS)
        a, b = a[b > a], b[b > a]
        total += len(a)
        kept = np.concatenate(
            [kept, np.stack([distance[a, b], a + start, b + start], axis=1, dtype=np.int64)]
        )
        if len(kept) > MAX_CHECKED:
            kept = kept[np.argsort(kept[:, 0], kind="stable")[:MAX_CHECKED]]
    return kept[:, 1:], total
