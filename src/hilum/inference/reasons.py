"""Why a predictor abstains before its classifiers are asked: the image is not of the kind that they know."""

from dataclasses import dataclass

from hilum.inference.prediction import Ood
from hilum.inference.stream import Prepared


@dataclass(frozen=True)
class Judged:
    """What intake and guards say of one image: the answer's `ood`, and what the intake sees where it flags."""

    ood: Ood | None
    words: str


def reason_to_abstain(image: Prepared, judged: Judged) -> str:
    """A sentence; "" where the image is of the kind.

    >>> reason_to_abstain(Prepared("a.png", {}, colour=True), Judged(None, ""))
    'The image is in colour, and the model was trained on grey images.'
    """
    return _in_colour(image) or _out_of_distribution(judged) or _no_lungs(image)


def _no_lungs(image: Prepared) -> str:
    if image.lungs:
        return ""
    return "No lungs were found in the image, and the model reads the part around the lungs."


def _in_colour(image: Prepared) -> str:
    return "The image is in colour, and the model was trained on grey images." if image.colour else ""


def _out_of_distribution(judged: Judged) -> str:
    ood = judged.ood
    if ood is None or not ood.flagged:
        return ""
    why = judged.words or "it is unlike the images that the model was trained on"
    return f"The image is out of distribution (p = {ood.p_value:.3f}): {why}."
