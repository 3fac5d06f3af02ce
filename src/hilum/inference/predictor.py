"""Predictor: from any number of images to typed predictions, in order, with bounded memory.

Images are decoded a few at a time in threads and reduced at once to the size that the model reads; the model works
on batches of 32. An image that can't be read gives an `error` in its place, and the others go on.

A Predictor has one classifier. Further parts are optional: a second classifier of normal vs abnormal (the two must
agree), the intake check (is this a radiograph of the kind at all), guards against out-of-distribution images (one on
the classifier's own layers, and one that scores the image itself), and a painter of attribution pictures.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hilum.ahead import on_cores
from hilum.data.images import Pixels
from hilum.data.labels import HEALTHY
from hilum.errors import ModelError
from hilum.inference.finding_rules import FindingRules, rules_of
from hilum.inference.guard import WEIGHTS_OF_GUARDS, FeatureGuard, guard_of
from hilum.inference.intake import Intake, intake_of
from hilum.inference.intake_features import PIXELS
from hilum.inference.joined import joined
from hilum.inference.memory import memory_in_words
from hilum.inference.p_values import bonferroni
from hilum.inference.painter import Painter
from hilum.inference.prediction import Abnormal, Finding, ModelName, Ood, Prediction
from hilum.inference.reasons import Judged, reason_to_abstain
from hilum.inference.refusal import least_side
from hilum.inference.rules import Decisions, Rules
from hilum.inference.runtimes import Runtime
from hilum.inference.stream import Image, Prepared, Wanted, in_batches, prepared_images
from hilum.lungs.field import Segment
from hilum.threads import cores

if TYPE_CHECKING:  # torch is loaded where a model in torch is: other engines need none
    from hilum.models import ChestModel

Pair = tuple[Prediction, np.ndarray | None]
"""A prediction, and the vector of the image where one is wanted."""

BATCH = 32
"""Images that go through the networks together."""


@dataclass(frozen=True)
class Classifier:
    """A network in some runtime, and the rules of its card. `name`, `digest`: of the model, for its answers; `guard`:
    judges the network's own layers."""

    runtime: Runtime
    rules: Rules | FindingRules
    name: str
    digest: str | None
    guard: FeatureGuard | None = None

    @classmethod
    def of(cls, model: "ChestModel", device: str = "auto", guard: FeatureGuard | None = None) -> "Classifier":
        """A trained model, moved to the device (`choose_device`). ModelError for a damaged card, or a CUDA device
        that is not there.

        >>> from hilum.models import build
        >>> Classifier.of(build("vgg", ("normal", "pneumonia"), Pixels(size=(32, 32))), "cpu").rules.classes
        ('normal', 'pneumonia')
        """
        from hilum.inference.runtimes.torch import TorchRuntime

        card = model.card
        architecture = card.architecture.name if card else type(model).__name__
        name = f"{card.task}/{architecture}" if card and card.task else architecture
        runtime = TorchRuntime(model, device).place()
        rules = rules_of(card) if card else Rules.of(None, model.classes)
        return cls(runtime, rules, name, card.weights_digest if card else None, guard)

    def decide(self, images: Sequence[Prepared]) -> tuple[Decisions, np.ndarray | None]:
        """Decisions for images that could be read, and the p-values "images" of the guard, None without one. The
        network runs once. ModelError when its output is no number.

        >>> from hilum.models import build
        >>> classifier = Classifier.of(build("vgg", ("normal", "pneumonia"), Pixels(size=(32, 32))), "cpu")
        >>> prepared = prepared_images([np.zeros((40, 40), np.uint8)], Wanted([classifier.runtime.pixels]))
        >>> decisions, p_values = classifier.decide(list(prepared))
        >>> decisions.probabilities.shape, p_values
        ((1, 2), None)
        """
        decisions, p_values, _ = self.decide_and_embed(images, ())
        return decisions, p_values

    def decide_and_embed(
        self, images: Sequence[Prepared], layers: Sequence[str]
    ) -> tuple[Decisions, np.ndarray | None, dict[str, np.ndarray]]:
        """The same, and float32 vectors "images dim" of each named layer, from the same pass through the network.

        >>> from hilum.models import build
        >>> classifier = Classifier.of(build("vgg", ("normal", "pneumonia"), Pixels(size=(32, 32))), "cpu")
        >>> prepared = list(prepared_images([np.zeros((40, 40), np.uint8)], Wanted([classifier.runtime.pixels])))
        >>> classifier.decide_and_embed(prepared, ["embedding"])[2]["embedding"].shape
        (1, 128)
        """
        batch = _batch(images, self.runtime.pixels)
        judged = self.guard.layers if self.guard else ()
        asked_for = tuple(dict.fromkeys([*judged, *layers]))
        logits, vectors = (
            self.runtime.embed(batch, asked_for) if asked_for else (self.runtime.logits(batch), {})
        )
        if not np.isfinite(logits).all():
            raise ModelError(f"model {self.name} gives NaN or infinity", "train it again")
        p_values = self.guard.p_values(vectors) if self.guard else None
        return self.rules.decide(logits), p_values, {layer: vectors[layer] for layer in layers}


@dataclass(frozen=True)
class Guard:
    """Is an image of the kind that the model was trained on? `p_values`: normalised float32 "images rows cols" ->
    "images", 0 to 1; an image is flagged when its p-value is at most `rate`."""

    pixels: Pixels
    p_values: Callable[[np.ndarray], np.ndarray]
    rate: float


@dataclass(frozen=True)
class Predictor:
    """One classifier and what may stand beside it; `name`: how its answers name it; `segment`: the engine that marks
    the lungs where a network reads them alone, None: torch.

    With `second` (normal and abnormal), the two answer together (hilum.inference.joined), and the predictor abstains
    where they contradict each other; without it, where the prediction set is uninformative. It abstains as well where
    `intake` or the guards flag an image: `guard`, and the one on the layers of `classifier`. The two guards share
    the rate of one, and that of the intake comes on top. An image that holds no picture is refused (`error`).

    >>> from hilum.models import build
    >>> model = build("vgg", ["normal", "pneumonia"], Pixels(size=(32, 32)), {"blocks": [[4]], "dense": [4]})
    >>> predictor = Predictor(Classifier.of(model, "cpu"))
    >>> [prediction] = predictor.stream([np.eye(64, dtype=np.uint8) * 255])
    >>> list(prediction.probabilities)
    ['normal', 'pneumonia']
    """

    classifier: Classifier
    second: Classifier | None = None
    guard: Guard | None = None
    painter: Painter | None = None
    name: ModelName | None = None
    intake: Intake | None = None
    segment: Segment | None = None

    @classmethod
    def load(cls, source: str | Path, device: str = "auto") -> "Predictor":
        """A trained model as a predictor, with the guard that lies beside its weights, if there is one. `source`: as
        in `hilum.load_model`. ModelError when it is missing or damaged, when the guard belongs to other weights, or
        when a CUDA device was asked for that is not there.

        >>> from importlib.resources import files
        >>> Predictor.load(str(files("hilum") / "weights" / "binary"), "cpu").classes
        ('normal', 'pneumonia')
        """
        from hilum.models import load_model, model_folder

        with memory_in_words("loading the model"):
            model = load_model(source)
            folder = model_folder(source)
            guard = guard_of(folder, model.weights_digest)
            return cls(Classifier.of(model, device, guard), intake=intake_of(folder))

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes in `probabilities`, in order."""
        return self.classifier.rules.classes

    def stream(self, images: Iterable[Image]) -> Iterator[Prediction]:
        """One Prediction for each file or array of `images`, in order, while they are read.

        At most WORKERS images are decoded at a time and WINDOW asked for ahead, however many there are; on the CPU each
        core predicts a batch of its own. Nothing is raised for an image that can't be read: see `Prediction.error`.
        HilumError when memory runs out.

        >>> from importlib.resources import files
        >>> predictor = Predictor.load(str(files("hilum") / "weights" / "binary"), "cpu")
        >>> chance = np.random.default_rng(0)
        >>> noise = chance.integers(0, 256, (300, 300)).astype(np.uint8)
        >>> [prediction.error for prediction in predictor.stream([noise, "gone.png"])]
        [None, 'gone.png is no readable image (no such file or directory); replace the file or take it out']
        """
        yield from (prediction for prediction, _ in self._pairs(images, self._answered))

    def embedded(
        self, images: Iterable[Image], layer: str = "embedding"
    ) -> Iterator[tuple[Prediction, np.ndarray | None]]:
        """The same predictions, each with the float32 vector "dim" of a layer of the classifier, from the same pass;
        None for an image that can't be read. RecipeError for a layer that the network lacks.

        >>> from importlib.resources import files
        >>> predictor = Predictor.load(str(files("hilum") / "weights" / "binary"), "cpu")
        >>> noise = np.random.default_rng(0).integers(0, 256, (300, 300)).astype(np.uint8)
        >>> [None if vector is None else vector.ndim for _, vector in predictor.embedded([noise, "gone.png"])]
        [1, None]
        """
        yield from self._pairs(images, partial(self._answered, layer=layer))

    def _pairs(
        self, images: Iterable[Image], answered: Callable[[list[Prepared]], list[Pair]]
    ) -> Iterator[Pair]:
        rest = in_batches(prepared_images(images, self.wanted()), BATCH)
        first = next(rest, [])
        workers = self._workers() if len(first) == BATCH else 1
        yield from chain.from_iterable(on_cores(answered, chain([first], rest), workers))

    def _workers(self) -> int:
        """One batch for each core; one at a time on a GPU, and where pictures are painted, which needs gradients."""
        return cores() if self.classifier.runtime.device == "cpu" and self.painter is None else 1

    def answered(self, batch: list[Prepared]) -> list[Prediction]:
        """One Prediction for each prepared image, all of them through the networks together. HilumError when memory
        runs out.

        >>> from importlib.resources import files
        >>> predictor = Predictor.load(str(files("hilum") / "weights" / "binary"), "cpu")
        >>> [prediction] = predictor.answered([Prepared("a.png", {}, error="a.png is empty")])
        >>> prediction.error
        'a.png is empty'
        """
        return [prediction for prediction, _ in self._answered(batch)]

    def _answered(self, batch: list[Prepared], layer: str | None = None) -> list[Pair]:
        readable = [image for image in batch if image.error is None]
        with memory_in_words(f"predicting a batch of {len(readable)} images"):
            answers = iter(self._answers(readable, layer) if readable else [])
        name = self._model()
        return [
            next(answers) if image.error is None else (Prediction.failed(image.file, image.error, name), None)
            for image in batch
        ]

    def wanted(self) -> Wanted:
        """What has to be prepared of each image for `answered`.

        >>> from importlib.resources import files
        >>> predictor = Predictor.load(str(files("hilum") / "weights" / "binary"), "cpu")
        >>> [pixels.size for pixels in predictor.wanted().contracts], predictor.wanted().least
        ([(128, 128), (64, 64)], 64)
        """
        own = self.classifier.runtime.pixels
        contracts = [own]
        contracts += [self.second.runtime.pixels] if self.second else []
        contracts += [self.guard.pixels] if self.guard else []
        contracts += [PIXELS] if self.intake else []
        return Wanted(
            list(dict.fromkeys(contracts)),
            keep=self.painter.keep if self.painter else None,
            least=least_side(own.size, self.intake.side if self.intake else None),
            colour=self.intake is not None and not self.intake.colour,
            segment=self.segment,
        )

    def _model(self) -> ModelName:
        return self.name or ModelName(name=self.classifier.name, digest=self.classifier.digest)

    def _answers(self, images: list[Prepared], layer: str | None) -> list[Pair]:
        layers = () if layer is None else (layer,)
        decisions, p, vectors = self.classifier.decide_and_embed(images, layers)
        second = self.second.decide(images)[0] if self.second else None
        judged = self._judged(images, p)
        answers = joined(decisions, second) if second else decisions
        doubts = [self._doubt(row, decisions, second) for row in range(len(images))]
        return [
            (
                self._prediction(image, row, answers, check, doubts[row]),
                None if layer is None else vectors[layer][row],
            )
            for row, (image, check) in enumerate(zip(images, judged, strict=True))
        ]

    def _judged(self, images: list[Prepared], p: np.ndarray | None) -> list[Judged]:
        """What intake and guards say of each image. `p`: the p-values of the guard on the layers, if there is
        one. p = min over all of p_i R / r_i, at a rate R = sum of r_i (Bonferroni with weights); the two guards share
        the rate of one."""
        guards: list[tuple[float, np.ndarray]] = []
        if self.classifier.guard is not None and p is not None:
            guards.append((self.classifier.guard.rate, p))
        if self.guard is not None:
            guards.append((self.guard.rate, self.guard.p_values(_batch(images, self.guard.pixels))))
        weights = WEIGHTS_OF_GUARDS if len(guards) == 2 else None
        ranked = (
            [
                (
                    min(rate for rate, _ in guards),
                    bonferroni(np.stack([values for _, values in guards]), weights),
                )
            ]
            if guards
            else []
        )
        words = [""] * len(images)
        if self.intake is not None:
            values, looks = self.intake.judge(np.stack([image.images[PIXELS] for image in images]))
            ranked.append((self.intake.rate, values))
            words = [
                look if value <= self.intake.rate else "" for value, look in zip(values, looks, strict=True)
            ]
        if not ranked:
            return [Judged(None, "")] * len(images)
        rate = sum(rate for rate, _ in ranked)
        together = np.min([np.minimum(1.0, values * (rate / own)) for own, values in ranked], axis=0)
        flagged = np.any([values <= own for own, values in ranked], axis=0)
        return [
            Judged(Ood(p_value=_rounded(value), flagged=bool(is_flagged)), look)
            for value, is_flagged, look in zip(together, flagged, words, strict=True)
        ]

    def _prediction(
        self, image: Prepared, row: int, decisions: Decisions, judged: Judged, doubt: str
    ) -> Prediction:
        predicted = decisions.predicted[row]
        reason = reason_to_abstain(image, judged) or doubt
        findings = self._findings(decisions.probabilities[row])
        return Prediction(
            file=image.file,
            prediction=None if reason or findings else predicted,
            abstained=bool(reason),
            reason=reason or None,
            abnormal=_abnormal(decisions, row),
            probabilities=None if findings else self._named(decisions.probabilities[row]),
            findings=findings,
            prediction_set=self._set(decisions, row),
            coverage=self.classifier.rules.coverage,
            ood=judged.ood,
            attribution=None if findings else self._paint(image, self.classes.index(predicted)),
            error=None,
            model=self._model(),
        )

    def _named(self, probabilities: np.ndarray) -> dict[str, float]:
        return dict(zip(self.classes, map(_rounded, probabilities), strict=True))

    def _findings(self, probabilities: np.ndarray) -> dict[str, Finding] | None:
        """Each finding; None for a classifier of one class per image."""
        rules = self.classifier.rules
        if not isinstance(rules, FindingRules):
            return None
        stated = zip(rules.classes, probabilities, rules.thresholds, strict=True)
        return {
            name: Finding(
                probability=_rounded(value), threshold=_rounded(limit), positive=bool(value >= limit)
            )
            for name, value, limit in stated
        }

    def _doubt(self, row: int, decisions: Decisions, second: Decisions | None) -> str:
        """Why the classifiers themselves give no class; "" where they do. `decisions`, `second`: each for itself."""
        abnormal = _abnormal(second, row) if second else None
        if second is None or abnormal is None:
            return decisions.uninformative[row]
        predicted = decisions.predicted[row]
        if abnormal.positive == (predicted != HEALTHY):
            return ""
        name = next(name for name in second.classes if name != HEALTHY)
        side = "above" if abnormal.positive else "below"
        return (
            f"The models disagree: P({name}) = {abnormal.probability:.2f} is {side} the threshold "
            f"{abnormal.threshold:.2f}, but the other model predicts {predicted}."
        )

    def _set(self, decisions: Decisions, row: int) -> list[str] | None:
        """Beside a second network the predicted class always joins the set: the decision has two steps, so it may
        be missing, and a larger set holds the true class no less often."""
        if decisions.sets is None:
            return None
        joined = {*decisions.sets[row], *([decisions.predicted[row]] if self.second else [])}
        return [name for name in self.classes if name in joined]

    def _paint(self, image: Prepared, target: int) -> str | None:
        if self.painter is None or image.picture is None:
            return None
        pixels = self.classifier.runtime.pixels
        return self.painter.paint(image.file, image.picture, pixels.normalize(image.images[pixels]), target)


def _batch(images: Sequence[Prepared], pixels: Pixels) -> np.ndarray:
    """Normalised float32 "images rows cols"."""
    return pixels.normalize(np.stack([image.images[pixels] for image in images]))


def _abnormal(decisions: Decisions, row: int) -> Abnormal | None:
    if decisions.abnormal is None or decisions.thresholds is None or decisions.positive is None:
        return None
    return Abnormal(
        probability=_rounded(decisions.abnormal[row]),
        threshold=_rounded(decisions.thresholds[row]),
        positive=bool(decisions.positive[row]),
    )


def _rounded(value: float) -> float:
    return round(float(value), 6)
