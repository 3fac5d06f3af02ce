"""Several processes that train one network together: on the devices of a machine, or on many machines.

The first of them (rank 0) runs the whole command as if it were alone. The others wait until it tells them which
network to train, take their part in that, and wait again. They write no file of the run. Where no launcher
(torchrun, srun) has started them, `together` does. Each takes its share of every batch of the recipe, so that one
process with a batch of 32 and two with 16 each see the same images in the same steps.
"""

import gc
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from hilum.errors import RecipeError

Strategy = Literal["ddp", "fsdp"]

PATIENCE = timedelta(days=1)
"""A process waits so long for another, for example while the first one decodes images."""

LOST = (
    "connection closed by",  # gloo: "by peer"; NCCL: "by remote peer"
    "connection reset by peer",
    "connection was likely closed",  # the store that the processes meet at
    "broken pipe",
    "ncclremoteerror",
    "timed out waiting",  # gloo
    "pair closure",
    "collective operation timeout",  # NCCL's watchdog
)
"""What torch says, in small letters, in a process when another one is gone or no longer answers."""


@dataclass(frozen=True)
class Processes:
    """This process among those that train together: `rank` of `world`, `local` of them on each machine."""

    rank: int = 0
    world: int = 1
    local: int = 1
    strategy: Strategy = "ddp"

    @property
    def first(self) -> bool:
        """Whether this process writes the run.

        >>> Processes().first, Processes(rank=1, world=2).first
        (True, False)
        """
        return self.rank == 0

    @property
    def alone(self) -> bool:
        """Whether there is no other process.

        >>> Processes().alone
        True
        """
        return self.world == 1

    def tell(self, message: Any) -> Any:
        """The first process's message, in every process.

        >>> Processes().tell("train")
        'train'
        """
        if self.alone:
            return message
        from torch import distributed

        values = [message]
        distributed.broadcast_object_list(values, src=0)
        return values[0]

    def gathered(self, value: Any) -> list[Any]:
        """The value of each process, in the order of their ranks, in every process.

        >>> Processes().gathered(3)
        [3]
        """
        if self.alone:
            return [value]
        from torch import distributed

        values: list[Any] = [None] * self.world
        distributed.all_gather_object(values, value)
        return values

    @contextmanager
    def first_goes_ahead(self) -> Iterator[None]:
        """The first process does what is inside before the others, which then find what it has made.

        >>> with Processes().first_goes_ahead():
        ...     print("decoded")
        decoded
        """
        if not self.first:
            self.tell(None)
        yield
        if self.first:
            self.tell(None)


def says_lost(message: str) -> bool:
    """Whether an error of torch means that another process of the training is gone. Other errors of NCCL are faults of
    this process or of its machine.

    >>> says_lost("[pair.cc:534] Connection closed by peer [127.0.0.1]:41234")
    True
    >>> says_lost("NCCL error in: NCCLUtils.cpp:77, invalid usage\\nDuplicate GPU detected")
    False
    """
    return any(words in message.lower() for words in LOST)


_current = Processes()


def current() -> Processes:
    """This process among those that train together; alone where `together` was not asked for more.

    >>> current().world
    1
    """
    return _current


@contextmanager
def together(
    devices: int = 1,
    machines: int = 1,
    strategy: Strategy = "ddp",
    environment: Mapping[str, str] | None = None,
) -> Iterator[Processes]:
    """Inside, `current()` knows the other processes. `devices`: per machine; `environment`: os.environ.

    RecipeError for a number of processes that the launcher's environment contradicts, for several machines without
    a launcher, and for the strategy fsdp without CUDA devices.

    >>> with together() as processes:
    ...     processes.alone
    True
    >>> with together(devices=4, environment={"RANK": "0", "WORLD_SIZE": "2"}):
    ...     pass
    Traceback (most recent call last):
    hilum.errors.RecipeError: --devices 4 --num-nodes 1 makes 4 processes, but WORLD_SIZE is 2; let both numbers agree
    """
    known = dict(os.environ if environment is None else environment)
    place = _place(known, devices, machines, strategy)
    if place.alone:
        yield place
        return
    _check_strategy(strategy)
    others = [] if "RANK" in known or "SLURM_PROCID" in known else _start_others(devices)
    try:
        with _joined(place):
            yield place
            if place.first:
                place.tell(None)  # the others may go
    finally:
        for other in others:
            other.terminate()
            other.wait()


def _place(known: Mapping[str, str], devices: int, machines: int, strategy: Strategy) -> Processes:
    """Where this process stands, by the environment of torchrun or SLURM, or as the first one."""
    wanted = devices * machines
    for rank, world in (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS")):
        if rank in known and int(known.get(world, "1")) > 1:
            if int(known[world]) != wanted:
                numbers = f"--devices {devices} --num-nodes {machines} makes {wanted} processes"
                raise RecipeError(f"{numbers}, but {world} is {known[world]}", "let both numbers agree")
            return Processes(int(known[rank]), wanted, devices, strategy)
    if machines > 1:
        raise RecipeError(
            f"--num-nodes {machines} needs a launcher on each machine", "start hilum with torchrun or srun"
        )
    return Processes(0, wanted, devices, strategy)


def _check_strategy(strategy: Strategy) -> None:
    import torch

    if strategy == "fsdp" and not torch.cuda.is_available():
        raise RecipeError("strategy fsdp needs CUDA devices, and there are none", "use --strategy ddp")


def _start_others(devices: int) -> list[subprocess.Popen[bytes]]:
    """The same command with ranks 1 and more; sets the environment of rank 0."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), WORLD_SIZE=str(devices))
    command = [sys.executable, "-c", "from hilum.cli import main; main()", *sys.argv[1:]]
    others = [
        subprocess.Popen(command, env=os.environ | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(1, devices)
    ]
    os.environ.update(RANK="0", LOCAL_RANK="0")
    return others


@contextmanager
def _joined(place: Processes) -> Iterator[None]:
    """A process group as long as the block runs.

    At its end the threads of gloo have ended, too. One of them may still hold a tensor of Python after the last
    message; where it gave that back while the interpreter ends, the process would abort ("terminate called without an
    active exception"). They end with the last reference to the group: a wrapped network has one, and torch._dynamo,
    which the wrapper imports, keeps one for good if it finds a group when it is imported.
    """
    import torch
    import torch._dynamo
    from torch import distributed

    global _current
    _slurm_address()
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    group = {"rank": place.rank, "world_size": place.world, "timeout": PATIENCE}
    distributed.init_process_group(backend, store=_store(place), **group)
    _current = place
    try:
        yield
    finally:
        _current = Processes()
        gc.collect()
        distributed.destroy_process_group()
        for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
            os.environ.pop(name, None)


def _store(place: Processes) -> Any:
    """Where the processes find each other. Each attempt of torchrun has a name in it: torchrun keeps its store when it
    starts the processes again, and they would look for each other where those before were."""
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    store, _, _ = next(iter(rendezvous("env://", place.rank, place.world, timeout=PATIENCE)))
    return PrefixStore(f"attempt-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)


def _slurm_address() -> None:
    """What torchrun would have set, from SLURM's environment."""
    if "MASTER_ADDR" in os.environ or "SLURM_PROCID" not in os.environ:
        return
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

    slurm = SLURMEnvironment()
    os.environ.update(
        MASTER_ADDR=slurm.main_address,
        MASTER_PORT=str(slurm.main_port),
        RANK=os.environ["SLURM_PROCID"],
        LOCAL_RANK=os.environ.get("SLURM_LOCALID", "0"),
        WORLD_SIZE=os.environ["SLURM_NTASKS"],
    )
