"""Training: what one step computes, what an epoch sees, and that an interruption changes nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from hilum.artifacts.card import BestMetric, ModelFacts
from hilum.data.augment import Augment
from hilum.data.cache import ImageCache
from hilum.data.images import Pixels
from hilum.data.tasks import task
from hilum.errors import RecipeError, RunError, TrainingError
from hilum.folders import TaskFolder
from hilum.models import ChestModel, build
from hilum.training.config import Distill, Optimizer, TaskRecipe, Training
from hilum.training.fit import fit_task
from hilum.training.loader import AugmentedImages, EpochSampler, ImageSet, class_weights, loader
from hilum.training.module import Classifier, make_optimizer
from hilum.training.objective import ManyFindings, OneClass

CASES = 96
TASK = task("multiclass", ["normal", "bacteria", "virus"])


def loss_per_case(
    logits: torch.Tensor, target: torch.Tensor, training: Training, weights: torch.Tensor | None = None
) -> torch.Tensor:
    return OneClass().loss(logits, target, training, weights)


def squares() -> tuple[np.ndarray, np.ndarray]:
    """Images and targets: squares whose height in the image tells the class, in noise."""
    chance = np.random.default_rng(0)
    targets = chance.integers(0, 3, CASES)
    images = (chance.random((CASES, 32, 32)) * 160).astype(np.uint8)
    for image, target in zip(images, targets, strict=True):
        image[8 * target : 8 * target + 10, 8:20] += 40
    return images, targets


def image_sets() -> tuple[ImageSet, ImageSet]:
    images, targets = squares()
    names = [f"c{i}" for i in range(CASES)]
    cache = ImageCache(images, {name: row for row, name in enumerate(names)}, Path())
    pixels = Pixels((32, 32), mean=0.3, sd=0.2)
    cut = 2 * CASES // 3
    return tuple(
        ImageSet(cache, names[part], targets[part], pixels)  # type: ignore[return-value]
        for part in (slice(0, cut), slice(cut, CASES))
    )


def recipe(**training: Any) -> TaskRecipe:
    options = {"width": 4, "stages": [1, 1], "embedding": 8, "dropout": 0.3}
    return TaskRecipe.model_validate(
        {
            "model": {"name": "resnet", "options": options},
            "augment": {"rotate": 5, "noise": 0.05},
            "training": {
                "epochs": 4,
                "batch_size": 16,
                "optimizer": {"lr": 0.01},
                "precision": "fp32",
                **training,
            },
        }
    )


def fit(
    folder: Path, config: TaskRecipe, stop_in_epoch: int = 0, card: ModelFacts | None = None
) -> ChestModel:
    train, val = image_sets()
    calls = 0

    def score(probabilities: np.ndarray, positions: np.ndarray) -> dict[str, float]:
        nonlocal calls
        calls += 1
        if calls == stop_in_epoch:
            raise KeyboardInterrupt
        return {"accuracy": float((probabilities.argmax(1) == val.targets[positions]).mean())}

    return fit_task(TaskFolder(folder), config, TASK, train, val, score, card or ModelFacts())


INTERRUPTED = {
    "cosine": {"schedule": {"name": "warmup_cosine", "warmup_steps": 3}},
    "plateau": {"schedule": {"name": "plateau", "patience": 0, "factor": 0.1}},
    "averaged": {"ema": 0.8},
    "balanced": {"balance": "undersample"},
    "two views": {"consistency": 1.0},
}


@pytest.mark.parametrize("name", INTERRUPTED)
def test_interrupted_and_resumed_equals_uninterrupted(name: str, tmp_path: Path) -> None:
    config = recipe(**INTERRUPTED[name])
    fit(tmp_path / "whole", config)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "cut", config, stop_in_epoch=3)
    assert len(pd.read_csv(tmp_path / "cut" / "history.csv")) == 2
    fit(tmp_path / "cut", config)
    whole, cut = (pd.read_csv(tmp_path / folder / "history.csv") for folder in ("whole", "cut"))
    columns = [name for name in whole if name not in ("seconds", "images_per_second")]
    pd.testing.assert_frame_equal(whole[columns], cut[columns], check_exact=True)
    weights = [load_file(tmp_path / folder / "model" / "weights.safetensors") for folder in ("whole", "cut")]
    assert weights[0].keys() == weights[1].keys() and len(weights[0]) > 3
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_a_damaged_checkpoint_is_named_and_kept(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, recipe(), stop_in_epoch=3)
    last = tmp_path / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:-100])
    with pytest.raises(RunError, match=r"last\.ckpt is damaged; delete it"):
        fit(tmp_path, recipe())
    assert last.exists()


def test_plateau_really_lowers_the_rate(tmp_path: Path) -> None:
    fit(
        tmp_path,
        recipe(epochs=10, optimizer={"lr": 0.03}, schedule={"name": "plateau", "patience": 0, "factor": 0.1}),
    )
    rates = pd.read_csv(tmp_path / "history.csv")["learning_rate"]
    assert rates.iloc[0] == 0.03
    assert rates.iloc[-1] < 0.03


def test_model_is_the_best_epoch_and_learns(tmp_path: Path) -> None:
    model = fit(tmp_path, recipe(epochs=8), card=ModelFacts(recipe="drawn"))
    history = pd.read_csv(tmp_path / "history.csv")
    card = TaskFolder(tmp_path).card()
    assert card.training is not None
    best = card.training.best_epoch
    assert history["val_accuracy"].idxmax() + 1 == best
    assert card.training.best_metric == BestMetric(name="val_accuracy", value=history["val_accuracy"].max())
    assert card.recipe == "drawn"
    _, val = image_sets()
    with torch.no_grad():
        x = torch.from_numpy(val.pixels.normalize(val.cache.images[val.rows]))[:, None]
        accuracy = float((model(x).argmax(1).numpy() == val.targets).mean())
    assert accuracy == pytest.approx(history["val_accuracy"].max())
    assert accuracy > 0.6  # chance is 1/3


def test_a_loss_that_is_no_number_names_batch_and_cases(tmp_path: Path) -> None:
    with pytest.raises(
        TrainingError, match=r"the loss is (nan|inf) in epoch \d, batch \d+ \(cases c\d+, c\d+, c\d+"
    ):
        fit(tmp_path, recipe(optimizer={"lr": 1e30}))


def test_a_monitor_that_does_not_exist_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="'val_acuracy' is not a figure; did you mean 'val_accuracy'"):
        fit(tmp_path, recipe(monitor="val_acuracy"))


def test_binary_cross_entropy_needs_two_classes(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="needs two classes, task 'multiclass' has 3"):
        fit(tmp_path, recipe(loss="binary_cross_entropy"))


# -- losses and optimisers -----------------------------------------------------------------------------------


def test_binary_cross_entropy_equals_cross_entropy_of_two_logits() -> None:
    logits, target = torch.randn(20, 2), torch.arange(20) % 2
    for smoothing in (0.0, 0.1):
        one = loss_per_case(logits, target, Training(epochs=1, label_smoothing=smoothing))
        two = loss_per_case(
            logits, target, Training(epochs=1, loss="binary_cross_entropy", label_smoothing=smoothing)
        )
        torch.testing.assert_close(one, two)


def test_class_weights_multiply_the_loss() -> None:
    logits, target = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 1, 2])
    plain = loss_per_case(logits, target, Training(epochs=1))
    weighted = loss_per_case(logits, target, Training(epochs=1), torch.tensor([1.0, 2.0, 0.5]))
    torch.testing.assert_close(weighted, plain * torch.tensor([1.0, 2.0, 0.5, 1.0, 2.0, 0.5]))
    assert class_weights(np.array([0, 0, 1, 2]), 3).tolist() == pytest.approx([2 / 3, 4 / 3, 4 / 3])


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_every_optimiser_lowers_a_loss_and_spares_norms_from_decay(name: str) -> None:
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.LayerNorm(8), torch.nn.Linear(8, 1))
    optimizer = make_optimizer(net, Optimizer(name=name, lr=0.01, weight_decay=0.1))
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]
    assert all(tensor.ndim == 1 for tensor in optimizer.param_groups[1]["params"])
    x, y = torch.randn(32, 4), torch.randn(32, 1)
    first = last = torch.nn.functional.mse_loss(net(x), y)
    for _ in range(30):
        optimizer.zero_grad()
        last = torch.nn.functional.mse_loss(net(x), y)
        last.backward()
        optimizer.step()
    assert last.item() < first.item()


# -- batches -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("balance", ["none", "weights", "undersample", "sampler"])
def test_balance_gives_the_classes_it_promises(balance: str) -> None:
    targets = np.repeat([0, 1, 2], [10, 60, 30])
    sampler = EpochSampler(targets, balance, seed=0)
    counts = np.zeros(3)
    for epoch in range(20):
        sampler.set_epoch(epoch)
        picks = [position for _, position in sampler]
        assert len(picks) == len(sampler)
        counts += np.bincount(targets[picks], minlength=3) / len(picks) / 20
    wanted = [0.1, 0.6, 0.3] if balance in ("none", "weights") else [1 / 3] * 3
    assert counts == pytest.approx(wanted, abs=0.03 if balance == "sampler" else 1e-9)


def test_each_epoch_has_its_own_order_and_images_that_can_be_asked_for_again() -> None:
    train, _ = image_sets()
    sampler = EpochSampler(train.targets, "none", seed=0)
    orders = []
    for epoch in (0, 1, 0):
        sampler.set_epoch(epoch)
        orders.append(list(sampler))
    assert orders[0] == orders[2]
    assert [p for _, p in orders[0]] != [p for _, p in orders[1]]
    images = AugmentedImages(train, Augment(rotate=10, noise=0.1), seed=0)
    np.testing.assert_array_equal(images[(3, 5)][0], images[(3, 5)][0])
    assert np.abs(images[(3, 5)][0] - images[(4, 5)][0]).max() > 0.01


def test_validation_sees_every_case_once_in_order_without_augmentation() -> None:
    _, val = image_sets()
    batches = list(loader(val, 7, seed=0))
    images, targets, positions = (torch.cat(part) for part in zip(*batches, strict=True))
    assert positions.tolist() == list(range(len(val.case_ids)))
    np.testing.assert_array_equal(targets.numpy(), val.targets)
    np.testing.assert_allclose(
        images[:, 0].numpy(), val.pixels.normalize(val.cache.images[val.rows]), atol=1e-6
    )


def test_two_views_of_an_image_are_augmented_apart() -> None:
    train, _ = image_sets()
    once, twice = (
        AugmentedImages(train, Augment(rotate=10, noise=0.1, tone=0.5), 0, views) for views in (1, 2)
    )
    views, target, _ = twice[(3, 5)]
    assert views.shape == (2, 32, 32) and target == train.targets[5]
    np.testing.assert_array_equal(views[:1], once[(3, 5)][0])
    assert np.abs(views[0] - views[1]).max() > 0.1


def two_views() -> tuple[ChestModel, torch.Tensor, list[int]]:
    """A network without randomness, five even images in two views, targets."""
    torch.manual_seed(0)
    options = {"width": 4, "stages": [1, 1], "embedding": 8}
    network = build("resnet", TASK.classes, Pixels((32, 32), mean=0.3, sd=0.2), options).eval()
    images = np.random.default_rng(0).normal(0, 3, (5, 2, 1, 1)) + np.zeros((32, 32))
    return network, torch.from_numpy(images.astype(np.float32)), [0, 1, 2, 0, 1]


def step_loss(
    network: ChestModel, images: torch.Tensor, targets: list[int], consistency: float
) -> torch.Tensor:
    module = Classifier(
        network, Training(epochs=1, consistency=consistency), 1, None, lambda shares, positions: {}
    )
    return module.training_step((images, torch.tensor(targets), torch.arange(len(targets))), 0)


@torch.no_grad()
def test_a_step_adds_the_divergence_of_the_views_to_their_mean_loss() -> None:
    network, images, targets = two_views()
    one, two = (network(images[:, view : view + 1]).double().log_softmax(1) for view in (0, 1))
    apart = torch.stack([-share[torch.arange(5), targets] for share in (one, two)]).mean()
    middle = ((one.exp() + two.exp()) / 2).log()
    divergence = 0.5 * ((one.exp() * (one - middle)).sum(1) + (two.exp() * (two - middle)).sum(1)).mean()
    assert float(divergence) > 1e-4
    assert float(step_loss(network, images, targets, 3.0)) == pytest.approx(
        float(apart + 3 * divergence), rel=1e-5
    )
    equal = images[:, :1].expand(-1, 2, -1, -1)
    once = step_loss(network, equal[:, :1], targets, 0.0)
    assert float(step_loss(network, equal, targets, 3.0)) == pytest.approx(float(once), rel=1e-5)


@torch.no_grad()
def test_the_divergence_keeps_its_weight_beside_teachers() -> None:
    network, images, targets = two_views()
    distill = Distill(teachers=("teacher",), alpha=1.0)
    losses = []
    for consistency in (0.0, 3.0):
        training = Training(epochs=1, consistency=consistency, distill=distill)
        module = Classifier(network, training, 1, None, lambda shares, positions: {}, [network])
        losses.append(float(module.training_step((images, torch.tensor(targets), torch.arange(5)), 0)))
        assert module.train_figures()["train_loss"] == pytest.approx(0.0, abs=1e-6)  # it is its own teacher
    one, two = (network(images[:, view : view + 1]) for view in (0, 1))
    assert losses[1] - losses[0] == pytest.approx(3 * float(OneClass().divergence(one, two).mean()), rel=1e-4)


def test_findings_diverge_one_by_one_and_the_order_of_views_is_nothing() -> None:
    one, two = torch.tensor([[0.0, 3.0], [1.0, -80.0]]), torch.tensor([[0.0, -3.0], [1.0, 80.0]])
    each = ManyFindings().divergence(one, two)
    present = torch.tensor([0.9526, 0.0474])  # sigmoid of 3 and of -3
    entropy = -(present * present.log()).sum()
    assert each[0] == pytest.approx((np.log(2) - float(entropy)) / 2, abs=1e-3)
    assert each[1] == pytest.approx(np.log(2) / 2)
    assert torch.equal(each, ManyFindings().divergence(two, one))


def test_views_that_must_agree_agree_more() -> None:
    apart = {}
    for consistency in (0.0, 20.0):
        network, images, targets = two_views()
        optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
        for _ in range(10):
            optimizer.zero_grad()
            step_loss(network, images, targets, consistency).backward()
            optimizer.step()
        one, two = (network(images[:, view : view + 1]) for view in (0, 1))
        apart[consistency] = float(OneClass().divergence(one, two).mean().detach())
    assert apart[20.0] < 0.5 * apart[0.0]


def test_two_views_without_augmentation_are_refused() -> None:
    with pytest.raises(ValueError, match="compares two augmented views"):
        TaskRecipe.model_validate({**recipe(consistency=1.0).model_dump(), "augment": {}})
