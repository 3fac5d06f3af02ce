"""Shares of a training by several processes."""

import numpy as np
import pytest
import torch
from torch import nn

from hilum.errors import RecipeError
from hilum.training.config import Training
from hilum.training.fit import _share_of_batch
from hilum.training.loader import EpochSampler
from hilum.training.processes import Processes, says_lost, together
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


NCCL = "NCCL error in: ../torch/csrc/distributed/c10d/NCCLUtils.cpp:77, "
GONE = [
    "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:41234",
    "[pair.cc:568] Read error [127.0.0.1]:30219: Connection reset by peer",
    "[unbound_buffer.cc:78] Timed out waiting 86400000ms for recv operation to complete",
    "Failed to recv, got 0 bytes. Connection was likely closed. Did the remote server shutdown or crash?",
    NCCL
    + "remote process exited or there was a network error, NCCL version 2.21.5\nncclRemoteError: A call failed"
    " possibly due to a network error or a remote process exiting prematurely.\nLast error:\nsocketProgressOpt: Call to"
    " recv from 10.0.0.2<33759> failed : Connection reset by peer",
    NCCL
    + "internal error, NCCL version 2.14.3\nncclInternalError: Internal check failed.\nLast error:\nNet :"
    " Connection closed by remote peer node2<50260>",
    "[Rank 0] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=19, OpType=ALLREDUCE) ran for 86400123"
    " milliseconds before timing out.",
]
OWN = [
    NCCL
    + "invalid usage, NCCL version 2.21.5\nncclInvalidUsage: This usually reflects invalid usage of NCCL library."
    "\nLast error:\nDuplicate GPU detected : rank 1 and rank 0 both on CUDA device 1b000",
    NCCL
    + "unhandled cuda error, NCCL version 2.21.5\nncclUnhandledCudaError: Call to CUDA function failed.\nLast"
    " error:\nCuda failure 2 'out of memory'",
    NCCL
    + "unhandled system error, NCCL version 2.21.5\nncclSystemError: System call (e.g. socket, malloc) or external"
    " library call failed or device error.\nLast error:\nError while creating shared memory segment /dev/shm/nccl-x",
    "CUDA out of memory. Tried to allocate 20.00 MiB.",
]


@pytest.mark.parametrize("message", GONE)
def test_a_process_that_is_gone_is_told_by_the_message(message: str) -> None:
    assert says_lost(message)


@pytest.mark.parametrize("message", OWN)
def test_other_errors_of_nccl_are_no_lost_process(message: str) -> None:
    assert not says_lost(message)
