"""One file = one stage; STAGES, in this order, is the study."""

from hilum.stages import (
    anomaly,
    corruption_training,
    counterfactual,
    embed,
    evaluate,
    explain,
    label_efficiency,
    leakage,
    prepare,
    reliability,
    robustness,
    train,
    unseen_class,
)
from hilum.stages.contract import Context as Context
from hilum.stages.contract import Stage as Stage
from hilum.stages.plugins import plugins

STAGES: tuple[Stage, ...] = (
    prepare.STAGE,
    train.STAGE,
    evaluate.STAGE,
    counterfactual.STAGE,
    robustness.STAGE,
    embed.STAGE,
    explain.STAGE,
    anomaly.STAGE,
    leakage.STAGE,
    reliability.STAGE,  # after anomaly, whose scores are one way to know when to abstain
    label_efficiency.STAGE,
    unseen_class.STAGE,
    corruption_training.STAGE,
    *plugins(),
)


def stage(name: str) -> Stage:
    """The stage of this name.

    >>> stage("embed").needs
    ('train',)
    """
    return next(stage for stage in STAGES if stage.name == name)
