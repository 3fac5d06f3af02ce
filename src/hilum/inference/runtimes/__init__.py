"""Runtime: what computes a network's answers. One file per engine; callers hold numpy arrays only."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from hilum.data.images import Pixels


@runtime_checkable
class Runtime(Protocol):
    """A network in some engine. `pixels`: how an image must be prepared; `classes`: names of the logits;
    `device`: "cpu", or where else it computes."""

    pixels: Pixels
    classes: tuple[str, ...]
    device: str

    def logits(self, batch: np.ndarray) -> np.ndarray:
        """float32 "batch rows cols", normalised -> float64 logits "batch classes"."""
        ...

    def embed(self, batch: np.ndarray, layers: Sequence[str]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The same, and float32 vectors "batch dim" of each named layer."""
        ...
