"""Out-of-distribution images, seen in the classifier's own layers.

Vectors from the middle of the network to its last block are taken as normally distributed over the training images,
whatever their class. An image is as unusual as its vector is far from the mean; its p-value is the rank of that
distance among the distances of held-out images. The last layers of all know little but the classes: there an inverted
image or one on its side looks like any other (docs/log.md, 27 November 2026).

So that another device is no reason for a flag, training and held-out images are taken twice, as they are and in the
look of the other label's devices (hilum.inference.guard_fit).

References
    Lee K, Lee K, Lee H, Shin J. A simple unified framework for detecting out-of-distribution samples and adversarial
        attacks. NeurIPS (2018): Mahalanobis distances in several layers.
    Kamoi R, Kobayashi K. Why is the Mahalanobis distance effective for anomaly detection? arXiv:2003.00402 (2020): one
        mean for all classes.
    Ledoit O, Wolf M. A well-conditioned estimator for large-dimensional covariance matrices. J Multivar Anal 88 (2004).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hilum.errors import DataError, ModelError, RunError
from hilum.files import read_arrays, write_arrays
from hilum.inference.p_values import checked_scores, fewest, p_values

RATE = 0.03
"""The share of images like the held-out ones that is flagged."""

FILE = "guard.npz"
"""The file beside the weights."""

DEPTHS = (1 / 2, 2 / 3, 8 / 9)
"""Where in the trunk the layers lie that are judged, as shares of its depth."""

WEIGHTS_OF_GUARDS = (0.9, 0.1)
"""Shares of the rate of false flags: the network's own layers see far more (docs/log.md, "a guard in the middle")."""

REMEDY = "run: hilum reliability RUN --force, or delete the file to predict without a guard"


def layers_to_judge(names: Sequence[str]) -> tuple[str, ...]:
    """The layers of a guard, of all layers of a network from the input to the head.

    >>> layers_to_judge([*(f"features.{place}" for place in range(19)), "pool", "embedding"])
    ('features.9', 'features.12', 'features.16')
    """
    trunk = [name for name in names if name.startswith("features.")]
    return tuple(dict.fromkeys(trunk[round(depth * (len(trunk) - 1))] for depth in DEPTHS))


@dataclass(frozen=True)
class FeatureGuard:
    """How unusual an image is for a classifier, by the distance of its vector from the mean of the training images.

    `layers`: whose vectors are joined, in this order; `mean`: float "dim"; `precision`: float "dim dim", the inverse of
    the covariance, or a multiple of it; `known`: float64 "images", sorted distances of held-out images; `rate`: an
    image whose p-value is at most this is flagged.

    >>> chance = np.random.default_rng(0)
    >>> train, held_out = chance.normal(size=(200, 4)), chance.normal(size=(99, 4))
    >>> guard = FeatureGuard.fit(("features.1",), train, held_out)
    >>> guard.p_values({"features.1": np.full((1, 4), 9.0)}).tolist()
    [0.01]
    """

    layers: tuple[str, ...]
    mean: np.ndarray
    precision: np.ndarray
    known: np.ndarray
    rate: float = RATE

    @classmethod
    def fit(
        cls, layers: Sequence[str], vectors: np.ndarray, held_out: np.ndarray, rate: float = RATE
    ) -> "FeatureGuard":
        """Mean, covariance (of standardised numbers, shrunk as by Ledoit and Wolf) and the distances of held-out
        images.

        `vectors`: of the training images, `joined`, "images dim"; `held_out`: of images that took no part in training,
        "images dim". DataError for fewer held-out images than the rate needs (`hilum.inference.p_values.fewest`),
        for vectors that are all alike, and for NaN or infinity.

        >>> FeatureGuard.fit(("features.1",), np.eye(2), np.eye(2))
        Traceback (most recent call last):
        hilum.errors.DataError: 2 held-out images are too few to flag 3 % of images; hold out 33 or more, ...
        """
        from sklearn.covariance import LedoitWolf

        check_number(len(held_out), rate)
        values = _checked(vectors)
        mean, scale = values.mean(0), values.std(0)
        if not scale.any():
            raise DataError("the layers of the training images do not vary", "train longer")
        scale = np.maximum(scale, 1e-6 * scale.max())
        estimate = LedoitWolf(assume_centered=True).fit((values - mean) / scale)
        precision = np.asarray(estimate.get_precision()) / np.outer(scale, scale)
        guard = cls(tuple(layers), mean.astype(np.float32), precision.astype(np.float32), np.zeros(0), rate)
        return guard.calibrated(held_out)

    def calibrated(self, held_out: np.ndarray) -> "FeatureGuard":
        """The same guard with the distances of other held-out images, vectors "images dim".

        >>> guard = FeatureGuard(("features.1",), np.zeros(2), np.eye(2), np.zeros(1))
        >>> guard.calibrated(np.array([[3.0, 4.0], [0.0, 1.0]])).known.tolist()
        [1.0, 5.0]
        """
        return replace(self, known=np.sort(self.distances(_checked(held_out))))

    def halved(self, held_out: np.ndarray) -> "FeatureGuard":
        """The same guard in float16, with the distances of held-out images, vectors "images dim", measured by the
        rounded numbers. The precision is divided by its largest number: float16 ends at 65504, and p-values do not
        depend on the unit of the distances.

        >>> guard = FeatureGuard(("features.1",), np.zeros(2), 1e6 * np.eye(2), np.zeros(1))
        >>> half = guard.halved(np.array([[3.0, 4.0]]))
        >>> half.precision.dtype.name, half.precision.max(), half.known
        ('float16', np.float16(1.0), array([5.]))
        """
        unit = np.abs(self.precision).max()
        precision = (self.precision / unit).astype(np.float16)
        return replace(self, mean=self.mean.astype(np.float16), precision=precision).calibrated(held_out)

    def joined(self, vectors: Mapping[str, np.ndarray]) -> np.ndarray:
        """The vectors of the guard's layers side by side, "images dim".

        >>> guard = FeatureGuard(("features.1", "pool"), np.zeros(2), np.eye(2), np.zeros(1))
        >>> guard.joined({"pool": np.ones((1, 1)), "features.1": np.zeros((1, 1))}).tolist()
        [[0.0, 1.0]]
        """
        return np.concatenate([vectors[layer] for layer in self.layers], axis=1)

    def distances(self, vectors: np.ndarray) -> np.ndarray:
        """The Mahalanobis distance of each vector from the mean, float64 "images", 0 or more.

        `vectors`: `joined`, "images dim". DataError for vectors of another length.

        >>> guard = FeatureGuard(("features.1",), np.zeros(2), np.eye(2), np.zeros(1))
        >>> guard.distances(np.array([[3.0, 4.0]])).tolist()
        [5.0]
        """
        values, precision = np.asarray(vectors, np.float64), self.precision.astype(np.float64)
        if values.ndim != 2 or values.shape[1] != len(precision):
            raise DataError(
                f"vectors of shape {values.shape} are not images x {len(precision)} numbers",
                "give the layers of the network that the guard was fitted on",
            )
        apart = values - self.mean.astype(np.float64)
        return np.sqrt(np.maximum(np.einsum("ij,ij->i", apart @ precision, apart), 0.0))

    def p_values(self, vectors: Mapping[str, np.ndarray]) -> np.ndarray:
        """Conformal p-values, float64 "images", in 1 / (n + 1) ... 1, of the vectors "images dim" of each layer.

        >>> guard = FeatureGuard(("pool",), np.zeros(2), np.eye(2), np.array([1.0, 2.0, 3.0]))
        >>> guard.p_values({"pool": np.array([[0.0, 2.5]])}).tolist()
        [0.5]
        """
        return p_values(self.distances(self.joined(vectors)), self.known)

    def save(self, path: Path, weights_digest: str) -> None:
        """Writes an npz with the digest of the weights whose vectors the guard was fitted on.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     FeatureGuard(("pool",), np.zeros(2), np.eye(2), np.ones(40)).save(Path(folder) / FILE, "abc")
        ...     len(FeatureGuard.load(Path(folder) / FILE, "abc").known)
        40
        """
        arrays = {"mean": self.mean, "precision": self.precision, "known": self.known}
        facts = {"rate": np.array(self.rate), "weights_digest": np.array(weights_digest)}
        write_arrays(path, {**arrays, **facts, "layers": np.array(self.layers, str)})

    @classmethod
    def load(cls, path: Path, weights_digest: str) -> "FeatureGuard":
        """The guard in a file. ModelError when it is missing or damaged, or was fitted on other weights.

        >>> FeatureGuard.load(Path("gone.npz"), "abc")
        Traceback (most recent call last):
        hilum.errors.ModelError: gone.npz is no guard (gone.npz is missing; ...
        """
        try:
            arrays = read_arrays(path)
            made_with, layers = str(arrays["weights_digest"]), tuple(arrays["layers"].tolist())
            guard = cls(layers, arrays["mean"], arrays["precision"], arrays["known"], float(arrays["rate"]))
            guard.check()
        except KeyError as error:
            raise ModelError(f"{path} is no guard (it lacks {error})", REMEDY) from None
        except (RunError, DataError, TypeError, ValueError) as error:
            raise ModelError(f"{path} is no guard ({error})", REMEDY) from None
        if made_with != weights_digest:
            raise ModelError(f"{path} was fitted on other weights than the model has", REMEDY)
        return guard

    def check(self) -> None:
        """DataError when the parts do not fit together, or hold NaN or infinity.

        >>> FeatureGuard(("pool",), np.zeros(3), np.eye(2), np.ones(40)).check()
        Traceback (most recent call last):
        hilum.errors.DataError: a mean of shape (3,) and a precision of shape (2, 2) do not fit; fit it again
        """
        if self.mean.ndim != 1 or self.precision.shape != (len(self.mean),) * 2:
            shapes = f"a mean of shape {self.mean.shape} and a precision of shape {self.precision.shape}"
            raise DataError(f"{shapes} do not fit", "fit it again")
        if not (np.isfinite(self.mean).all() and np.isfinite(self.precision).all()):
            raise DataError("mean or precision hold NaN or infinity", "fit it again")
        if not 0 < self.rate < 1:
            raise DataError(f"a rate of {self.rate:g} is not between 0 and 1", "fit it again")
        checked_scores(self.known, "held-out scores")


def guard_of(folder: Path, weights_digest: str) -> FeatureGuard | None:
    """The guard beside a model's weights; None where there is none. ModelError when it is damaged or was fitted on
    other weights.

    >>> guard_of(Path("gone"), "") is None
    True
    """
    file = folder / FILE
    return FeatureGuard.load(file, weights_digest) if file.exists() else None


def check_number(held_out: int, rate: float) -> None:
    """DataError when so many held-out images are too few for the rate: no p-value would be small enough.

    >>> check_number(33, 0.03)
    """
    if held_out < fewest(rate):
        raise DataError(
            f"{held_out} held-out images are too few to flag {100 * rate:g} % of images",
            f"hold out {fewest(rate)} or more, or allow a higher rate",
        )


def _checked(vectors: np.ndarray) -> np.ndarray:
    values = np.asarray(vectors, np.float64)
    if not np.isfinite(values).all():
        raise DataError("a layer holds NaN or infinity", "train the model again")
    return values
