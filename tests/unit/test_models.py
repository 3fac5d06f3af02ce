"""Architectures against independent counts, and a model on disk against every kind of damage."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import hilum
from hilum.data.images import Pixels
from hilum.errors import ModelError, RecipeError
from hilum.models import build, check_golden, load_model, parameters, save_model

THREE = ("normal", "bacteria", "virus")
TWO = ("normal", "pneumonia")


def test_resnet34_has_the_parameters_of_the_paper() -> None:
    """torchvision's resnet34 has 21,797,672; ours has one input channel and a head on the 1000-d layer."""
    model = build("resnet34_gelu", THREE, Pixels(size=(64, 64)))
    assert parameters(model) == 21_797_672 - 2 * 64 * 7 * 7 + (1000 * 3 + 3)


def test_resnet34_counted_layer_by_layer() -> None:
    """34 layers with weights in the main path: 33 convolutions and the 1000-d layer; all activations GELU."""
    model = build("resnet34_gelu", THREE, Pixels(size=(64, 64)))
    convolutions = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    assert sum(layer.kernel_size != (1, 1) for layer in convolutions) == 33
    assert sum(layer.kernel_size == (1, 1) for layer in convolutions) == 3  # shape-changing shortcuts
    assert not any(isinstance(layer, nn.ReLU) for layer in model.modules())
    assert sum(isinstance(layer, nn.GELU) for layer in model.modules()) == 33


def test_resnet34_halves_five_times() -> None:
    model = build("resnet34_gelu", THREE, Pixels(size=(224, 224))).eval()
    assert model.features(torch.zeros(1, 1, 224, 224)).shape == (1, 512, 7, 7)
    assert model.embed(torch.zeros(1, 1, 224, 224)).shape == (1, 1000)


def test_vgg_parameters_by_hand() -> None:
    """Sum over layers of 9 x in x out, two numbers per channel of batch norm, then 256-256-128-1 dense."""
    widths = [1, 32, 32, 64, 64, 128, 128, 256, 256, 256]
    convolutions = sum(9 * a * b for a, b in pairwise(widths))
    norms = 2 * sum(widths[1:])
    dense = (256 * 256 + 256) + (256 * 128 + 128) + (128 + 1)
    assert parameters(build("vgg", TWO, Pixels(size=(200, 224)))) == convolutions + norms + dense


def test_vgg_flatten_keeps_places() -> None:
    model = build("vgg", TWO, Pixels(size=(64, 96)), {"pool": "flatten"}).eval()
    assert model.neck[0].in_features == 256 * 4 * 6


def test_unknown_name_and_option_name_the_nearest() -> None:
    with pytest.raises(RecipeError, match="model 'resnet34_gelo' is not known; did you mean 'resnet34_gelu'"):
        build("resnet34_gelo", THREE, Pixels(size=(64, 64)))
    with pytest.raises(RecipeError, match="has no option 'dropuot'; did you mean 'dropout'"):
        build("vgg", TWO, Pixels(size=(64, 64)), {"dropuot": 0.1})
    with pytest.raises(RecipeError, match="too small for 4 poolings"):
        build("vgg", TWO, Pixels(size=(12, 64)))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = build("vgg", TWO, Pixels(size=(32, 40), mean=0.4, sd=0.2), {"blocks": [[4], [8]], "dense": [6]})
    options = {"blocks": [[4], [8]], "dense": [6]}
    save_model(
        model, tmp_path / "model", {"task": "binary", "architecture": {"name": "vgg", "options": options}}
    )
    return tmp_path / "model"


def test_load_model_gives_the_public_contract(saved: Path) -> None:
    model = hilum.load_model(saved)
    assert model.classes == TWO
    assert not model.training
    x = model.pixels.apply(np.random.default_rng(0).integers(0, 256, (300, 500), dtype=np.uint8))
    assert x.shape == (1, 32, 40)
    with torch.no_grad():
        assert model(x[None]).shape == (1, 2)
        assert model.embed(x[None]).shape == (1, 6)
    assert check_golden(saved) < 1e-5


def test_load_model_finds_the_task_folder_and_the_run(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "run" / "binary").mkdir(parents=True)
    saved.rename(tmp_path / "run" / "binary" / "model")
    assert load_model(tmp_path / "run" / "binary").classes == TWO
    assert load_model(tmp_path / "run").classes == TWO


def test_changed_weights_are_refused(saved: Path) -> None:
    data = bytearray((saved / "weights.safetensors").read_bytes())
    data[-1] ^= 1
    (saved / "weights.safetensors").write_bytes(bytes(data))
    with pytest.raises(ModelError, match=r"is not the file that model\.json was written for"):
        load_model(saved)


def test_missing_and_foreign_folders_are_named(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no model \(no model.json\)"):
        load_model(tmp_path / "nothing")
    card = json.loads((saved / "model.json").read_text())
    (saved / "model.json").write_text(json.dumps({**card, "format": 99}))
    with pytest.raises(ModelError, match="has format 99, this hilum reads 1"):
        load_model(saved)
    (saved / "model.json").write_text("{")
    with pytest.raises(ModelError, match="is damaged"):
        load_model(saved)


def test_golden_logits_catch_another_computation(saved: Path) -> None:
    with np.load(saved / "golden.npz") as golden:
        films, logits = golden["films"], golden["logits"]
    np.savez_compressed(saved / "golden.npz", films=films, logits=logits + 0.1)
    with pytest.raises(ModelError, match=r"differ by 0\.1 from its golden ones"):
        check_golden(saved)
