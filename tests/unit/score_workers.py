"""Workers without a model, whose processes end when they should not. Each process imports this file, so it is light."""

import os
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

import numpy as np

from hilum.inference.prediction import ModelName, Prediction
from hilum.scale.score_table import Columns
from hilum.scale.score_worker import Chunk, Settings

COLUMNS = Columns(("normal", "pneumonia"), None)
"""Of the rows that these workers give."""

RATE = 1 / 15
"""Share of images at which a process ends at random."""


def rows_of(chunk: Chunk, look: Callable[[str], bool], pipe: Connection) -> bytes:
    """Each image as a row with its name, and the reason where it was left out. The process is killed where `look` says
    so."""
    model, answers = ModelName(name="none", digest=None), []
    for at, ref in enumerate(chunk.refs):
        if at not in chunk.left_out and look(ref.file):
            os.kill(os.getpid(), signal.SIGKILL)
        answers.append((Prediction.failed(ref.file, chunk.left_out.get(at, ""), model), None))
        if chunk.singly:
            pipe.send(("at", at + 1))
    return COLUMNS.chunk(answers)


def served(pipe: Connection, look: Callable[[str], bool]) -> None:
    pipe.send(("ready", None))
    while (chunk := pipe.recv()) is not None:
        pipe.send(("rows", rows_of(chunk, look, pipe)))


def ends_at_poison(pipe: Connection, settings: Settings) -> None:
    """Every image called poison.png kills the process."""
    served(pipe, lambda name: name == "poison.png")


def ends_at_random(pipe: Connection, settings: Settings) -> None:
    """One image in fifteen kills the process, never the same."""
    chance = np.random.default_rng()
    served(pipe, lambda name: chance.random() < RATE)


def ends_at_once(pipe: Connection, settings: Settings) -> None:
    """Never gets ready."""
    os.kill(os.getpid(), signal.SIGKILL)


def never_trains(pipe: Connection) -> None:
    """A worker of a comparison that never gets ready."""
    time.sleep(600)
