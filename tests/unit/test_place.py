"""The part of an image that a model sees: frames are cut off, nothing is black, a mask follows its image."""

import cv2
import numpy as np
import pytest

from hilum.data.images import Pixels
from hilum.data.place import LEVELS, UNEVEN, WHOLE, content_of, place_of
from hilum.data.sources.phantom import draw

RADIOGRAPH = draw(np.random.default_rng([80, 1]), "bacteria").image


def framed(image: np.ndarray, shade: int, share: float = 0.1) -> np.ndarray:
    rows, cols = (round(share * side) for side in image.shape)
    return np.asarray(cv2.copyMakeBorder(image, rows, rows, cols, cols, cv2.BORDER_CONSTANT, value=shade))


def inner(image: np.ndarray) -> np.ndarray:
    """An image without an even margin of its own."""
    content = content_of(image)
    top, left, bottom, right = (round(edge) for edge in content.scaled(image.shape))
    return image[top:bottom, left:right]


@pytest.mark.parametrize("shade", [0, 90, 255])
@pytest.mark.parametrize("fit", ["squeeze", "pad", "lungs"])
def test_a_frame_changes_nothing(shade: int, fit: str) -> None:
    image = inner(RADIOGRAPH)
    pixels = Pixels(size=(64, 64), fit=fit, standardize="image")
    plain, other = (pixels.normalize(pixels.prepare(each)) for each in (image, framed(image, shade)))
    assert np.abs(plain - other).mean() < 0.02


def test_a_frame_in_a_frame_is_cut_off_too() -> None:
    image = inner(RADIOGRAPH)
    twice = framed(framed(image, 0), 255)
    top, left, bottom, right = (round(edge) for edge in content_of(twice).scaled(twice.shape))
    assert (bottom - top, right - left) == image.shape


def test_a_frame_with_a_letter_is_still_a_frame() -> None:
    image = framed(inner(RADIOGRAPH), 0, 0.15)
    before = content_of(image)
    cv2.putText(image, "R", (4, 10), cv2.FONT_HERSHEY_SIMPLEX, 0.25, 255, 1)
    assert content_of(image) == before != WHOLE


def test_without_trim_the_frame_stays() -> None:
    image = framed(inner(RADIOGRAPH), 0)
    seen = Pixels(size=(60, 60), trim=False).prepare(image)
    assert not seen[:4].any() and not seen[:, -4:].any()


@pytest.mark.parametrize("shape", [(100, 400), (400, 100), (3, 300)])
def test_pad_keeps_the_aspect_ratio_and_adds_no_black(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(100, 256, shape, np.uint8)
    seen = Pixels(size=(32, 32), fit="pad").prepare(image)
    assert seen.shape == (32, 32) and seen.min() >= 100
    top, left, bottom, right = place_of(image, (32, 32), "pad").scaled(shape)
    assert bottom - top == pytest.approx(right - left)


def test_without_lungs_the_central_part_stands_in() -> None:
    ramp = np.tile(np.linspace(0, 255, 120).astype(np.uint8)[:, None], (1, 100))
    place = Pixels(size=(32, 32), fit="lungs", trim=False).place(ramp)
    assert place.lungs is False
    assert (place.top, place.left, place.bottom, place.right) == pytest.approx((0.1, 0.1, 0.9, 0.9))


def test_a_letter_beside_the_lungs_is_not_seen() -> None:
    image = RADIOGRAPH.copy()
    pixels = Pixels(size=(64, 64), fit="lungs", standardize="image")
    place = pixels.place(image)
    cv2.putText(image, "R", (2, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 255, 1)
    top, left, _, _ = place.scaled(image.shape)
    assert top > 14 or left > 14  # the letter lies outside the box
    change = pixels.normalize(pixels.prepare(image)) - pixels.normalize(pixels.prepare(RADIOGRAPH))
    assert np.abs(change).mean() < 0.1


def by_the_median(lines: np.ndarray) -> list[bool]:
    """The definition of an even line, one line after the other."""
    return [
        bool((np.abs(line.astype(int) - int(np.median(line))) > LEVELS).mean() <= UNEVEN) for line in lines
    ]


def test_frames_of_many_lines_end_where_the_first_uneven_line_is() -> None:
    chance = np.random.default_rng(3)
    spread = chance.integers(8, 16, (60, 1))
    lines = np.clip(
        chance.integers(0, 250, (60, 1)) + chance.integers(-spread, spread + 1, (60, 101)), 0, 255
    )
    even = by_the_median(lines.astype(np.uint8))
    assert 10 < sum(even) < 50
    picture = chance.integers(0, 256, (200, 101)).astype(np.uint8)
    for count in (0, 1, 2, 17, 18, 40):
        frame = lines[np.flatnonzero(even)[np.arange(count) % sum(even)]].astype(np.uint8)
        content = content_of(np.concatenate([frame, picture, frame[: count // 2]]))
        top, _, bottom, _ = content.scaled((200 + count + count // 2, 101))
        assert (round(top), round(bottom)) == (count, count + 200)
    uneven = lines[np.flatnonzero(~np.array(even))].astype(np.uint8)
    image = np.concatenate([uneven, picture])
    assert content_of(image) == WHOLE
