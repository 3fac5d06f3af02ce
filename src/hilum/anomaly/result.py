"""What one detector says of all images, as one file: everything on the leaderboard is made from these alone."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from hilum.errors import RunError
from hilum.files import replacing

FORMAT = 1


@dataclass(frozen=True)
class Examples:
    """Images with what a detector sees in them. `case_id`, `why`: "n"; `image`: uint8 "n rows cols"; `map`:
    float32 "n rows cols", raw; `reconstruction`: uint8 "n rows cols" in grey levels, or None; `lesion`: bool
    "n rows cols" where it is known, or None."""

    case_id: np.ndarray
    why: np.ndarray
    image: np.ndarray
    map: np.ndarray
    reconstruction: np.ndarray | None = None
    lesion: np.ndarray | None = None

    def arrays(self) -> dict[str, np.ndarray]:
        """By name, those that are there."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class Result:
    """`made_from`: digest of the weights and of the images; `score`: float64 "cases"; `odd`: kind -> float64
    "images"; `own`: float64 "fit images", how strange each image to fit on is to copies that have not seen its
    patient, in robust standard deviations, empty when nobody asked; `truth`: figures against known lesions,
    or None; `seconds`: what took how long."""

    made_from: str
    case_id: np.ndarray
    score: np.ndarray
    examples: Examples
    odd: dict[str, np.ndarray] = field(default_factory=dict)
    own_id: np.ndarray = field(default_factory=lambda: np.array([], str))
    own: np.ndarray = field(default_factory=lambda: np.array([]))
    truth: dict[str, Any] | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """result.npz, all or nothing."""
        arrays = {
            "format": np.array(FORMAT),
            "made_from": np.array(self.made_from),
            "case_id": self.case_id,
            "score": self.score,
            "own_id": self.own_id,
            "own": self.own,
            "facts": np.array(json.dumps({"truth": self.truth, "seconds": self.seconds})),
            **{f"odd/{kind}": values for kind, values in self.odd.items()},
            **{f"examples/{name}": values for name, values in self.examples.arrays().items()},
        }
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)

    @classmethod
    def read(cls, path: Path, made_from: str) -> "Result":
        """RunError when it is missing, damaged, or was made from other weights or images."""
        try:
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                held = {name: file[name] for name in file.files}
            facts = json.loads(str(held["facts"]))
            known = (int(held["format"]), str(held["made_from"]))
            found = cls(
                known[1],
                held["case_id"],
                held["score"],
                Examples(**_under(held, "examples/")),
                _under(held, "odd/"),
                held["own_id"],
                held["own"],
                facts["truth"],
                facts["seconds"],
            )
        except FileNotFoundError:
            raise RunError(f"{path} is missing", "run: hilum anomaly RUN") from None
        except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
            raise RunError(f"{path} is damaged ({error})", "run: hilum anomaly RUN") from None
        if known != (FORMAT, made_from):
            raise RunError(f"{path} was made from other weights or images", "run: hilum anomaly RUN")
        return found


def _under(held: dict[str, np.ndarray], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): held[name] for name in held if name.startswith(prefix)}
