"""Grey levels of 16-bit images: odd pixels, letters and padding do not take them; plain images stay as they were."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from hilum.data.decode import read_grey
from hilum.data.images import Pixels, to_uint8
from hilum.embedding.query import ImageNeighbors, contact_sheet
from hilum.report.pictures import data_uri, picture_of

CHANCE = np.random.default_rng(0)
RADIOGRAPH = cv2.resize(CHANCE.random((20, 24)).astype(np.float32), (240, 200), interpolation=cv2.INTER_CUBIC)
SHARE = (RADIOGRAPH - RADIOGRAPH.min()) / np.ptp(RADIOGRAPH)


def deep(bits: int) -> np.ndarray:
    return np.rint(SHARE * (2**bits - 1)).astype(np.uint16)


def from_its_extremes(image: np.ndarray) -> np.ndarray:
    """How an image without odd pixels is stretched, written once more."""
    low, high = image.min().astype(float), image.max().astype(float)
    return np.rint((image - low) / (high - low) * 255).astype(int)


def hot_pixel(image: np.ndarray) -> None:
    image[5, 5] = 65535


def hot_pixels(image: np.ndarray) -> None:
    image[CHANCE.integers(0, 200, 9), CHANCE.integers(0, 240, 9)] = CHANCE.integers(40000, 65536, 9)


def burned_in_letter(image: np.ndarray) -> None:
    letter = cv2.putText(np.zeros(image.shape, np.uint8), "R", (8, 40), cv2.FONT_HERSHEY_SIMPLEX, 1.5, 255, 5)
    image[letter > 0] = 65535


def padding(image: np.ndarray) -> None:
    image += np.uint16(30000)
    image[:60] = 0


def padding_and_letter(image: np.ndarray) -> None:
    padding(image)
    image[100:130, 5:20] = 65535


def mostly_padding(image: np.ndarray) -> None:
    image += np.uint16(30000)
    image[:, :160] = 0


ODD = (hot_pixel, hot_pixels, burned_in_letter, padding, padding_and_letter, mostly_padding)


@pytest.mark.parametrize("spoil", ODD, ids=lambda function: function.__name__)
@pytest.mark.parametrize("bits", [8, 10, 12, 14])
def test_odd_pixels_do_not_take_the_grey_levels(bits: int, spoil: Callable[[np.ndarray], None]) -> None:
    plain = deep(bits)
    spoiled = plain.copy()
    spoil(spoiled)
    shift = 30000 if "padding" in spoil.__name__ else 0
    same = spoiled.astype(int) - shift == plain
    assert same.mean() > 0.3
    apart = np.abs(to_uint8(spoiled)[same] - from_its_extremes(plain[same]))
    assert apart.max() <= 1


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 15, 16])
def test_plain_images_keep_their_whole_range(bits: int) -> None:
    assert np.abs(to_uint8(deep(bits)).astype(int) - from_its_extremes(deep(bits))).max() <= 1


def test_images_of_a_few_greys_keep_their_whole_range() -> None:
    mask = np.zeros((100, 100), np.uint16)
    mask[40:42] = 900
    mask[60, 60] = 65535
    assert sorted(set(to_uint8(mask).ravel().tolist())) == [0, 4, 255]
    assert to_uint8(np.full((9, 9), 700, np.uint16)).max() == 0


def test_8_bit_is_never_touched() -> None:
    image = CHANCE.integers(90, 100, (50, 50)).astype(np.uint8)
    image[3, 3] = 255
    np.testing.assert_array_equal(to_uint8(image), image)


def test_16_bit_with_a_sign_gives_the_same_greys() -> None:
    signed = (deep(12).astype(int) - 2048).astype(np.int16)
    np.testing.assert_array_equal(to_uint8(signed), to_uint8(deep(12)))


def test_a_float_tiff_of_12_bits_in_16_is_read_as_its_png(tmp_path: Path) -> None:
    hot_pixel(spoiled := deep(12))
    cv2.imwrite(str(tmp_path / "a.png"), spoiled)
    cv2.imwrite(str(tmp_path / "a.tif"), (spoiled / 65535).astype(np.float32))
    float_tiff, png = read_grey(tmp_path / "a.tif"), read_grey(tmp_path / "a.png")
    assert float_tiff.dtype == np.uint8
    np.testing.assert_array_equal(float_tiff, to_uint8(png))
    assert np.abs(to_uint8(png).astype(int) - from_its_extremes(deep(12)))[6:].max() <= 1


def shown(uri: str) -> np.ndarray:
    import base64

    data = np.frombuffer(base64.b64decode(uri.split(",")[1]), np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)


def test_pictures_of_the_report_show_what_the_network_sees(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    hot_pixel(spoiled := deep(12))
    cv2.imwrite(str(tmp_path / "a.png"), spoiled)
    expected = Pixels(size=spoiled.shape, trim=False).prepare(spoiled).astype(int)
    for uri in (picture_of(tmp_path / "a.png", 240).source, data_uri(spoiled)):
        assert np.abs(shown(uri) - expected).mean() < 4  # WebP loses a little
    assert capfd.readouterr().err == ""


def test_the_contact_sheet_shows_what_the_network_sees(tmp_path: Path) -> None:
    import pandas as pd

    hot_pixel(spoiled := deep(12))
    none = pd.DataFrame(columns=["rank", "case_id", "label", "distance", "path"])
    neighbors = ImageNeighbors(Path("a.png"), spoiled, {"virus": 0.9}, none, 0.1)
    sheet = read_grey(contact_sheet(neighbors, tmp_path / "sheet.png"))
    assert np.median(sheet[30:200, 30:200]) == pytest.approx(np.median(from_its_extremes(deep(12))), abs=25)
