"""What makes the attribution pictures of a predictor's answers."""

from typing import Protocol, runtime_checkable

import numpy as np


@runtime_checkable
class Painter(Protocol):
    """Makes attribution pictures."""

    def keep(self, image: np.ndarray) -> np.ndarray:
        """The small copy of a grey image that a picture is painted on."""
        ...

    def paint(self, file: str | None, picture: np.ndarray, prepared: np.ndarray, target: int) -> str:
        """Writes one picture and gives its path. `picture`: from `keep`; `prepared`: normalised float32 "rows
        cols"; `target`: index of the class that is explained."""
        ...
