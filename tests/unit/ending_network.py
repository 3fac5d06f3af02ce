"""A network whose process is killed as it is built, the first time: `mark` names a file that is there afterwards."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path

from hilum.data.images import Pixels
from hilum.models import ChestModel
from hilum.models.resnet import build as resnet


def build(classes: Sequence[str], pixels: Pixels, mark: str) -> ChestModel:
    """A tiny residual network."""
    if not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return resnet(classes, pixels, width=4, stages=(1, 1), embedding=8)
