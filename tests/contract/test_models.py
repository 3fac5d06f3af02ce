"""What every architecture must hold. The files are found, so a new one is tested with no other edit."""

import pytest
import torch

from hilum.data.images import Pixels
from hilum.models import ChestModel, build, names

CLASSES = (("normal", "pneumonia"), ("normal", "bacteria", "virus"))


def fresh(name: str, classes: tuple[str, ...], seed: int = 0) -> ChestModel:
    torch.manual_seed(seed)
    return build(name, classes, Pixels(size=(64, 80))).eval()


@pytest.fixture(params=[(name, classes) for name in names() for classes in CLASSES], ids=str)
def model(request: pytest.FixtureRequest) -> ChestModel:
    return fresh(*request.param)


@torch.no_grad()
def test_parts_compose_to_forward(model: ChestModel) -> None:
    x = torch.randn(2, 1, 64, 80)
    maps = model.features(x)
    assert maps.ndim == 4
    vectors = model.neck(model.pool(maps))
    assert torch.equal(vectors, model.embed(x))
    assert torch.equal(model.head(vectors), model(x))
    assert model(x).shape == (2, len(model.classes))


@torch.no_grad()
def test_batch_equals_singles_in_any_order(model: ChestModel) -> None:
    x = torch.randn(3, 1, 64, 80)
    together = model(x)
    alone = torch.cat([model(one[None]) for one in x])
    assert torch.allclose(together, alone, atol=1e-4)
    assert torch.allclose(model(x.flip(0)).flip(0), together, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("name", names())
def test_state_survives_a_save(name: str) -> None:
    x = torch.randn(2, 1, 64, 80)
    model, other = fresh(name, CLASSES[0]), fresh(name, CLASSES[0], seed=1)
    assert not torch.equal(other(x), model(x))
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(x), model(x))


def test_every_parameter_gets_a_gradient(model: ChestModel) -> None:
    model.train()
    x = torch.randn(4, 1, 64, 80)
    torch.nn.functional.cross_entropy(model(x), torch.arange(4) % len(model.classes)).backward()
    without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert without == []
