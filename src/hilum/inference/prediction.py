"""Prediction: what is said of one image, with the same keys for every model, in Python, as JSON and over HTTP."""

from pydantic import BaseModel, ConfigDict, Field


class Strict(BaseModel):
    """No key more, no key less; a prediction does not change once it is made."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Abnormal(Strict):
    """Normal vs abnormal."""

    probability: float = Field(ge=0, le=1, description="Probability of any abnormal class, calibrated.")
    threshold: float = Field(
        description="Where abnormal begins, on the scale of `probability`. A calibration by class makes it "
        "depend a little on the image."
    )
    positive: bool = Field(description="Whether the image is classified as abnormal.")


class Finding(Strict):
    """One finding, for itself."""

    probability: float = Field(ge=0, le=1, description="Probability that the finding is present, calibrated.")
    threshold: float = Field(description="Where present begins, on the scale of `probability`.")
    positive: bool = Field(description="Whether the finding is present.")


class Ood(Strict):
    """Whether the image is of the kind that the model was trained on."""

    p_value: float = Field(
        ge=0,
        le=1,
        description="Share of held-out images that are at least as unusual as this one; where several checks judge, "
        "the smallest of their shares, each divided by the check's part of the rate, at most 1.",
    )
    flagged: bool = Field(description="True for an out-of-distribution image.")


class ModelName(Strict):
    """Which model has answered."""

    name: str
    digest: str | None = Field(description="Names the weights; null for a model that was never saved.")


class Prediction(Strict):
    """What a model says of one image.

    Either `error` says why the image could not be read or holds no picture, and all parts of the answer are null; or
    the model abstained, `prediction` is null and `reason` says why; or `prediction` is a class; or the model states
    several findings per image, and they are in `findings`. Parts that a model does not have are null: `prediction_set`
    and `coverage` without conformal quantiles, `ood` without intake and guard, `abnormal` without a healthy class,
    `prediction`, `probabilities` and `abnormal` of a model of findings and `findings` of any other, `attribution`
    unless a folder for pictures was given.

    >>> Prediction.failed("x.png", "x.png is empty", ModelName(name="binary", digest=None)).error
    'x.png is empty'
    """

    file: str | None = Field(description="Path of the image; null for an array.")
    prediction: str | None = Field(
        description="The predicted class; null where the model abstains, or states findings instead."
    )
    abstained: bool = Field(description="True where the model gives no class, although the image was read.")
    reason: str | None = Field(description="A sentence: why the model abstains.")
    abnormal: Abnormal | None = Field(
        description="Normal vs abnormal; null for a model without a healthy class."
    )
    probabilities: dict[str, float] | None = Field(
        description="Probability of each class, 0 to 1, calibrated where the model's card says how; null for a model "
        "of findings."
    )
    findings: dict[str, Finding] | None = Field(
        description="Each finding of a model that states several per image; null for a model of one class."
    )
    prediction_set: list[str] | None = Field(
        description="The classes of the conformal prediction set, in the order of the model's classes."
    )
    coverage: float | None = Field(
        description="Share of images like the calibration images whose set holds the true class, 0 to 1."
    )
    ood: Ood | None = Field(description="The intake check and the guards against out-of-distribution images.")
    attribution: str | None = Field(description="Path of a picture: the attribution map over the image.")
    error: str | None = Field(description="A sentence: why the image could not be read, or holds no picture.")
    model: ModelName

    @classmethod
    def failed(cls, file: str | None, error: str, model: ModelName) -> "Prediction":
        """The prediction of an image that could not be read.

        >>> failed = Prediction.failed("x.png", "x.png is empty", ModelName(name="binary", digest=None))
        >>> failed.error, failed.prediction, failed.abstained
        ('x.png is empty', None, False)
        """
        return cls(
            file=file,
            prediction=None,
            abstained=False,
            reason=None,
            abnormal=None,
            probabilities=None,
            findings=None,
            prediction_set=None,
            coverage=None,
            ood=None,
            attribution=None,
            error=error,
            model=model,
        )
