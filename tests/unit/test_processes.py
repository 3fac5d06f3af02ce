"""Shares of a training by several processes."""

import numpy as np
import pytest
import torch
from torch import nn

from hilum.errors import RecipeError
from hilum.training.config import Training
from hilum.training.fit import _share_of_batch
from hilum.training.loader import EpochSampler
from hilum.training.processes import Processes, together
from hilum.training.shared_batch_norm import SharedBatchNorm, shared_batch_norm


@pytest.mark.parametrize("balance", ["none", "sampler", "undersample"])
def test_the_batches_of_two_processes_are_those_of_one(balance: str) -> None:
    targets = np.array([0] * 9 + [1] * 14)
    whole = [position for _, position in EpochSampler(targets, balance, seed=3)]
    shares = [
        [position for _, position in EpochSampler(targets, balance, 3, share=(rank, 2))] for rank in (0, 1)
    ]
    assert len(shares[0]) == len(shares[1]) == len(whole) // 2
    batches = len(whole) // 4
    for batch in range(batches):
        union = {*shares[0][2 * batch : 2 * batch + 2], *shares[1][2 * batch : 2 * batch + 2]}
        assert union == set(whole[4 * batch : 4 * batch + 4])


def test_every_validation_image_is_taken_once() -> None:
    targets = np.zeros(11, int)
    shares = [list(EpochSampler(targets, "none", 0, shuffle=False, share=(rank, 3))) for rank in range(3)]
    assert sorted(position for share in shares for _, position in share) == list(range(11))
    assert [len(share) for share in shares] == [4, 4, 3]


@pytest.mark.parametrize(
    ("environment", "rank"),
    [({"RANK": "1", "WORLD_SIZE": "4"}, 1), ({"SLURM_PROCID": "3", "SLURM_NTASKS": "4"}, 3)],
)
def test_the_launcher_says_who_one_is(environment: dict[str, str], rank: int) -> None:
    from hilum.training.processes import _place

    assert _place(environment, 2, 2, "ddp") == Processes(rank, 4, 2, "ddp")


def test_a_launcher_of_another_number_is_refused() -> None:
    with (
        pytest.raises(RecipeError, match="makes 2 processes, but SLURM_NTASKS is 4"),
        together(2, environment={"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}),
    ):
        pass


def test_a_shared_norm_has_the_same_names_and_answers() -> None:
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3)).eval()
    x = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    before, names = net(x), list(net.state_dict())
    with shared_batch_norm(net):
        assert isinstance(net[1], SharedBatchNorm) and list(net.state_dict()) == names
        torch.testing.assert_close(net(x), before)
    assert type(net[1]) is nn.BatchNorm2d


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    with pytest.raises(RecipeError, match="a batch of 32 cannot be shared by 3 processes"):
        _share_of_batch(Training(epochs=1, batch_size=32), Processes(0, 3, 3))
    assert _share_of_batch(Training(epochs=1, batch_size=32), Processes(1, 2, 2)) == 16
