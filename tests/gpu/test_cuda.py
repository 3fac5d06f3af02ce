"""The same answers on a CUDA device as on the CPU, in training, prediction, explanations and detectors."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hilum.anomaly import detector as detectors
from hilum.anomaly.healthy import HealthyImages
from hilum.data.augment import Augment
from hilum.data.cache import ImageCache
from hilum.data.images import Pixels
from hilum.data.sources.phantom import PhantomSettings, phantom_image
from hilum.explain.attribution import explain, methods
from hilum.explain.filters.ablation import ablate
from hilum.explain.filters.maximal import maximal_activations
from hilum.explain.filters.probes import layer_means
from hilum.explain.filters.synthesis import synthesize, synthesize_clean
from hilum.explain.occlusion.occlusion_map import occlusion_map
from hilum.inference.forward import logits_of, vectors_of
from hilum.inference.runtimes.torch import choose_device
from hilum.models import ChestModel, build
from hilum.run import Run
from hilum.training.loader import ImageSet
from hilum.training.selfsupervised import pretrain, train_briefly

from ..conftest import SMALL, Answer

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(),
    reason="no CUDA device is at hand; what is the same on both was not compared",
)

SIZE = (64, 72)
PIXELS = Pixels(size=SIZE, mean=0.45, sd=0.2)
QUICK: dict[str, dict[str, Any]] = {
    "occlusion": {"mask": 20, "stride": 8},
    "rise": {"masks": 24, "batch": 7},
    "smooth_grad": {"samples": 5, "batch": 2},
    "integrated_gradients": {"steps": 6, "batch": 4},
}
"""Options that make a method take milliseconds."""


@pytest.fixture(scope="module")
def device() -> torch.device:
    """The CUDA device, with the fp32 of `choose_device`."""
    return torch.device(choose_device("auto"))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Phantoms, prepared: uint8 "images rows cols", healthy and abnormal in turn."""
    settings = PhantomSettings(patients=20, size=(96, 108))
    labels = ["normal", "bacteria"] * 4
    return np.stack(
        [PIXELS.prepare(phantom_image(settings, label, n, 0).image) for n, label in enumerate(labels)]
    )


@pytest.fixture
def model() -> ChestModel:
    """A VGG-like network with random weights, on the CPU."""
    torch.manual_seed(0)
    options = {"blocks": ((6, 6), (8, 8)), "dense": (8,)}
    return build("vgg", ("normal", "pneumonia"), PIXELS, options).eval()


def tensor(images: np.ndarray) -> Tensor:
    return torch.from_numpy(PIXELS.normalize(images))[:, None]


# -- training and prediction ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_study_on_the_device_is_whole(
    device: torch.device, phantom_data: Path, hilum: Callable[..., Answer], tmp_path: Path
) -> None:
    """Every stage, with finite losses, the weights' names of the CPU, and nothing that a device stopped."""
    answer = hilum("study", phantom_data, "--out", tmp_path / "run", *SMALL)
    assert answer.code == 0, answer.err
    run = Run(tmp_path / "run")
    records = run.stage_records()
    assert {name: record.reason for name, record in records.items() if record.status != "finished"} == {}
    for name in run.tasks:
        folder = run.task(name)
        assert np.isfinite(folder.history()[["train_loss", "val_loss"]].to_numpy()).all()
        card = folder.card()
        assert card.training is not None and card.training.device == "cuda"
        fresh = build(card.architecture.name, card.classes, Pixels.of(card.pixels), card.architecture.options)
        assert list(folder.load_model().state_dict()) == list(fresh.state_dict())
        assert folder.attributions.figures().failures == []


@pytest.mark.parametrize("name", ["binary", "multiclass", "anomaly"])
def test_the_packaged_models_predict_the_same(name: str, device: torch.device) -> None:
    from hilum.serving.predictor import predictor_for

    settings = PhantomSettings(patients=20, size=(256, 288))
    greys = [phantom_image(settings, label, 1, 0).image for label in ("normal", "bacteria", "virus")]
    here, there = (list(predictor_for(None, where).stream(greys)) for where in ("cpu", str(device)))
    values = {
        "binary": lambda answer: [answer.abnormal.probability],
        "multiclass": lambda answer: list(answer.probabilities.values()),
        "anomaly": lambda answer: [answer.ood.p_value],
    }[name]
    assert [values(answer) for answer in there] == [
        pytest.approx(values(answer), abs=1e-3) for answer in here
    ]


def test_logits_and_embeddings_are_the_same(
    device: torch.device, model: ChestModel, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits, vectors = vectors_of(model, images, ["pool", "embedding"])
    monkeypatch.setattr("hilum.inference.runtimes.torch.choose_device", lambda device="auto": "cpu")
    wanted, on_cpu = vectors_of(model, images, ["pool", "embedding"])
    assert logits == pytest.approx(wanted, abs=1e-4)
    for layer, values in on_cpu.items():
        assert vectors[layer] == pytest.approx(values, abs=1e-4)
    assert next(model.parameters()).is_cpu  # it is put back


def test_small_networks_learn_there(device: torch.device, model: ChestModel, images: np.ndarray) -> None:
    cache = ImageCache(images, {str(row): row for row in range(len(images))}, Path("cache"))
    targets = np.arange(len(images)) % 2
    mine = ImageSet(cache, [str(row) for row in range(len(images))], targets, PIXELS)
    model.to(device)
    trained = pretrain(model, mine, 2, 4, 1e-3, 0, lambda done, total: None)
    assert np.isfinite([trained.loss, trained.spread]).all()
    train_briefly(model, mine, Augment(), 4, 4, 1e-3, 0)
    assert {parameter.device.type for parameter in model.parameters()} == {device.type}
    assert np.isfinite(logits_of(model, images)).all()


# -- explanations --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", ["vgg", "resnet"])
def test_the_exact_occlusion_map_is_the_plain_one(
    network: str, device: torch.device, images: np.ndarray
) -> None:
    torch.manual_seed(0)
    small = {"vgg": {"blocks": ((6, 6), (8, 8)), "dense": (8,)}, "resnet": {"width": 8, "stages": [1, 1]}}
    net = build(network, ("normal", "pneumonia"), PIXELS, small[network]).eval()
    x = tensor(images[1:2])
    wanted = occlusion_map(net, x, 1, 20, 4, engine="plain")
    plain, exact = (
        occlusion_map(net.to(device), x.to(device), 1, 20, 4, engine=engine) for engine in ("plain", "auto")
    )
    assert exact.device.type == device.type
    torch.testing.assert_close(exact, plain, rtol=0, atol=1e-4)
    torch.testing.assert_close(exact.cpu(), wanted, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", methods())
def test_every_method_gives_the_map_of_the_cpu(
    name: str, device: torch.device, model: ChestModel, images: np.ndarray
) -> None:
    x = tensor(images[:2])
    wanted = explain(name, model, x, 1, QUICK.get(name))
    got = explain(name, model.to(device), x.to(device), 1, QUICK.get(name)).cpu()
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-3 * float(wanted.abs().max()))


@pytest.mark.parametrize("way", [synthesize, synthesize_clean])
def test_synthesis_climbs(
    way: Callable[..., Any], device: torch.device, model: ChestModel, images: np.ndarray
) -> None:
    made = way(model.to(device), "features.0", [0, 1, 2], tensor(images[:1]).to(device), steps=4)
    assert made.images.device.type == device.type and made.images.isfinite().all()
    assert (made.activation[:, -1] >= made.activation[:, 0]).any()


def test_filters_are_measured_the_same(device: torch.device, model: ChestModel, images: np.ndarray) -> None:
    x = tensor(images)
    layer = "features.0"
    answers = []
    for where in (torch.device("cpu"), device):
        net = model.to(where)
        means = layer_means(net, [x.to(where)], [layer])
        maxima = maximal_activations(net, [x.to(where)], layer)
        dropped = ablate(net, x.to(where), np.arange(len(x)) % 2, layer)
        answers.append((means[layer], maxima.activation, dropped.costs()))
    for here, there in zip(*answers, strict=True):
        assert there == pytest.approx(here, abs=1e-4, nan_ok=True)


# -- detectors -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", detectors.names())
def test_a_detector_is_fitted_and_scores_there(name: str, device: torch.device, images: np.ndarray) -> None:
    options = dict(import_module(f"hilum.anomaly.detectors.{name}").SMALLEST)
    healthy = HealthyImages.of_images(images[::2], ["normal"] * len(images[::2]), PIXELS)
    detector = detectors.build(name, PIXELS, options).to(device)
    detector.fit(healthy, seed=0)
    assert {tensor.device.type for tensor in detector.state_dict().values()} == {device.type}
    there, here = detector.score(tensor(images)), detector.to("cpu").score(tensor(images))
    assert there.score.is_cpu and there.map.is_cpu
    torch.testing.assert_close(there.score, here.score, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(there.map, here.map, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("features", ["contrastive", "pretext", "random", "pixels"])
def test_features_are_learnt_there(features: str, device: torch.device, images: np.ndarray) -> None:
    options = {"contrastive": {"width": 4, "steps": 2, "batch_size": 4}, "pretext": {"width": 4, "steps": 2}}
    chosen = {"features": features, "feature_options": options.get(features, {}), "memory": 10}
    healthy = HealthyImages.of_images(images[::2], ["normal"] * len(images[::2]), PIXELS)
    detector = detectors.build("patch_memory", PIXELS, chosen).to(device)
    detector.fit(healthy, seed=0)
    assert detector.score(tensor(images)).score.isfinite().all()
