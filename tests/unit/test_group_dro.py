"""Group DRO against its algorithm by hand, and in a training that is interrupted."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hilum.artifacts.card import ModelFacts
from hilum.errors import RecipeError
from hilum.folders import TaskFolder
from hilum.training.fit import fit_task
from hilum.training.group_dro import GroupWeights
from tests.unit.test_training import TASK, image_sets, recipe


def test_weights_move_as_algorithm_1_says() -> None:
    weigh = GroupWeights(np.array([0, 0, 1, 2]), step=0.5)
    losses, position = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0, 1, 2])
    mean = np.array([1.5, 4.0, 0.0])  # group 2 is not in the batch
    expected = np.exp(0.5 * mean) / np.exp(0.5 * mean).sum()
    loss = weigh(losses, position)
    np.testing.assert_allclose(weigh.weights.numpy(), expected, rtol=1e-6)
    assert float(loss) == pytest.approx(float(expected @ mean), rel=1e-6)


def test_a_group_that_is_never_learnt_gets_the_weight() -> None:
    weigh = GroupWeights(np.array([0, 1]), step=0.1)
    for _ in range(100):
        weigh(torch.tensor([0.1, 2.0]), torch.tensor([0, 1]))
    assert weigh.weights[1] > 0.99


def test_groups_are_label_and_acquisition() -> None:
    weigh = GroupWeights.of(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 0]), 0.1)
    assert weigh.group.tolist() == [0, 1, 2, 2]
    with pytest.raises(RecipeError, match="needs acquisition groups"):
        GroupWeights.of(np.array([0, 1]), None, 0.1)


def test_an_interrupted_training_keeps_its_weights(tmp_path: Path) -> None:
    """The sum of what was learnt so far lies in the checkpoint."""
    train, val = image_sets()
    train = replace(train, acquisition=np.arange(len(train.targets)) % 2)
    calls = [0]

    def score_until(stop: int):
        calls[0] = 0

        def score(probabilities: np.ndarray, positions: np.ndarray) -> dict[str, float]:
            calls[0] += 1
            if calls[0] == stop:
                raise KeyboardInterrupt
            return {"accuracy": float((probabilities.argmax(1) == val.targets[positions]).mean())}

        return score

    config = recipe(group_dro=0.1, epochs=3)
    whole = fit_task(TaskFolder(tmp_path / "a"), config, TASK, train, val, score_until(0), ModelFacts())
    with pytest.raises(KeyboardInterrupt):
        fit_task(TaskFolder(tmp_path / "b"), config, TASK, train, val, score_until(2), ModelFacts())
    resumed = fit_task(TaskFolder(tmp_path / "b"), config, TASK, train, val, score_until(0), ModelFacts())
    for name, tensor in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], tensor, rtol=0, atol=0)
    assert not any("group" in name for name in whole.state_dict())
