"""What every architecture must hold. The files are found, so a new one is tested with no other edit."""

from pathlib import Path

import pytest
import torch

from hilum.data.images import Pixels
from hilum.errors import ModelError
from hilum.models import ChestModel, build, names

CLASSES = (("normal", "pneumonia"), ("normal", "bacteria", "virus"))


def fresh(name: str, classes: tuple[str, ...], folder: Path, seed: int = 0) -> ChestModel:
    torch.manual_seed(seed)
    try:
        return build(name, classes, Pixels(size=(64, 80)), options(name, folder)).eval()
    except ModelError as error:
        if "not installed" in str(error):
            pytest.skip(str(error))  # an extra
        raise


def options(name: str, folder: Path) -> dict[str, str]:
    """What a model can't be built without: here a backbone in a local folder."""
    if name != "transformers_backbone":
        return {}
    library = pytest.importorskip("transformers")
    sizes = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
    library.ResNetModel(library.ResNetConfig(**sizes)).save_pretrained(folder)
    return {"source": str(folder)}


@pytest.fixture(params=[(name, classes) for name in names() for classes in CLASSES], ids=str)
def model(request: pytest.FixtureRequest, tmp_path: Path) -> ChestModel:
    return fresh(*request.param, tmp_path)


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
def test_state_survives_a_save(name: str, tmp_path: Path) -> None:
    x = torch.randn(2, 1, 64, 80)
    model, other = fresh(name, CLASSES[0], tmp_path), fresh(name, CLASSES[0], tmp_path, seed=1)
    assert not torch.equal(other(x), model(x))
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(x), model(x))


def test_every_parameter_gets_a_gradient(model: ChestModel) -> None:
    model.train()
    x = torch.randn(4, 1, 64, 80)
    torch.nn.functional.cross_entropy(model(x), torch.arange(4) % len(model.classes)).backward()
    without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert without == []
