"""The lung field: planted truth, the numbers of the weights, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hilum.data.sources.phantom import draw
from hilum.errors import DataError, ModelError
from hilum.explain import lung_training
from hilum.explain.lung_share import share_inside
from hilum.explain.lung_training import overlaps, varied
from hilum.files import digest
from hilum.lungs import segment
from hilum.lungs.card import FOLDER, card
from hilum.lungs.field import lung_box, lung_field
from hilum.lungs.net import LungNet
from hilum.lungs.outline import tidy
from hilum.lungs.segment import trained

GOLDEN_AREA = 0.2743
GOLDEN_ODDS = [-7.719, -9.638, -3.915, -6.058]


def test_lungs_of_drawn_images_that_it_was_not_trained_on() -> None:
    images = [
        draw(np.random.default_rng([77, seed]), label) for seed, label in enumerate(lung_training.LABELS)
    ]
    values = [overlaps(lung_field(image.image)[None], image.lung[None])[0] for image in images]
    assert np.mean(values) > 0.8
    whole = np.mean([image.lung.mean() for image in images])
    assert whole < 0.4  # calling everything lung would score this much


@pytest.mark.parametrize("change", ["dark", "pale", "wide"])
def test_exposure_and_shape_may_change(change: str) -> None:
    radiograph = draw(np.random.default_rng([78, 1]), "normal")
    image, lung = radiograph.image, radiograph.lung
    if change == "dark":
        image = (image // 2).astype(np.uint8)
    elif change == "pale":
        image = (90 + image // 3).astype(np.uint8)
    else:
        image, lung = np.repeat(image, 2, 1), np.repeat(lung, 2, 1)
    assert overlaps(lung_field(image)[None], lung[None])[0] > 0.75


def test_a_mirrored_image_has_the_mirrored_field() -> None:
    image = draw(np.random.default_rng([79, 2]), "virus").image
    assert overlaps(lung_field(image[:, ::-1].copy())[None], lung_field(image)[None, :, ::-1])[0] > 0.99


def test_the_weights_still_say_the_same() -> None:
    """Golden: made once with the weights that are in the package."""
    image = draw(np.random.default_rng(5), "normal").image
    found = lung_field(image)
    assert abs(float(found.mean()) - GOLDEN_AREA) < 0.002
    odds = trained()(segment.standardised(image[None]))[0, 0]
    assert torch.allclose(odds[8:64:16, 12].double(), torch.tensor(GOLDEN_ODDS).double(), atol=0.02)


def test_the_card_is_that_of_the_weights() -> None:
    facts = card()
    data = (FOLDER / "weights.safetensors").read_bytes()
    assert facts.weights_digest == digest(data)
    assert len(data) < 200_000
    assert facts.parameters == sum(weight.numel() for weight in LungNet().parameters())


def test_foreign_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("weights.safetensors", "card.json"):
        (tmp_path / name).write_bytes((FOLDER / name).read_bytes())
    monkeypatch.setattr(segment, "FOLDER", tmp_path)
    monkeypatch.setattr(segment, "card", lambda: card().model_copy(update={"weights_digest": "0"}))
    trained.cache_clear()
    with pytest.raises(ModelError, match=r"not those of its card; install hilum again"):
        trained()
    trained.cache_clear()


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4), np.float32), np.zeros((1, 4, 4), np.uint8), np.zeros((0, 4), np.uint8)],
)
def test_other_arrays_are_refused(image: np.ndarray) -> None:
    with pytest.raises(DataError, match="has no lung field; give uint8"):
        lung_field(image)


@pytest.mark.parametrize("shade", [0, 255])
def test_a_blank_image_does_not_fail(shade: int) -> None:
    assert lung_field(np.full((50, 70), shade, np.uint8)).shape == (50, 70)


def test_tidy_keeps_two_parts_and_fills_holes() -> None:
    found = np.zeros((40, 40), bool)
    found[2:20, 2:12] = found[2:20, 20:32] = found[30:35, 2:10] = True
    found[10, 5] = False
    wanted = found.copy()
    wanted[10, 5], wanted[30:35] = True, False
    assert (tidy(found) == wanted).all()
    assert not tidy(np.eye(40, dtype=bool)).any()  # single pixels


def test_share_of_a_map_that_was_planted() -> None:
    lung = np.zeros((10, 10), bool)
    lung[:, :3] = True
    inside = np.where(lung, 2.0, 0.0)
    assert share_inside(inside, lung) == (1.0, 0.3)
    assert share_inside(np.ones((10, 10)), lung) == pytest.approx((0.3, 0.3))
    share, area = share_inside(-inside, lung)
    assert np.isnan(share) and area == 0.3
    with pytest.raises(DataError, match=r"a map of \(3, 3\) does not fit a lung field of \(10, 10\)"):
        share_inside(np.ones((3, 3)), lung)


@given(st.integers(0, 1000), st.floats(0.1, 100))
def test_share_does_not_depend_on_the_scale_of_the_map(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    values, lung = rng.normal(size=(6, 5)), rng.random((6, 5)) > 0.5
    share, area = share_inside(values, lung)
    assert 0 <= share <= 1 and area == lung.mean()
    assert share_inside(scale * values, lung)[0] == pytest.approx(share)


def test_a_varied_image_comes_with_its_own_mask() -> None:
    """Dark discs on a bright radiograph: what the mask calls lung must be the dark part after every change."""
    rows, cols = np.mgrid[:96, :112]
    lung = ((rows - 48) ** 2 + (cols - 56) ** 2) < 30**2
    image = np.where(lung, 30, 220).astype(np.uint8)
    rng = np.random.default_rng(0)
    for _ in range(20):
        radiograph, mask = varied(rng, image, lung)
        assert mask.any()
        assert np.median(radiograph[mask]) <= np.median(radiograph[~mask])


def test_training_is_the_same_for_the_same_seed_and_learns() -> None:
    images, truth = lung_training.phantom_set(3, 4)
    first, second = (lung_training.train(images, truth, 1, 3) for _ in range(2))
    for one, other in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("label", lung_training.LABELS)
def test_the_box_is_that_of_the_lungs(label: str) -> None:
    radiograph = draw(np.random.default_rng([79, 2]), label)
    box = lung_box(radiograph.image)
    assert box is not None
    rows, cols = np.flatnonzero(radiograph.lung.any(1)), np.flatnonzero(radiograph.lung.any(0))
    high, wide = radiograph.lung.shape
    wanted = rows[0] / high, cols[0] / wide, (rows[-1] + 1) / high, (cols[-1] + 1) / wide
    assert np.abs(np.subtract(box, wanted)).max() < 0.06


@pytest.mark.parametrize("axis", [0, 1])
def test_a_ramp_has_no_lungs(axis: int) -> None:
    ramp = np.tile(np.linspace(0, 255, 100).astype(np.uint8), (100, 1))
    assert lung_box(np.ascontiguousarray(ramp.T if axis else ramp)) is None
