"""Area averages from a table of sums are those of OpenCV."""

import platform

import cv2
import numpy as np
import pytest

from hilum.data import area
from hilum.data.area import LARGE, Areas, Box, cut, scaled
from hilum.data.images import Pixels, opened
from hilum.data.sources.phantom import PhantomSettings, phantom_image
from hilum.inference.intake_features import PIXELS
from hilum.inference.stream import Wanted, prepare
from hilum.serving.predictor import WEIGHTS, predictor_for

SHAPE = (700, 900)
WHOLE: Box = (0, 0, *SHAPE)
BOXES: list[tuple[Box, Box]] = [
    (WHOLE, WHOLE),
    ((13, 7, 690, 881), (13, 7, 690, 881)),
    ((-31, 40, 700, 947), WHOLE),  # beyond the top and the right
    ((20, -15, 731, 860), (27, 3, 688, 870)),  # beyond the content, inside the image
    ((0, 0, 640, 896), WHOLE),  # whole numbers of pixels for 64 x 64
]
ON_X86 = pytest.mark.skipif(
    platform.machine().lower() not in ("x86_64", "amd64"), reason="OpenCV rounds otherwise on this processor"
)


def images() -> dict[str, np.ndarray]:
    chance = np.random.default_rng(0)
    coarse = chance.integers(0, 256, (12, 15)).astype(np.uint8)
    return {
        "noise": chance.integers(0, 256, SHAPE).astype(np.uint8),
        "smooth": np.asarray(cv2.resize(coarse, SHAPE[::-1], interpolation=cv2.INTER_CUBIC)),
        "ties": (np.add.outer(np.arange(SHAPE[0]), np.arange(SHAPE[1])) % 256).astype(np.uint8),
        "white": np.full(SHAPE, 255, np.uint8),
    }


def by_opencv(image: np.ndarray, box: Box, size: tuple[int, int], content: Box) -> np.ndarray:
    return scaled(cut(image, box, content), size)


@ON_X86
@pytest.mark.parametrize("name", images())
def test_copies_are_those_of_opencv(name: str) -> None:
    image = images()[name]
    areas = Areas(image)
    for box, content in BOXES:
        for size in ((64, 64), (100, 128), (224, 300)):
            copy = areas.copy(box, size, content)
            np.testing.assert_array_equal(copy, by_opencv(image, box, size, content))


@ON_X86
def test_what_float32_rounds_decides_as_in_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every average lies in the middle between two grey levels."""
    image = np.tile(np.array([[37], [38]], np.uint8), (300, 700))
    box: Box = (0, 0, 600, 675)
    wanted = by_opencv(image, box, (60, 60), (0, 0, 600, 700))
    assert set(np.unique(wanted)) == {37, 38}
    np.testing.assert_array_equal(Areas(image).copy(box, (60, 60)), wanted)
    monkeypatch.setattr(area, "DOUBT", 0.0)  # without computing them again
    assert (Areas(image).copy(box, (60, 60)) != wanted).any()


def test_a_table_in_bands_is_one_table(monkeypatch: pytest.MonkeyPatch) -> None:
    image = images()["noise"]
    wanted = Areas(image).copy(*BOXES[3][:1], (64, 64), BOXES[3][1])
    monkeypatch.setattr(Areas, "_band", property(lambda self: 100))  # 700 rows are a whole number of bands
    np.testing.assert_array_equal(Areas(image).copy(*BOXES[3][:1], (64, 64), BOXES[3][1]), wanted)
    monkeypatch.setattr(Areas, "_band", property(lambda self: 97))
    np.testing.assert_array_equal(Areas(image).copy(*BOXES[3][:1], (64, 64), BOXES[3][1]), wanted)


@pytest.mark.parametrize(
    ("shape", "box", "size"),
    [
        (SHAPE, (0, 0, 90, 90), (8, 8)),  # a part too small to be worth a table
        (SHAPE, WHOLE, (350, 450)),  # half
        (SHAPE, WHOLE, (900, 60)),  # grows in one direction
        (SHAPE, (-1500, 0, 700, 900), (64, 64)),  # more than one reflection
        ((300, 2000), (0, 0, 300, 2000), (60, 950)),  # more columns than the table is exact for
    ],
)
def test_other_copies_are_made_by_opencv(
    shape: tuple[int, int], box: Box, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Areas, "_averaged", None)
    image = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)
    copy = Areas(image).copy(box, size)
    np.testing.assert_array_equal(copy, by_opencv(image, box, size, (0, 0, *shape)))


def test_all_copies_of_an_image_need_one_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check for contrast, the lungs, the intake's copy and the classifier's, with the frame looked for once."""
    image = phantom_image(PhantomSettings(size=(600, 800)), "normal", 0, 0).image
    assert image.size >= LARGE
    calls: list[str] = []
    counted = {"integral": cv2.integral, "resize": cv2.resize}

    def counting(name: str):
        def call(*given: object, **named: object):
            calls.append(name if given[0].size >= LARGE else "small")  # type: ignore[attr-defined]
            return counted[name](*given, **named)

        return call

    for name in counted:
        monkeypatch.setattr(cv2, name, counting(name))
    wanted = predictor_for(WEIGHTS / "binary", "cpu").wanted()
    prepared = prepare(image, wanted)
    assert prepared.error is None and len(prepared.images) == 2
    assert calls.count("integral") == 1 and "resize" not in calls


def test_an_opened_image_gives_the_copies_of_the_image() -> None:
    image = phantom_image(PhantomSettings(size=(600, 800)), "virus", 1, 0).image
    lungs = Pixels(size=(96, 128), fit="lungs", standardize="image")
    radiograph = opened(image)
    assert opened(radiograph) is radiograph and radiograph.content is radiograph.content
    prepared = prepare(image, Wanted([lungs, PIXELS])).images
    for pixels in (lungs, PIXELS, Pixels(size=(64, 64), fit="pad"), Pixels(size=(50, 60), trim=False)):
        assert pixels.place(radiograph) == pixels.place(image)
        np.testing.assert_array_equal(pixels.prepare(radiograph), pixels.prepare(image))
        np.testing.assert_array_equal(prepared.get(pixels, pixels.prepare(image)), pixels.prepare(image))
