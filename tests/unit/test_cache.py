"""The image cache: decoded once, never half built, never mixed up."""

import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

from hilum.data import cache as cache_module
from hilum.data import decode
from hilum.data.cache import ImageCache, UnreadableFiles
from hilum.data.cases import Cases
from hilum.data.images import Pixels
from hilum.errors import DataError
from hilum.files import digest_of_file

PIXELS = Pixels(size=(12, 16))


@pytest.fixture(autouse=True)
def images_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HILUM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "images"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that were decoded, in any order."""
    seen: list[str] = []
    read = decode.read_grey

    def counting(path: str) -> np.ndarray:
        seen.append(str(path))
        return read(path)

    monkeypatch.setattr(decode, "read_grey", counting)
    return seen


def cases_in(folder: Path, **changes: str) -> Cases:
    files = sorted(folder.glob("*.png"))
    rows = {
        "case_id": [file.stem for file in files],
        "path": [str(file) for file in files],
        "label": "normal",
        "patient": [file.stem for file in files],
        "split": "train",
        "digest": [digest_of_file(file) for file in files],
    }
    return Cases.checked(pd.DataFrame(rows | changes), "test", folder)


def draw(folder: Path, n: int, seed: int = 0) -> Cases:
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    for number in range(n):
        shape = generator.integers(10, 40, 2)
        cv2.imwrite(
            str(folder / f"image{number:03d}.png"), generator.integers(0, 256, shape).astype(np.uint8)
        )
    return cases_in(folder)


def test_rows_are_the_prepared_images(tmp_path: Path) -> None:
    cases = draw(tmp_path / "images", 7)
    cache = ImageCache.of(cases, PIXELS)
    assert cache.images.shape == (7, 12, 16)
    assert cache.images.dtype == np.uint8
    for case, path in zip(cases.table["case_id"], cases.table["path"], strict=True):
        expected = PIXELS.prepare(cv2.imread(path, cv2.IMREAD_UNCHANGED))
        np.testing.assert_array_equal(cache.images[cache.row_of[case]], expected)
    with pytest.raises(ValueError, match="read-only"):
        cache.images[0] = 0


def test_more_images_than_one_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = draw(tmp_path / "images", 11)
    whole = np.array(ImageCache.of(cases, PIXELS).images)
    monkeypatch.setattr(cache_module, "_BLOCK", 4)
    monkeypatch.setenv("HILUM_CACHE", str(tmp_path / "other"))
    seen: list[tuple[int, int]] = []
    cache = ImageCache.of(cases, PIXELS, lambda done, total: seen.append((done, total)))
    np.testing.assert_array_equal(cache.images, whole)
    assert seen == [(4, 11), (8, 11), (11, 11)]
    assert cache.mean_sd(cases.table["case_id"]) == pytest.approx((whole.mean() / 255, whole.std() / 255))


def test_a_second_call_decodes_nothing(tmp_path: Path, decoded: list[str]) -> None:
    cases = draw(tmp_path / "images", 5)
    first = ImageCache.of(cases, PIXELS)
    assert sorted(decoded) == cases.table["path"].tolist()
    force = ImageCache.of(cases, Pixels(size=(12, 16), mean=0.1, sd=0.9, standardize="image"))
    assert len(decoded) == 5
    assert force.folder == first.folder


def test_a_moved_folder_finds_its_cache(tmp_path: Path, decoded: list[str]) -> None:
    ImageCache.of(draw(tmp_path / "images", 5), PIXELS)
    (tmp_path / "images").rename(tmp_path / "elsewhere")
    ImageCache.of(cases_in(tmp_path / "elsewhere"), PIXELS)
    assert len(decoded) == 5


@pytest.mark.parametrize("pixels", [Pixels(size=(16, 12)), Pixels(size=(12, 16), fit="pad")])
def test_another_geometry_is_another_cache(pixels: Pixels, tmp_path: Path, decoded: list[str]) -> None:
    cases = draw(tmp_path / "images", 3)
    ImageCache.of(cases, PIXELS)
    cache = ImageCache.of(cases, pixels)
    assert len(decoded) == 6
    np.testing.assert_array_equal(
        cache.images[0], pixels.prepare(cv2.imread(cases.table["path"][0], cv2.IMREAD_UNCHANGED))
    )


@pytest.mark.parametrize("other", [{"trim": False}, {"fit": "lungs"}, {"fit": "pad"}])
def test_another_part_of_the_image_is_another_cache(other: dict[str, Any], tmp_path: Path) -> None:
    cases = draw(tmp_path, 3)
    plain = ImageCache.of(cases, Pixels(size=(40, 60)))
    assert ImageCache.of(cases, Pixels(size=(40, 60), **other)).folder != plain.folder


def test_a_changed_image_makes_a_new_cache(tmp_path: Path) -> None:
    cases = draw(tmp_path / "images", 3)
    ImageCache.of(cases, PIXELS)
    cv2.imwrite(cases.table["path"][1], np.full((9, 9), 77, np.uint8))
    assert ImageCache.of(cases_in(tmp_path / "images"), PIXELS).images[1].max() == 77


def test_mean_and_sd_of_hand_typed_pixels(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name, value in (("a", 0), ("b", 255), ("c", 255)):
        cv2.imwrite(str(tmp_path / "images" / f"{name}.png"), np.full((4, 4), value, np.uint8))
    cache = ImageCache.of(cases_in(tmp_path / "images"), Pixels(size=(4, 4)))
    assert cache.mean_sd(["b", "a"]) == (0.5, 0.5)
    assert cache.mean_sd(["c"]) == (1.0, 0.0)
    assert cache.mean_sd(["a", "b", "c"]) == pytest.approx((2 / 3, np.sqrt(2) / 3))
    with pytest.raises(DataError, match="no image"):
        cache.mean_sd([])


def test_rows_come_in_the_order_asked_for(tmp_path: Path) -> None:
    cache = ImageCache.of(draw(tmp_path / "images", 4), PIXELS)
    assert cache.rows(["image003", "image000", "image003"]).tolist() == [3, 0, 3]
    with pytest.raises(DataError, match="2 cases are not in the image cache, the first is 'ghost'"):
        cache.rows(["image001", "ghost", "spectre"])


def cut_images(folder: Path) -> None:
    with (folder / "images.npy").open("r+b") as file:
        file.truncate(500)


def lengthen_images(folder: Path) -> None:
    with (folder / "images.npy").open("ab") as file:
        file.write(b"more")


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut": cut_images,
    "longer": lengthen_images,
    "images missing": lambda folder: (folder / "images.npy").unlink(),
    "images empty": lambda folder: (folder / "images.npy").write_bytes(b""),
    "index missing": lambda folder: (folder / "index.json").unlink(),
    "index damaged": lambda folder: (folder / "index.json").write_text("{"),
    "index of another kind": lambda folder: (folder / "index.json").write_text("[1]"),
    "another shape": lambda folder: np.save(folder / "images.npy", np.zeros((3, 16, 12), np.uint8)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_cache_is_built_again(damage: str, tmp_path: Path, decoded: list[str]) -> None:
    cases = draw(tmp_path / "images", 3)
    first = ImageCache.of(cases, PIXELS)
    expected = np.array(first.images)
    DAMAGES[damage](first.folder)
    np.testing.assert_array_equal(ImageCache.of(cases, PIXELS).images, expected)
    assert len(decoded) == 6
    assert list(first.folder.parent.iterdir()) == [first.folder]


def test_all_unreadable_files_are_named_in_one_sentence(tmp_path: Path, images_folder: Path) -> None:
    draw(tmp_path / "images", 8)
    for number in (0, 2, 3, 7):
        path = tmp_path / "images" / f"image{number:03d}.png"
        path.write_bytes(path.read_bytes()[:-3] if number else b"")
    cases = cases_in(tmp_path / "images")
    with pytest.raises(UnreadableFiles) as caught:
        ImageCache.of(cases, PIXELS)
    sentence = str(caught.value)
    assert sentence.startswith("4 of 8 files can't be read: ")
    assert "image000.png (empty); " in sentence
    assert "image003.png (truncated) and 1 more; remove them, or pass --skip-unreadable" in sentence
    assert list(caught.value.reasons) == ["image000", "image002", "image003", "image007"]
    assert list(images_folder.iterdir()) == []
    readable = cases.where(~cases.table["case_id"].isin(caught.value.reasons))
    assert len(ImageCache.of(readable, PIXELS).images) == 4


def test_an_interruption_leaves_nothing(tmp_path: Path, images_folder: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ImageCache.of(draw(tmp_path / "images", 3), PIXELS, interrupt)
    assert list(images_folder.iterdir()) == []


def test_a_full_disk_passes_through_and_leaves_nothing(tmp_path: Path, images_folder: Path) -> None:
    cases = draw(tmp_path / "images", 40)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))  # no file may grow beyond this
    try:
        with pytest.raises(OSError, match="File too large"):
            ImageCache.of(cases, PIXELS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(images_folder.iterdir()) == []


def test_two_processes_that_build_at_once_agree(tmp_path: Path, decoded: list[str]) -> None:
    cases = draw(tmp_path / "images", 3)
    others: list[ImageCache] = []

    def meanwhile(done: int, total: int) -> None:
        others.append(ImageCache.of(cases, PIXELS))  # another one starts later and is ready first

    cache = ImageCache.of(cases, PIXELS, meanwhile)
    assert len(decoded) == 6
    np.testing.assert_array_equal(cache.images, others[0].images)
    assert list(cache.folder.parent.iterdir()) == [cache.folder]


def test_what_killed_processes_left_is_swept_after_a_day(tmp_path: Path, images_folder: Path) -> None:
    old, new = images_folder / ".temporary-old", images_folder / ".temporary-new"
    for left in (old, new):
        left.mkdir(parents=True)
        (left / "images.npy").write_bytes(b"half")
    os.utime(old, (0, 0))
    ImageCache.of(draw(tmp_path / "images", 2), PIXELS)
    assert not old.exists()
    assert new.exists()


@pytest.mark.real
def test_real_images(real_data: Path, decoded: list[str]) -> None:
    files = sorted((real_data / "val").rglob("*.jpeg"))
    rows = {
        "case_id": [file.stem for file in files],
        "path": [str(file) for file in files],
        "label": "normal",
        "patient": [file.stem for file in files],
        "split": "val",
        "digest": [digest_of_file(file) for file in files],
    }
    cases = Cases.checked(pd.DataFrame(rows), "test", real_data)
    pixels = Pixels(size=(224, 224))
    for _ in range(2):
        cache = ImageCache.of(cases, pixels)
        mean, sd = cache.mean_sd(cases.table["case_id"])
    assert len(decoded) == 16
    assert 0.4 < mean < 0.6
    assert 0.15 < sd < 0.3
