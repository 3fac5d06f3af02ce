"""Vectors: what a network makes of each case, with all that is needed to use them safely; vectors.npz."""

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hilum.errors import DataError, ModelError, nearest
from hilum.files import replacing

REMEDY = "run: hilum embed RUN --force"


@dataclass(frozen=True)
class Vectors:
    """Vectors of cases, row by row.

    `case_id` and `split`: text "cases"; `layers`: float16 or float32 "cases dim" by layer name; `logits`:
    float32 "cases classes"; `classes`: names of the logits; `weights_digest`: the model that made them;
    `cases_digest`: the images and the split that they were made from.
    """

    case_id: np.ndarray
    split: np.ndarray
    layers: Mapping[str, np.ndarray]
    logits: np.ndarray
    classes: tuple[str, ...]
    weights_digest: str
    cases_digest: str

    def __len__(self) -> int:
        return len(self.case_id)

    def layer(self, name: str) -> np.ndarray:
        """float32 "cases dim" of one layer. DataError when it was not extracted or holds NaN.

        >>> ids, layers = np.array(["a", "b"]), {"pool": np.eye(2, dtype=np.float16)}
        >>> Vectors(ids, ids, layers, np.eye(2), ("normal", "virus"), "", "").layer("pool").tolist()
        [[1.0, 0.0], [0.0, 1.0]]
        """
        if name not in self.layers:
            raise DataError(f"vectors of layer {name!r} were not extracted", nearest(name, list(self.layers)))
        values = self.layers[name].astype(np.float32)
        check_finite(values, self.case_id, f"layer {name!r}")
        return values

    def write(self, path: Path) -> None:
        """Writes vectors.npz, all or nothing; `read` reads it."""
        arrays: dict[str, Any] = {f"vectors_{name}": values for name, values in self.layers.items()}
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(
                file,
                case_id=self.case_id.astype(str),
                split=self.split.astype(str),
                layers=np.array(list(self.layers)),
                logits=self.logits,
                classes=np.array(self.classes),
                weights_digest=np.array(self.weights_digest),
                cases_digest=np.array(self.cases_digest),
                **arrays,
            )

    @classmethod
    def read(cls, path: Path, weights_digest: str | None = None) -> "Vectors":
        """Reads vectors.npz. DataError when it is missing or damaged, ModelError when another model than
        `weights_digest` made it.

        >>> from tempfile import TemporaryDirectory
        >>> ids, layers = np.array(["a", "b"]), {"pool": np.eye(2, dtype=np.float16)}
        >>> with TemporaryDirectory() as folder:
        ...     Vectors(ids, ids, layers, np.eye(2), ("normal", "virus"), "d", "").write(Path(folder, "vectors.npz"))
        ...     Vectors.read(Path(folder, "vectors.npz"), weights_digest="d").layer("pool").tolist()
        [[1.0, 0.0], [0.0, 1.0]]
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            layers = {str(name): arrays[f"vectors_{name}"] for name in arrays["layers"]}
            vectors = cls(
                arrays["case_id"],
                arrays["split"],
                layers,
                arrays["logits"],
                tuple(arrays["classes"].tolist()),
                str(arrays["weights_digest"]),
                str(arrays["cases_digest"]),
            )
        except FileNotFoundError:
            raise DataError(f"{path} does not exist", REMEDY) from None
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise DataError(f"{path} is damaged ({error})", REMEDY) from None
        vectors._check(path)
        if weights_digest is not None and vectors.weights_digest != weights_digest:
            raise ModelError(
                f"{path} holds vectors of another model (digest {vectors.weights_digest[:8]}, "
                f"the model here has {weights_digest[:8]})",
                REMEDY,
            )
        return vectors

    def _check(self, path: Path) -> None:
        n = len(self.case_id)
        for name, values in {**self.layers, "logits": self.logits}.items():
            if values.ndim != 2 or len(values) != n:
                raise DataError(f"{path}: {name!r} has shape {values.shape} for {n} case ids", REMEDY)
        if len(set(self.case_id.tolist())) != n or "" in self.case_id:
            raise DataError(f"{path}: case ids are empty or occur twice", REMEDY)


def check_finite(values: np.ndarray, case_ids: Sequence[str] | np.ndarray, what: str) -> None:
    """DataError names the first case whose vector holds NaN or infinity.

    >>> check_finite(np.array([[1.0], [np.nan]]), ["a", "b"], "layer 'pool'")
    Traceback (most recent call last):
    hilum.errors.DataError: layer 'pool': 1 of 2 vectors hold NaN or infinity, the first is that of case 'b'...
    """
    bad = np.asarray(~np.isfinite(values).all(axis=1))
    if bad.any():
        raise DataError(
            f"{what}: {int(bad.sum()):,} of {len(bad):,} vectors hold NaN or infinity, "
            f"the first is that of case {str(case_ids[int(bad.argmax())])!r}",
            "train the model again; its weights have diverged",
        )
