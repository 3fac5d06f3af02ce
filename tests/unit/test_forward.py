"""The forward loop: the same numbers however many threads share the batches, and torch as it was before."""

import numpy as np
import pytest
import torch
from torch import nn

from hilum.data.images import Pixels
from hilum.inference.forward import BATCH, batches, vectors_of
from hilum.inference.runtimes.torch import TorchRuntime, layer_names
from hilum.models import AveragePool, ChestModel, build
from hilum.threads import cores

TWO = ("normal", "pneumonia")


@pytest.fixture(scope="module")
def model() -> ChestModel:
    torch.manual_seed(0)
    return build("vgg", ("normal", "pneumonia"), Pixels(size=(32, 32)))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3 * BATCH + 5, 32, 32), np.uint8)


def _logits(runtime: TorchRuntime, batch: np.ndarray, start: int) -> np.ndarray:
    return runtime.logits(batch)


def test_threads_change_no_digit_and_no_order(model: ChestModel, images: np.ndarray) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = np.concatenate(batches(model, images, _logits, workers=1))
    finally:
        torch.set_num_threads(before)
    shared = np.concatenate(batches(model, images, _logits, workers=3))
    np.testing.assert_array_equal(shared, alone)


def test_each_worker_computes_alone_and_torch_is_as_before(model: ChestModel, images: np.ndarray) -> None:
    before = torch.get_num_threads()
    seen = batches(model, images, lambda *_: torch.get_num_threads(), workers=2)
    assert seen == [1] * 4
    assert torch.get_num_threads() == before


def test_an_error_in_a_thread_reaches_the_caller(model: ChestModel, images: np.ndarray) -> None:
    with pytest.raises(IndexError):
        vectors_of(model, images, ["embedding"], np.array([len(images)] * (2 * BATCH)))


def test_a_users_own_number_of_threads_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert cores() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert cores() >= 1


class Crossing(nn.Module):
    """A trunk whose parts are not run one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = self.first(x)
        return first + self.second(first)


@pytest.mark.parametrize("shape", ["in turn", "crossing"])
def test_threads_keep_each_others_layers_apart(model: ChestModel, shape: str) -> None:
    if shape == "crossing":
        model = ChestModel(
            TWO, Pixels(size=(32, 32)), Crossing(), AveragePool(), nn.Identity(), nn.Linear(4, 2)
        )
    layers = [name for name in layer_names(model) if name.startswith("features.")]
    images = np.random.default_rng(1).integers(0, 256, (40 * BATCH + 3, 32, 32), np.uint8)

    def ask(runtime: TorchRuntime, batch: np.ndarray, start: int) -> dict[str, np.ndarray]:
        return runtime.embed(batch, layers)[1]

    alone, shared = (batches(model.eval(), images, ask, workers=workers) for workers in (1, 4))
    for one, other in zip(alone, shared, strict=True):
        for layer in layers:
            np.testing.assert_allclose(one[layer], other[layer], rtol=1e-4, atol=1e-5)
