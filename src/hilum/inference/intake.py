"""The intake: is this a picture of the kind that the model was trained on, and not something else altogether?

Two questions are put to a small copy of the image (hilum.inference.intake_features), before and beside the network:
how far is its description from those of the training images, and does it look more like a training image that was
turned, inverted, cut or put together with others than like one as it is? Both descriptions are taken as normally
distributed: one density for the training images, one for each change of them. The larger of the two scores becomes a
conformal p-value among images that took no part in fitting. Nothing here depends on the network.

References
    Ledoit O, Wolf M. A well-conditioned estimator for large-dimensional covariance matrices. J Multivar Anal 88 (2004).
    Bishop CM. Novelty detection and neural network validation. IEE Proc Vis Image Signal Process 141 (1994).
    Hendrycks D, Mazeika M, Kadavath S, Song D. Using self-supervised learning can improve model robustness and
        uncertainty. NeurIPS (2019): changed training images as examples of what is out of distribution.
"""

from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from shutil import copyfile

import numpy as np

from hilum.errors import DataError, ModelError, RunError
from hilum.files import read_arrays, write_arrays
from hilum.inference.guard import check_number
from hilum.inference.intake_features import CHANGES, patterns, statistics
from hilum.inference.p_values import checked_scores, p_values

RATE = 0.02
"""The share of images like the held-out ones that is flagged."""

FILE = "intake.npz"
"""The file beside the weights."""

DIRECTIONS = 56
"""Principal components of the pattern, at most; an eighth of the images where there are fewer."""

MOST = 1500
"""Training images that are described, at most; a choice by the seed where there are more."""

LIMIT = 8.0
"""Standard deviations beyond which a number of the description counts as this far away."""

HIGH = 0.9
"""The two scores are put on one scale by this quantile of theirs."""

FOLDS, FEWEST = 5, 20
"""Of a set too small to hold images out: into how many parts it is divided, and the fewest images."""

SEED = 0
REMEDY = "run: hilum reliability RUN --force, or delete the file to predict without it"


@dataclass(frozen=True)
class Intake:
    """How unlike the training images an image is, as a picture.

    `pattern`: mean pattern "1024"; `directions`: principal components "k 1024"; `centre`, `scale`: of the description
    "dim"; `means`, `roots`: of the densities "densities dim" and "densities dim dim", the one of unchanged images
    first; a root is the upper triangular factor of a precision. `middle`, `width`: of the two scores "2"; `known`:
    sorted scores of held-out images; `side`: rows or columns of the smallest training image; `colour`: whether
    colour images are usual.

    >>> chance = np.random.default_rng(0)
    >>> ramp = np.linspace(0, 120, 64)[:, None] + np.linspace(0, 60, 64) ** 1.1
    >>> images = (ramp + chance.normal(0, 8, (140, 64, 64))).clip(0, 255).astype(np.uint8)
    >>> intake = Intake.fit(images[:80], images[80:], side=300)
    >>> p, words = intake.judge(images[:1, ::-1, ::-1])
    >>> round(float(p[0]), 4), words
    (0.0164, ['it looks like a radiograph upside down'])
    """

    pattern: np.ndarray
    directions: np.ndarray
    centre: np.ndarray
    scale: np.ndarray
    means: np.ndarray
    roots: np.ndarray
    middle: np.ndarray
    width: np.ndarray
    known: np.ndarray
    side: int
    colour: bool = False
    rate: float = RATE

    @classmethod
    def fit(
        cls, train: np.ndarray, held_out: np.ndarray, side: int, colour: bool = False, rate: float = RATE
    ) -> "Intake":
        """The densities of training images and of changed ones, and the scores of held-out images.

        `train`, `held_out`: uint8 "images 64 64" (`hilum.inference.intake_features.PIXELS`). DataError for fewer
        held-out images than the rate needs (`hilum.inference.p_values.fewest`), or for training images that are all
        alike.

        >>> Intake.fit(np.zeros((9, 64, 64), np.uint8), np.zeros((9, 64, 64), np.uint8), 64)
        Traceback (most recent call last):
        hilum.errors.DataError: 9 held-out images are too few to flag 2 % of images; hold out 49 or more, ...
        """
        check_number(len(held_out), rate)
        return cls._fitted(train, side, colour, rate).calibrated(held_out)

    @classmethod
    def cross_fitted(
        cls, images: np.ndarray, patients: np.ndarray, side: int, colour: bool = False
    ) -> "Intake":
        """The densities of all images, and scores of each by densities of other patients' images, in FOLDS parts: for
        sets too small to hold images out. An image of a set of fewer than 49 is flagged when it is more unusual than
        each of these, which is a higher rate.

        `images`: uint8 "images 64 64"; `patients`: "images". DataError for fewer than FEWEST images.

        >>> Intake.cross_fitted(np.zeros((9, 64, 64), np.uint8), np.arange(9), 64)
        Traceback (most recent call last):
        hilum.errors.DataError: 9 images are too few to know what is unusual; bring 20 or more
        """
        if len(images) < FEWEST:
            raise DataError(
                f"{len(images)} images are too few to know what is unusual", f"bring {FEWEST} or more"
            )
        rate = max(RATE, ceil(1e4 / (len(images) + 1)) / 1e4)
        names, number = np.unique(patients, return_inverse=True)
        fold = np.random.default_rng(SEED).permutation(len(names))[number] % FOLDS
        scores = np.zeros((len(images), 2))
        for part in np.unique(fold):
            others = cls._fitted(images[fold != part], side, colour, rate)
            scores[fold == part] = others._two_scores(images[fold == part])[0]
        return cls._fitted(images, side, colour, rate)._ranked_among(scores)

    @classmethod
    def _fitted(cls, train: np.ndarray, side: int, colour: bool, rate: float) -> "Intake":
        """Densities without scores of held-out images."""
        chance = np.random.default_rng(SEED)
        chosen = train[np.sort(chance.permutation(len(train))[:MOST])]
        if len(chosen) < 2 or not np.ptp(chosen, axis=0).any():
            raise DataError("the training images are all alike", "train on images that differ")
        shown = patterns(chosen)
        pattern = shown.mean(0)
        directions = _directions(shown - pattern, min(DIRECTIONS, max(1, len(chosen) // 8)))
        blank = np.zeros(0)
        bare = cls(pattern, directions, blank, blank, blank, blank, blank, blank, blank, side, colour, rate)
        return bare._with_densities(chosen, chance)

    def _with_densities(self, images: np.ndarray, chance: np.random.Generator) -> "Intake":
        described = self._described(images)
        self = replace(self, centre=described.mean(0), scale=described.std(0) + 1e-6)
        densities = [_density(self._standardised(images))]
        for _, change in CHANGES.values():
            densities.append(_density(self._standardised(np.ascontiguousarray(change(images, chance)))))
        means, roots = (np.stack(parts).astype(np.float16) for parts in zip(*densities, strict=True))
        return replace(
            self,
            pattern=self.pattern.astype(np.float16),
            directions=self.directions.astype(np.float16),
            means=means,
            roots=roots,
        )

    def calibrated(self, held_out: np.ndarray) -> "Intake":
        """The same intake with the scores of other held-out images, uint8 "images 64 64".

        >>> from importlib.resources import files
        >>> intake = Intake.load(Path(str(files("hilum"))) / "weights" / "binary" / FILE)
        >>> len(intake.calibrated(np.zeros((5, 64, 64), np.uint8)).known)
        5
        """
        return self._ranked_among(self._two_scores(held_out)[0])

    def _ranked_among(self, scores: np.ndarray) -> "Intake":
        """`scores`: of held-out images "images 2"."""
        middle = np.median(scores, axis=0)
        width = np.maximum(np.quantile(scores, HIGH, axis=0) - middle, 1e-6)
        return replace(self, middle=middle, width=width, known=np.sort(((scores - middle) / width).max(1)))

    def _described(self, images: np.ndarray) -> np.ndarray:
        """float64 "images dim": coefficients of the pattern, log of what they leave, statistics."""
        directions = self.directions.astype(np.float64)
        apart = patterns(images).astype(np.float64) - self.pattern.astype(np.float64)
        coefficients = apart @ directions.T
        left = np.sqrt(((apart - coefficients @ directions) ** 2).mean(1))
        return np.column_stack([coefficients, np.log(left + 1e-3), statistics(images)])

    def _standardised(self, images: np.ndarray) -> np.ndarray:
        """The description in units of the training images' standard deviations, none farther than LIMIT."""
        return np.clip((self._described(images) - self.centre) / self.scale, -LIMIT, LIMIT)

    def _two_scores(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distance to the training images, and log-likelihood ratio of the most likely change, "images 2"; which
        change that is, "images"."""
        described = self._standardised(images)
        squares, logs = [], []
        for mean, root in zip(self.means.astype(np.float64), self.roots.astype(np.float64), strict=True):
            square = (((described - mean) @ root.T) ** 2).sum(1)
            squares.append(square)
            logs.append(np.log(np.abs(np.diag(root))).sum() - square / 2)
        ratios = np.stack(logs[1:], 1) - logs[0][:, None]
        return np.column_stack([np.sqrt(squares[0]), ratios.max(1)]), ratios.argmax(1)

    def judge(self, images: np.ndarray) -> tuple[np.ndarray, list[str]]:
        """Conformal p-values, float64 "images", and in words what each image looks like; uint8 "images 64 64".

        >>> from importlib.resources import files
        >>> intake = Intake.load(Path(str(files("hilum"))) / "weights" / "binary" / FILE)
        >>> noise = np.random.default_rng(0).integers(0, 256, (1, 64, 64)).astype(np.uint8)
        >>> bool(intake.judge(noise)[0][0] < 0.01)
        True
        """
        scores, change = self._two_scores(images)
        apart = (scores - self.middle) / self.width
        looks = [words for words, _ in CHANGES.values()]
        words = [
            f"it looks like {looks[kind]}"
            if ratio > 0
            else "it is unlike any chest radiograph of the training set"
            for kind, ratio in zip(change, scores[:, 1], strict=True)
        ]
        return p_values(apart.max(1), self.known), words

    def save(self, path: Path) -> None:
        """Writes an npz.

        >>> import tempfile
        >>> from importlib.resources import files
        >>> intake = Intake.load(Path(str(files("hilum"))) / "weights" / "binary" / FILE)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     intake.save(Path(folder) / FILE)
        ...     Intake.load(Path(folder) / FILE).side
        224
        """
        arrays = {name: np.asarray(value) for name, value in vars(self).items()}
        write_arrays(path, arrays)

    @classmethod
    def load(cls, path: Path) -> "Intake":
        """The intake in a file. ModelError when it is missing or damaged.

        >>> Intake.load(Path("gone.npz"))
        Traceback (most recent call last):
        hilum.errors.ModelError: gone.npz is no intake check (gone.npz is missing; ...
        """
        try:
            arrays = read_arrays(path)
            side, colour, rate = (arrays.pop(name).item() for name in ("side", "colour", "rate"))
            intake = cls(**arrays, side=int(side), colour=bool(colour), rate=float(rate))
            intake.check()
        except KeyError as error:
            raise ModelError(f"{path} is no intake check (it lacks {error})", REMEDY) from None
        except (RunError, DataError, TypeError, ValueError) as error:
            raise ModelError(f"{path} is no intake check ({error})", REMEDY) from None
        return intake

    def check(self) -> None:
        """DataError when the parts do not fit together, or hold NaN or infinity.

        >>> from importlib.resources import files
        >>> intake = Intake.load(Path(str(files("hilum"))) / "weights" / "binary" / FILE)
        >>> replace(intake, rate=2.0).check()
        Traceback (most recent call last):
        hilum.errors.DataError: a rate of 2 is not between 0 and 1; fit it again
        """
        number, dim = len(CHANGES) + 1, self.centre.size
        shapes = [self.pattern.shape, self.directions.shape[1:], self.means.shape, self.roots.shape]
        wanted = [(1024,), (1024,), (number, dim), (number, dim, dim)]
        if shapes != wanted or self.scale.shape != (dim,) or self.middle.shape != (2,) != self.width.shape:
            raise DataError("its parts do not fit together", "fit it again")
        for array in (self.pattern, self.directions, self.centre, self.scale, self.means, self.roots):
            if not np.isfinite(array).all():
                raise DataError("it holds NaN or infinity", "fit it again")
        if not 0 < self.rate < 1:
            raise DataError(f"a rate of {self.rate:g} is not between 0 and 1", "fit it again")
        checked_scores(self.known, "held-out scores")


def _directions(shown: np.ndarray, count: int) -> np.ndarray:
    """The first principal components "count 1024" of centred patterns."""
    _, directions = np.linalg.eigh(shown.T.astype(np.float64) @ shown)
    return directions[:, ::-1][:, :count].T


def _density(described: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean "dim" and the upper triangular root "dim dim" of the precision, shrunk as by Ledoit and Wolf."""
    from sklearn.covariance import LedoitWolf

    mean = described.mean(0)
    precision = LedoitWolf(assume_centered=True).fit(described - mean).get_precision()
    return mean, np.linalg.cholesky(np.asarray(precision)).T


def intake_of(folder: Path) -> Intake | None:
    """The intake check beside a model's weights; None where there is none. ModelError when it is damaged.

    >>> intake_of(Path("gone")) is None
    True
    """
    file = folder / FILE
    return Intake.load(file) if file.exists() else None


def copy_intake(source: Path, target: Path) -> None:
    """The intake check of one model folder for another; without one in `source`, what lies in `target` stays.

    >>> copy_intake(Path("gone"), Path("anywhere"))
    """
    if (source / FILE).exists():
        copyfile(source / FILE, target / FILE)
