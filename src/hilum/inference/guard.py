"""Out-of-distribution images, seen in the classifier's own embedding.

The vectors of the training images of each class are taken as normally distributed, all classes with one covariance. An
image is as unusual as its vector is far from the nearest class mean; its p-value is the rank of that distance among
the distances of held-out images.

References
    Lee K, Lee K, Lee H, Shin J. A simple unified framework for detecting out-of-distribution samples and adversarial
        attacks. NeurIPS (2018), equation 2.
    Ledoit O, Wolf M. A well-conditioned estimator for large-dimensional covariance matrices. J Multivar Anal 88 (2004).
"""

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

LAYER = "embedding"
"""The layer whose vectors are judged: what the head sees."""

REMEDY = "run: hilum reliability RUN --force, or delete the file to predict without a guard"


@dataclass(frozen=True)
class EmbeddingGuard:
    """How unusual an image is for a classifier, by the distance of its vector from the class means.

    `means`: float "classes dim"; `precision`: float "dim dim", the inverse of the covariance that the classes share,
    or a multiple of it; `known`: float64 "images", sorted distances of held-out images; `rate`: an image whose p-value
    is at most this is flagged.

    >>> chance = np.random.default_rng(0)
    >>> train, held_out = chance.normal(size=(200, 4)), chance.normal(size=(99, 4))
    >>> guard = EmbeddingGuard.fit(train, np.zeros(200, int), held_out)
    >>> guard.p_values(np.full((1, 4), 9.0)).tolist()
    [0.01]
    """

    means: np.ndarray
    precision: np.ndarray
    known: np.ndarray
    rate: float = RATE

    @classmethod
    def fit(
        cls, vectors: np.ndarray, targets: np.ndarray, held_out: np.ndarray, rate: float = RATE
    ) -> "EmbeddingGuard":
        """Means, the shared covariance (shrunk as by Ledoit and Wolf) and the distances of held-out images.

        `vectors`: of the training images, "images dim"; `targets`: their classes, int "images"; `held_out`: vectors
        of images that took no part in training, "images dim". DataError for fewer held-out images than the rate needs
        (`hilum.inference.p_values.fewest`), for vectors that are all alike, and for NaN or infinity.

        >>> EmbeddingGuard.fit(np.eye(2), np.array([0, 1]), np.eye(2))
        Traceback (most recent call last):
        hilum.errors.DataError: 2 held-out images are too few to flag 3 % of images; hold out 33 or more, ...
        """
        from sklearn.covariance import LedoitWolf

        check_number(len(held_out), rate)
        values = _checked(vectors)
        means = np.stack([values[targets == number].mean(0) for number in np.unique(targets)])
        spread = values - means[np.searchsorted(np.unique(targets), targets)]
        if not spread.any():
            raise DataError(
                "the embedding of the training images does not vary within a class", "train longer"
            )
        precision = np.asarray(LedoitWolf(assume_centered=True).fit(spread).get_precision(), np.float32)
        guard = cls(means.astype(np.float32), precision, np.zeros(0), rate)
        return guard.calibrated(held_out)

    def calibrated(self, held_out: np.ndarray) -> "EmbeddingGuard":
        """The same guard with the distances of other held-out images, vectors "images dim".

        >>> guard = EmbeddingGuard(np.zeros((1, 2)), np.eye(2), np.zeros(1))
        >>> guard.calibrated(np.array([[3.0, 4.0], [0.0, 1.0]])).known.tolist()
        [1.0, 5.0]
        """
        return replace(self, known=np.sort(self.distances(_checked(held_out))))

    def halved(self, held_out: np.ndarray) -> "EmbeddingGuard":
        """The same guard in float16, with the distances of held-out images, vectors "images dim", measured by the
        rounded numbers. The precision is divided by its largest number: float16 ends at 65504, and p-values do not
        depend on the unit of the distances.

        >>> guard = EmbeddingGuard(np.zeros((1, 2)), 1e6 * np.eye(2), np.zeros(1))
        >>> half = guard.halved(np.array([[3.0, 4.0]]))
        >>> half.precision.dtype.name, half.precision.max(), half.known
        ('float16', np.float16(1.0), array([5.]))
        """
        unit = np.abs(self.precision).max()
        precision = (self.precision / unit).astype(np.float16)
        return replace(self, means=self.means.astype(np.float16), precision=precision).calibrated(held_out)

    def distances(self, vectors: np.ndarray) -> np.ndarray:
        """The Mahalanobis distance of each vector to the nearest class mean, float64 "images", 0 or more.

        `vectors`: "images dim". DataError for vectors of another length.

        >>> guard = EmbeddingGuard(np.array([[0.0, 0.0], [9.0, 9.0]]), np.eye(2), np.zeros(1))
        >>> guard.distances(np.array([[3.0, 4.0], [9.0, 8.0]])).tolist()
        [5.0, 1.0]
        """
        values, precision = np.asarray(vectors, np.float64), self.precision.astype(np.float64)
        if values.ndim != 2 or values.shape[1] != len(precision):
            raise DataError(
                f"vectors of shape {values.shape} are not images x {len(precision)} numbers",
                "give the embedding of the network that the guard was fitted on",
            )
        squares = [
            np.einsum("ij,ij->i", (values - mean) @ precision, values - mean)
            for mean in self.means.astype(np.float64)
        ]
        return np.sqrt(np.maximum(np.min(squares, axis=0), 0.0))

    def p_values(self, vectors: np.ndarray) -> np.ndarray:
        """Conformal p-values, float64 "images", in 1 / (n + 1) ... 1, of vectors "images dim".

        >>> guard = EmbeddingGuard(np.zeros((1, 2)), np.eye(2), np.array([1.0, 2.0, 3.0]))
        >>> guard.p_values(np.array([[0.0, 2.5]])).tolist()
        [0.5]
        """
        return p_values(self.distances(vectors), self.known)

    def save(self, path: Path, weights_digest: str) -> None:
        """Writes an npz with the digest of the weights whose vectors the guard was fitted on.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     EmbeddingGuard(np.zeros((1, 2)), np.eye(2), np.ones(40)).save(Path(folder) / FILE, "abc")
        ...     len(EmbeddingGuard.load(Path(folder) / FILE, "abc").known)
        40
        """
        arrays = {"means": self.means, "precision": self.precision, "known": self.known}
        facts = {"rate": np.array(self.rate), "weights_digest": np.array(weights_digest)}
        write_arrays(path, {**arrays, **facts})

    @classmethod
    def load(cls, path: Path, weights_digest: str) -> "EmbeddingGuard":
        """The guard in a file. ModelError when it is missing or damaged, or was fitted on other weights.

        >>> EmbeddingGuard.load(Path("gone.npz"), "abc")
        Traceback (most recent call last):
        hilum.errors.ModelError: gone.npz is no guard (gone.npz is missing; ...
        """
        try:
            arrays = read_arrays(path)
            made_with = str(arrays["weights_digest"])
            guard = cls(arrays["means"], arrays["precision"], arrays["known"], float(arrays["rate"]))
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

        >>> EmbeddingGuard(np.zeros((2, 3)), np.eye(2), np.ones(40)).check()
        Traceback (most recent call last):
        hilum.errors.DataError: means of shape (2, 3) and a precision of shape (2, 2) do not fit; fit it again
        """
        shapes = self.means.shape, self.precision.shape
        if self.means.ndim != 2 or shapes[1] != (self.means.shape[1],) * 2:
            raise DataError(
                f"means of shape {shapes[0]} and a precision of shape {shapes[1]} do not fit", "fit it again"
            )
        if not (np.isfinite(self.means).all() and np.isfinite(self.precision).all()):
            raise DataError("means or precision hold NaN or infinity", "fit it again")
        if not 0 < self.rate < 1:
            raise DataError(f"a rate of {self.rate:g} is not between 0 and 1", "fit it again")
        checked_scores(self.known, "held-out scores")


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
        raise DataError("the embedding holds NaN or infinity", "train the model again")
    return values
