"""Counterfactual images: the donor's look arrives, the patient stays, chance hangs on the case alone."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from hilum.data.counterfactual.donors import donors
from hilum.data.counterfactual.geometry import body_columns, content_box, gradient_ratio, placement, whole
from hilum.data.counterfactual.image import PARTS, Look, counterfactual, working_copy
from hilum.data.counterfactual.markers import marker_mask
from hilum.data.counterfactual.sets import counterfactual_images, paths_of, were_squeezed
from hilum.data.counterfactual.texture import specified_texture
from hilum.data.counterfactual.tone import tone_curve
from hilum.data.decode import read_grey
from hilum.data.images import Pixels
from hilum.data.phantom.generate import draw
from hilum.data.phantom.settings import PhantomSettings
from hilum.data.sources import open_source
from hilum.errors import DataError

SETTINGS = PhantomSettings(size=(224, 256))


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    """A healthy image, and one of another patient with pneumonia."""
    images = (
        draw(np.random.default_rng(seed), label, settings=SETTINGS)
        for seed, label in ((1, "normal"), (2, "virus"))
    )
    first, second = images
    return first.image, second.image


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


def test_without_parts_nothing_changes(pair: tuple[np.ndarray, np.ndarray]) -> None:
    image, donor = pair
    assert (counterfactual(image, donor, ()) == image).all()


@pytest.mark.parametrize("part", PARTS)
def test_an_image_in_its_own_look_stays_what_it_is(pair: tuple[np.ndarray, np.ndarray], part: str) -> None:
    image, _ = pair
    changed = counterfactual(image, image, (part,))
    assert changed.shape == image.shape
    assert np.abs(changed.astype(int) - image).mean() < 2


@pytest.mark.parametrize("label", ["bacteria", "virus"])
def test_the_lesion_stays(label: str, pair: tuple[np.ndarray, np.ndarray]) -> None:
    """The same patient with and without disease, in the look of one healthy donor: the difference is still the
    lesion. Geometry stays, so that pixels can be compared."""
    patients = [draw(np.random.default_rng(7), name, settings=SETTINGS) for name in ("normal", label)]
    looks = [counterfactual(each.image, pair[0], ("tone", "sharpness", "markers")) for each in patients]
    before = patients[1].image.astype(float) - patients[0].image
    after = looks[1].astype(float) - looks[0]
    lesion = patients[1].lesion
    assert after[lesion].mean() > 0.4 * before[lesion].mean() > 0
    assert correlation(before[patients[1].lung], after[patients[1].lung]) > 0.7


@pytest.mark.parametrize("seed", range(4))
def test_no_lung_is_cut_away(seed: int) -> None:
    """The lungs of a phantom keep at least 97 % of their area under each donor's aspect and crop."""
    phantom = draw(np.random.default_rng(seed), "normal", settings=SETTINGS)
    own = Look.of(phantom.image)
    for shape in ((224, 180), (224, 300), (224, 400)):
        place = placement(own.content, own.body, shape, whole(shape), shape[1] / shape[0] / (256 / 224), 1.15)
        lung = 255 * phantom.lung.astype(np.uint8)
        placed = cv2.warpAffine(lung, place.matrix, shape[::-1]) > 127
        area = abs(np.linalg.det(place.matrix[:, :2])) * phantom.lung.sum()
        assert placed.sum() > 0.97 * area


def test_the_tone_becomes_the_donor_s() -> None:
    image = np.clip(np.random.default_rng(0).normal(100, 30, (200, 200)), 0, 255).astype(np.uint8)
    donor = np.clip(np.random.default_rng(1).normal(170, 15, (200, 200)), 0, 255).astype(np.uint8)
    changed = tone_curve(image, donor, image, donor)[image]
    for share in (0.1, 0.5, 0.9):
        assert np.quantile(changed, share) == pytest.approx(np.quantile(donor, share), abs=3)


def test_the_tone_does_not_depend_on_the_air_beside_the_body() -> None:
    """More black background in the image does not turn its lungs black."""
    trunk = np.clip(np.random.default_rng(0).normal(120, 25, (200, 100)), 1, 255).astype(np.uint8)
    narrow, wide = np.pad(trunk, ((0, 0), (5, 5))), np.pad(trunk, ((0, 0), (60, 60)))
    curves = [tone_curve(image, narrow, trunk, trunk) for image in (narrow, wide)]
    assert np.abs(curves[0].astype(int) - curves[1])[60:180].max() <= 2


def test_blur_and_noise_are_taken_over() -> None:
    sharp = draw(np.random.default_rng(3), "normal", settings=SETTINGS).image
    soft = np.asarray(cv2.GaussianBlur(sharp, (0, 0), 1.5))
    fine = {
        name: float(np.abs(cv2.Laplacian(image.astype(np.float32), cv2.CV_32F)).mean())
        for name, image in {"sharp": sharp, "soft": soft, "changed": specified_texture(sharp, soft)}.items()
    }
    assert fine["changed"] - fine["soft"] < 0.35 * (fine["sharp"] - fine["soft"])


def test_the_aspect_is_the_donor_s_shape() -> None:
    image, donor = np.full((200, 240), 90, np.uint8), np.full((200, 320), 90, np.uint8)
    rows, cols = counterfactual(image, donor, ("aspect",)).shape
    assert cols / rows == pytest.approx(1.6, rel=0.01)
    assert counterfactual(image, donor, ("tone", "crop")).shape == (200, 240)


def test_the_aspect_of_squeezed_images_is_seen_in_their_texture() -> None:
    """One image squeezed from two aspects: the counterfactual has the texture of the other."""
    source = draw(np.random.default_rng(4), "normal", settings=PhantomSettings(size=(256, 320))).image
    narrow = np.asarray(cv2.resize(source[:, 32:-32], (128, 128), interpolation=cv2.INTER_AREA))
    wide = np.asarray(cv2.resize(source, (128, 128), interpolation=cv2.INTER_AREA))
    changed = counterfactual(narrow, wide, ("aspect",), squeezed=True)
    assert changed.shape == narrow.shape
    before, after, wanted = (gradient_ratio(image) for image in (narrow, changed, wide))
    assert abs(after - wanted) < 0.6 * abs(before - wanted)


def test_markers_move_and_ribs_do_not() -> None:
    bare = draw(np.random.default_rng(5), "normal", settings=SETTINGS)
    image = bare.image.copy()
    image[bare.marker] = 40
    donor = image.copy()
    cv2.putText(donor, "KV 59", (6, 30), cv2.FONT_HERSHEY_SIMPLEX, 0.7, 255, 2)
    mask = marker_mask(donor)
    assert mask[8:34, 4:80].sum() > 100
    changed = counterfactual(image, donor, ("markers",))
    letters = donor > 250
    assert (changed[letters] > 200).mean() > 0.8
    gone = counterfactual(donor, image, ("markers",))
    assert (gone[8:34, 4:80] > 200).sum() < 0.1 * letters.sum()
    assert (gone[80:] == donor[80:]).mean() > 0.95


def test_a_frame_is_taken_over_and_taken_away() -> None:
    image = np.clip(draw(np.random.default_rng(6), "normal", settings=SETTINGS).image, 30, 255)
    image[:20] = np.linspace(30, 90, 256)
    framed = np.zeros_like(image)
    framed[12:-12, 14:-14] = cv2.resize(image, (228, 200))
    box = content_box(framed)
    assert (box.top, box.left) == (12, 14)
    changed = counterfactual(image, framed, ("frame",))
    assert changed[:11].max() < 15
    away = counterfactual(framed, image, ("frame",))
    assert np.median(away[:10, 100:150]) > 25


def test_body_columns_without_air_are_the_edges() -> None:
    image = np.full((100, 120), 150, np.uint8)
    assert body_columns(image, whole(image.shape)) == (0, 120)


def test_every_type_of_image_is_understood() -> None:
    wide = np.random.default_rng(0).integers(0, 65535, (60, 900)).astype(np.uint16)
    assert working_copy(wide).shape == (30, 448)
    assert counterfactual(wide, np.zeros((50, 50)), PARTS).dtype == np.uint8
    with pytest.raises(ValueError, match="colour"):
        counterfactual(wide, wide, ("colour",))


# -- donors and sets -----------------------------------------------------------------------------------------


def table(**columns: list[str]) -> pd.DataFrame:
    return pd.DataFrame(columns)


def test_donors_have_another_label_and_patient_and_labels_are_balanced() -> None:
    pool = table(
        case_id=[f"c{n}" for n in range(110)],
        patient=[f"p{n % 55}" for n in range(110)],
        label=["normal"] * 10 + ["bacteria"] * 90 + ["virus"] * 10,
    )
    images = table(
        case_id=[f"x{n}" for n in range(400)],
        patient=[f"p{n % 60}" for n in range(400)],
        label=["normal"] * 300 + ["virus"] * 100,
    )
    donor_of = donors(images, pool)
    facts = pool.set_index("case_id").loc[donor_of]
    own = images.set_index("case_id").loc[donor_of.index]
    assert not (facts["patient"].to_numpy() == own["patient"].to_numpy()).any()
    assert (facts["label"].to_numpy()[300:] == "normal").all()
    assert 0.4 < (facts["label"].to_numpy()[:300] == "virus").mean() < 0.6


def test_donors_hang_on_seed_and_case_alone() -> None:
    pool = table(
        case_id=[f"c{n}" for n in range(50)], patient=[f"p{n}" for n in range(50)], label=["virus"] * 50
    )
    images = table(case_id=list("abcdef"), patient=list("abcdef"), label=["normal"] * 6)
    all_of_them = donors(images, pool)
    assert donors(images.iloc[[3, 1]], pool.sample(frac=1, random_state=0)).to_dict() == {
        case: all_of_them[case] for case in "db"
    }
    assert (donors(images, pool, seed=1) != all_of_them).any()


def test_a_pool_without_another_label_is_a_sentence() -> None:
    images = table(case_id=["a"], patient=["ann"], label=["normal"])
    with pytest.raises(DataError, match="'a'; the training part needs images of two labels"):
        donors(images, images)


def test_sets_hold_every_case_in_the_size_of_the_model(phantom_data: Path) -> None:
    cases = open_source(phantom_data)
    first = cases.table.groupby("label").head(2)
    donor_of = donors(first, cases.table)
    pixels = Pixels(size=(32, 40))
    made = counterfactual_images(paths_of(cases, donor_of), {"plain": (), "all": PARTS}, pixels)
    assert made["all"].shape == (len(first), 32, 40)
    plain = pixels.prepare(read_grey(first["path"].iloc[-1]))
    assert (made["plain"][-1] == plain).all()
    assert (made["all"][-1] != plain).any()
    assert not were_squeezed(cases)  # 96 x 112: of one size, but not square
