"""`hilum adapt`: statistics and shares of the classes from images without labels."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from hilum.artifacts.card import Calibration, ModelCard
from hilum.data.images import Pixels
from hilum.errors import DataError, ModelError
from hilum.inference.calibrate import Scaling, softmax
from hilum.models import ChestModel, build, check_golden, load_model, logits_of
from hilum.run import Run
from hilum.serving import adapt as module
from hilum.serving.adapt import adapt_prior, adapt_statistics, estimated_prior

OPTIONS = {
    "vgg": {"blocks": [[4], [6]], "dense": [4]},
    "resnet": {"width": 4, "stages": [1, 1], "embedding": 6},
}


def network(name: str, classes: tuple[str, ...] = ("normal", "pneumonia")) -> ChestModel:
    torch.manual_seed(0)
    return build(name, classes, Pixels(size=(32, 40)), OPTIONS[name]).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(20, 120, (70, 32, 40)).astype(np.uint8)


def statistics(model: ChestModel) -> torch.Tensor:
    layers = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert layers
    return torch.cat([torch.cat([layer.running_mean, layer.running_var]) for layer in layers])


@pytest.mark.parametrize("name", OPTIONS)
def test_without_training_every_layer_is_standardised_on_the_new_images(
    name: str, images: np.ndarray
) -> None:
    model = network(name)
    n = adapt_statistics(model, images, source_images=0)
    seen: list[torch.Tensor] = []
    layers = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    for layer in layers:  # weight 1, bias 0
        layer.register_forward_hook(lambda _, __, output: seen.append(output.clone()))
    logits_of(model, images)
    assert n == len(layers) == len(seen)
    for output in seen:
        assert output.mean((0, 2, 3)).abs().max() < 1e-3
        assert (output.var((0, 2, 3)) - 1).abs().max() < 0.02


@pytest.mark.parametrize("name", OPTIONS)
def test_neither_order_nor_batches_matter(
    name: str, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, shuffled = network(name), network(name)
    adapt_statistics(whole, images)
    monkeypatch.setattr(module, "BATCH", 9)
    adapt_statistics(shuffled, images[::-1].copy())
    assert torch.allclose(statistics(whole), statistics(shuffled), rtol=1e-4, atol=1e-5)


def test_training_counts_as_so_many_images(images: np.ndarray) -> None:
    before = network("vgg")
    fully, half, hardly = network("vgg"), network("vgg"), network("vgg")
    adapt_statistics(fully, images, 0)
    adapt_statistics(half, images, len(images))
    adapt_statistics(hardly, images, 10**9)
    first = slice(0, 4)  # means of the first layer, whose input does not depend on other layers
    middle = (statistics(before)[first] + statistics(fully)[first]) / 2
    assert torch.allclose(statistics(half)[first], middle, atol=1e-6)
    assert torch.allclose(statistics(hardly), statistics(before), atol=1e-5)


def test_a_network_without_batch_normalisation_is_refused(images: np.ndarray) -> None:
    model = build("vit", ("normal", "pneumonia"), Pixels(size=(32, 40)), {"patch": 8, "dim": 8, "heads": 2})
    with pytest.raises(ModelError, match="has no batch normalisation to adapt; recalibrate"):
        adapt_statistics(model.eval(), images)


def test_em_finds_the_shares_of_calibrated_probabilities() -> None:
    chance = np.random.default_rng(0)
    truth, before = np.array([0.7, 0.2, 0.1]), np.array([0.2, 0.4, 0.4])
    labels = chance.choice(3, 20_000, p=truth)
    features = chance.normal(size=(len(labels), 3)) + 1.5 * np.eye(3)[labels]
    probabilities = softmax(1.5 * features + np.log(before))  # Bayes' rule for unit normals under `before`
    assert np.abs(probabilities.mean(0) - truth).max() > 0.08
    assert estimated_prior(probabilities, before) == pytest.approx(truth, abs=0.015)
    assert estimated_prior(probabilities, probabilities.mean(0)) != pytest.approx(truth, abs=0.015)


@pytest.mark.parametrize(
    ("name", "classes"),
    [("vgg", ("normal", "pneumonia")), ("resnet", ("normal", "pneumonia")), ("vgg", ("normal", "a", "b"))],
)
def test_the_bias_moves_the_calibrated_odds_by_the_ratio_of_shares(
    name: str, classes: tuple[str, ...], images: np.ndarray
) -> None:
    model = network(name, classes)
    n = len(classes)
    scaling = Scaling("vector", (1.0, 2.0, 1.5)[:n], (0.0, 0.3, -0.2)[:n])
    entry = Calibration.model_construct(
        method="vector", scale=[*scaling.scale], shift=[*scaling.shift], weights_digest="abc"
    )
    model.card = ModelCard.model_construct(calibration=entry, weights_digest="abc")
    before = dict(zip(classes, np.full(n, 1 / n).tolist(), strict=True))
    old = scaling(logits_of(model, images))
    estimated = adapt_prior(model, images, before).estimated
    new = scaling(logits_of(model, images))
    moved = (new - new[:, :1]) - (old - old[:, :1])
    ratio = np.log([estimated[name] * n for name in classes])
    assert moved == pytest.approx(np.tile(ratio - ratio[0], (len(images), 1)), abs=1e-4)


# -- the command ---------------------------------------------------------------------------------------------


@pytest.fixture
def own(small_run: Run, tmp_path: Path) -> Path:
    """The run's images from a darker device."""
    folder = tmp_path / "own"
    folder.mkdir()
    for path in small_run.cases().table["path"].head(30):
        dark = (cv2.imread(path, cv2.IMREAD_GRAYSCALE) * 0.6).astype(np.uint8)
        cv2.imwrite(str(folder / Path(path).name), dark)
    return folder


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_the_new_folder_is_a_whole_model_and_its_card_says_what_changed(
    task: str, small_run: Run, own: Path, tmp_path: Path, hilum: Callable
) -> None:
    out = tmp_path / "new"
    answer = hilum("adapt", small_run.path / task, own, "--prior", "--out", out)
    assert (answer.code, answer.err) == (0, "")
    assert check_golden(out) < 1e-3
    before, card = ModelCard.load(small_run.task(task).card_file), ModelCard.load(out / "model.json")
    change = card.adaptation
    assert change is not None and change.prior is not None and card.calibration is not None
    assert (change.adapted_to, change.images, change.source_images) == ("own", 30, 16)
    assert change.weights_digest_before == before.weights_digest != card.weights_digest
    assert sum(change.prior.estimated.values()) == pytest.approx(1)
    assert "conformal" in change.dropped and card.conformal is None
    assert card.calibration.judged_on.endswith("; before adaptation")
    assert (card.threshold, card.training, card.data) == (before.threshold, before.training, before.data)
    assert f"Statistics of {change.layers} layers were measured on 30 images." in answer.out
    assert not torch.equal(statistics(load_model(out)), statistics(small_run.task(task).load_model()))
    prediction = hilum("predict", own, "--model", out, "--format", "csv")
    assert prediction.code == 0


def test_unknown_shares_are_one_sentence(small_run: Run, own: Path, tmp_path: Path, hilum: Callable) -> None:
    first = hilum("adapt", small_run.path / "binary", own, "--out", tmp_path / "first")
    second = hilum("adapt", tmp_path / "first", own, "--prior", "--out", tmp_path / "second")
    assert (first.code, second.code) == (0, 2)
    assert (
        second.err.endswith("are not known; name the task folder of its run, or leave out --prior\n")
        and "the shares of the classes among the validation images of" in second.err
    )


def test_fewer_than_no_images_of_training() -> None:
    with pytest.raises(DataError, match="-1 images of training are fewer than none; write 0 or more"):
        module.adapt(Path("gone"), Path("gone"), source_images=-1)
