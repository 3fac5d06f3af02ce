"""result.npz: the scores of one detector for all images. The leaderboard is made from these files alone."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from hilum.artifacts.anomaly import Localization, Seconds
from hilum.artifacts.base import Part
from hilum.errors import RunError
from hilum.files import read_arrays, write_arrays

P = TypeVar("P", bound=Part)


@dataclass(frozen=True)
class Examples:
    """Images with their anomaly maps. `case_id`, `why` (see scoring.WHY): "n"; `image`: uint8 "n rows cols"; `map`:
    float32 "n rows cols", raw; `reconstruction`: uint8 "n rows cols" in grey levels, or None; `lesion`: bool
    "n rows cols" where it is known, or None."""

    case_id: np.ndarray
    why: np.ndarray
    image: np.ndarray
    map: np.ndarray
    reconstruction: np.ndarray | None = None
    lesion: np.ndarray | None = None

    def arrays(self) -> dict[str, np.ndarray]:
        """By name, those that are there.

        >>> none = np.array([])
        >>> sorted(Examples(none, none, none, none).arrays())
        ['case_id', 'image', 'map', 'why']
        """
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class Result:
    """`made_from`: digest of the weights and of the images; `score`: float64 "cases"; `ood`: kind -> float64
    "images"; `own`: float64 "fit images", cross-fitted scores of the images `own_id` in robust standard deviations,
    empty without that ranking; `other_look`, `calibrate_look`: float64 "images", scores of the images that `Inputs`
    has under these names, empty without any; `localization`: figures against known lesions, or None; `seconds`: of
    each step, None for an ensemble."""

    made_from: str
    case_id: np.ndarray
    score: np.ndarray
    examples: Examples
    ood: dict[str, np.ndarray] = field(default_factory=dict)
    own_id: np.ndarray = field(default_factory=lambda: np.array([], str))
    own: np.ndarray = field(default_factory=lambda: np.array([]))
    localization: Localization | None = None
    seconds: Seconds | None = None
    other_look: np.ndarray = field(default_factory=lambda: np.array([]))
    calibrate_look: np.ndarray = field(default_factory=lambda: np.array([]))

    def write(self, path: Path) -> None:
        """result.npz, all or nothing.

        >>> from tempfile import TemporaryDirectory
        >>> none = np.array([])
        >>> result = Result("weights", np.array(["a"]), np.array([0.5]), Examples(none, none, none, none))
        >>> with TemporaryDirectory() as folder:
        ...     result.write(Path(folder, "result.npz"))
        ...     Result.read(Path(folder, "result.npz"), "weights").score.tolist()
        [0.5]
        """
        arrays = {
            "made_from": np.array(self.made_from),
            "case_id": self.case_id,
            "score": self.score,
            "own_id": self.own_id,
            "own": self.own,
            "other_look": self.other_look,
            "calibrate_look": self.calibrate_look,
            "localization": np.array(_text(self.localization)),
            "seconds": np.array(_text(self.seconds)),
            **{f"ood/{kind}": values for kind, values in self.ood.items()},
            **{f"examples/{name}": values for name, values in self.examples.arrays().items()},
        }
        write_arrays(path, arrays)

    @classmethod
    def read(cls, path: Path, made_from: str) -> "Result":
        """What `write` wrote. RunError when it is missing, damaged, or was made from other weights or images.

        >>> Result.read(Path("nowhere", "result.npz"), made_from="")
        Traceback (most recent call last):
            ...
        hilum.errors.RunError: nowhere/result.npz is missing; the stage that writes it has not run
        """
        arrays = read_arrays(path)
        try:
            result = cls(
                str(arrays["made_from"]),
                arrays["case_id"],
                arrays["score"],
                Examples(**_under(arrays, "examples/")),
                _under(arrays, "ood/"),
                arrays["own_id"],
                arrays["own"],
                _part(Localization, arrays["localization"]),
                _part(Seconds, arrays["seconds"]),
                arrays["other_look"],
                arrays["calibrate_look"],
            )
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(f"{path} is damaged ({error})", "run: hilum anomaly RUN") from None
        if result.made_from != made_from:
            raise RunError(f"{path} was made from other weights or images", "run: hilum anomaly RUN")
        return result


def _text(part: Part | None) -> str:
    return "" if part is None else part.model_dump_json()


def _part(kind: type[P], text: np.ndarray) -> P | None:
    return kind.model_validate_json(str(text)) if str(text) else None


def _under(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): arrays[name] for name in arrays if name.startswith(prefix)}
