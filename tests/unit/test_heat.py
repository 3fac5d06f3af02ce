"""Attribution maps over images: the colours mean what the scale says, and a map lies where the model saw it."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.artifacts.explanations import OcclusionMap
from hilum.data.images import Pixels
from hilum.data.sources import phantom
from hilum.report import heat

SQUEEZED, PADDED = Pixels(size=(96, 96), fit="squeeze", trim=False), Pixels((96, 96), "pad", trim=False)


def occlusion(mask: int, stride: int, probability: float) -> OcclusionMap:
    """Settings of an occlusion map; what is not given is not read."""
    return OcclusionMap(
        lowest=0.0,
        highest=1.0,
        mask=mask,
        stride=stride,
        fill="zero",
        precision="fp32",
        probability=probability,
        target_class="virus",
        positions=(1, 1),
    )


def test_zero_and_nothing_leave_the_image_as_it_is() -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 30), np.uint8)
    values = np.zeros((20, 30), np.float32)
    values[:, :10] = np.nan
    picture = heat.overlay(image, values, scale=1.0)
    np.testing.assert_array_equal(picture, np.repeat(image[..., None], 3, axis=2))


def test_a_map_of_zeros_alone_is_clear() -> None:
    image = np.full((8, 8), 90, np.uint8)
    assert (heat.overlay(image, np.zeros((8, 8)), scale=0.0) == 90).all()


@pytest.mark.parametrize(("sign", "colour"), [(1, heat.FOR), (-1, heat.AGAINST)])
@pytest.mark.parametrize("share", [0.1, 0.4, 1.0])
def test_colour_is_in_proportion_to_the_value(sign: int, colour: tuple[int, int, int], share: float) -> None:
    """Weak evidence stays weak: nothing is stretched to the range of the picture."""
    image = np.full((9, 9), 100, np.uint8)
    picture = heat.overlay(image, np.full((9, 9), sign * share * 3.0), scale=3.0, lines=False)
    weight = heat.STRENGTH * share
    wanted = [(1 - weight) * 100 + weight * part for part in colour]
    np.testing.assert_allclose(picture[4, 4], wanted, atol=0.51)


def test_beyond_the_scale_is_full_colour() -> None:
    image = np.full((9, 9), 100, np.uint8)
    full = heat.overlay(image, np.full((9, 9), 3.0), scale=3.0)
    np.testing.assert_array_equal(full, heat.overlay(image, np.full((9, 9), 50.0), scale=3.0))


def test_bar_shows_the_same_colours() -> None:
    colours = heat.bar_colours(3)
    assert colours[1] == f"rgb({heat.GREY},{heat.GREY},{heat.GREY})"
    image = np.full((9, 9), heat.GREY, np.uint8)
    for colour, value in ((colours[0], -1.0), (colours[2], 1.0)):
        red, green, blue = heat.overlay(image, np.full((9, 9), value), 1.0, lines=False)[4, 4]
        assert colour == f"rgb({red},{green},{blue})"


def test_ends_can_be_told_apart_without_colour_vision() -> None:
    """The ends differ in blue, which red-green blindness leaves (Brettel et al. 1997)."""
    assert heat.AGAINST[2] - heat.FOR[2] > 200


def test_lines_tell_the_sign_in_grey() -> None:
    """Full around what speaks for, dotted around what speaks against."""
    image = np.full((80, 80), 60, np.uint8)
    values = np.zeros((80, 80), np.float32)
    values[20:60, 20:60] = 1.0
    drawn = {}
    for sign in (1, -1):
        with_lines = heat.overlay(image, sign * values, 1.0).astype(int)
        drawn[sign] = (with_lines != heat.overlay(image, sign * values, 1.0, lines=False)).any(2).sum()
    assert drawn[1] > 1.3 * drawn[-1] > 0


# -- where the map lies --------------------------------------------------------------------------------------


@given(
    rows=st.integers(40, 300), cols=st.integers(40, 300), place=st.tuples(st.floats(0, 1), st.floats(0, 1))
)
def test_box_on_a_padded_image_is_where_the_model_saw_it(
    rows: int, cols: int, place: tuple[float, float]
) -> None:
    """A bright square is drawn on an image, prepared as the model sees it, found there and sent back."""
    image = np.zeros((rows, cols), np.uint8)
    side = max(12, min(rows, cols) // 4)
    top, left = int(place[0] * (rows - side)), int(place[1] * (cols - side))
    image[top : top + side, left : left + side] = 255
    for pixels in (SQUEEZED, PADDED):
        seen = pixels.prepare(image) > 127
        if pixels is SQUEEZED:  # padded, the square is seen again in the reflection
            where = np.argwhere(seen)
            (up, west), (low, east) = where.min(0).tolist(), (where.max(0) + 1).tolist()
            box = heat.box_on_image((up, west, low, east), pixels.size, pixels.place(image), image.shape)
            slack = 2 * max(rows, cols) / 96 + 2
            assert np.abs(np.array(box) - (top, left, top + side, left + side)).max() <= slack
        back = heat.onto_image(seen.astype(np.float32), pixels.place(image), image.shape) > 0.5
        both = (back & (image > 0)).sum() / (back | (image > 0)).sum()
        assert both > 0.6


def test_box_is_clipped_to_the_image() -> None:
    place = PADDED.place(np.eye(50, 100, dtype=np.uint8) * 255)
    assert heat.box_on_image((0, 0, 96, 96), PADDED.size, place, (50, 100)) == (0, 0, 50, 100)


def test_occlusion_is_drawn_at_the_masks_centre() -> None:
    """One position of the mask costs everything; the loss is drawn in its middle and nowhere else."""
    facts = occlusion(mask=11, stride=1, probability=0.9)
    values = np.full((30, 50), 0.9, np.float32)
    values[7, 20] = 0.1
    field = heat.occlusion_loss(values, facts, (40, 60))
    assert np.unravel_index(np.nanargmax(field), field.shape) == (7 + 5, 20 + 5)
    assert np.nanmax(field) == pytest.approx(0.8, abs=1e-6)
    assert np.isnan(field[:5]).all() and np.isnan(field[:, :5]).all()
    assert not np.isnan(field[5:35, 5:55]).any()
    assert heat.box_of_mask(values, facts) == (7, 20, 18, 31)


def test_strided_occlusion_keeps_its_places() -> None:
    facts = occlusion(mask=9, stride=8, probability=1.0)
    values = np.ones((5, 5), np.float32)
    values[2, 3] = 0.0
    field = heat.occlusion_loss(values, facts, (41, 41))
    row, col = np.unravel_index(np.nanargmax(field), field.shape)
    assert (row, col) == (16 + 4, 24 + 4)
    assert field[row, col] == 1.0 and field[row, col + 4] == pytest.approx(0.5)  # half way to the next
    assert heat.box_of_mask(values, facts) == (16, 24, 25, 33)


def test_only_pixelwise_maps_are_averaged_and_nothing_is_lost() -> None:
    values = np.zeros((64, 64), np.float32)
    values[32, 32] = 5.0
    np.testing.assert_array_equal(heat.drawable(values, "grad_cam"), values)
    drawn = heat.drawable(values, "saliency")
    assert drawn.sum() == pytest.approx(5.0, rel=1e-4)
    assert drawn.max() < 2.5


def test_frame_is_seen_on_any_grey() -> None:
    for grey in (0, 128, 255):
        drawn = heat.framed(np.full((30, 30), grey, np.uint8), (5, 6, 20, 25))
        edge = drawn[5, 6:25].max(1).astype(int)
        assert edge.min() == 255 and drawn[4, 6:25].max() == 0
        assert (drawn[10:15, 10:15] == grey).all()


def test_encoded_pictures_are_colour() -> None:
    picture = np.zeros((16, 16, 3), np.uint8)
    picture[..., 0] = 200
    import base64

    data = base64.b64decode(heat.colour_uri(picture).split(",", 1)[1])
    back = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert back is not None
    assert back[8, 8, 2] > 150 and back[8, 8, 0] < 60  # blue, green, red


def test_a_spot_is_found_again_where_it_lies_on_the_image() -> None:
    """A bright spot of an image, seen through contracts that move it, and its map stretched back."""
    image = np.zeros((200, 300), np.uint8)
    image[40:60, 240:260] = 255
    for pixels in (
        Pixels((100, 100), trim=False),
        Pixels((100, 100), "pad", trim=False),
        Pixels((90, 120), trim=False),
    ):
        back = heat.onto_image(pixels.prepare(image).astype(np.float32), pixels.place(image), image.shape)
        row, col = np.unravel_index(np.nanargmax(back), back.shape)
        assert abs(row - 50) < 12 and abs(col - 250) < 12, (pixels, row, col)


def test_a_map_of_the_lungs_lies_on_the_lungs() -> None:
    """What the model saw is drawn where it was; the rest of the image stays clear."""
    radiograph = phantom.draw(np.random.default_rng([79, 2]), "normal")
    pixels = Pixels((64, 64), "lungs")
    place = pixels.place(radiograph.image)
    back = heat.onto_image(np.ones((64, 64), np.float32), place, radiograph.image.shape)
    seen = ~np.isnan(back)
    assert place.lungs and seen[radiograph.lung].mean() > 0.95
    assert seen.mean() < 0.95 and not seen[0].any()
