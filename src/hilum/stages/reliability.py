"""The stage `reliability`: calibration, operating points, prediction sets, selective prediction.

All from predictions.csv; images are predicted again only for dropout and views. The scaling and the conformal
quantiles, fitted on all of val, travel with the model's card.
"""

from typing import TYPE_CHECKING

from hilum.evaluation.config import ReliabilityConfig
from hilum.stages.contract import Context, Stage

if TYPE_CHECKING:
    import numpy as np

    from hilum.evaluation.reliability.design import Design
    from hilum.evaluation.reliability.selective import Scores

FEWEST = 200
"""Bootstrap replicates where the recipe has none: a figure here means little without its interval."""


def run(context: Context, config: ReliabilityConfig) -> None:
    """Writes reliability.json and the card's `calibration` and `conformal`.

    DataError when there is no val split, or val has too few patients of a class.
    """
    from hilum.artifacts.reliability import Reliability
    from hilum.evaluation.reliability.calibration import calibration
    from hilum.evaluation.reliability.card import with_reliability
    from hilum.evaluation.reliability.conformal import conformal
    from hilum.evaluation.reliability.design import Design
    from hilum.evaluation.reliability.operating import net_benefits, operating_points
    from hilum.evaluation.reliability.selective import selective

    folder = context.folder
    card = folder.card()
    design = Design.of(folder.predictions(), tuple(card.classes), config, context.recipe.replicates or FEWEST)
    reliability = Reliability(
        weights_digest=card.weights_digest,
        classes=card.classes,
        judged_on=design.judged_on,
        cross_fitted=design.cross_fitted,
        folds=config.folds,
        n_cases=len(design.judged),
        n_patients=len(set(design.judged.patients)),
        n_fitted=len(design.fit),
        replicates=design.replicates,
        prevalences=list(config.prevalences),
        calibration=calibration(design),
        operating=operating_points(design, card.threshold.rule if card.threshold else None),
        decision_curve=net_benefits(design),
        conformal=conformal(design),
        selective=selective(design, _scores(context, design)),
    )
    reliability.save(folder.reliability_file)
    with_reliability(card, reliability).save(folder.card_file)


def _scores(context: Context, design: "Design") -> "Scores":
    """Confidence scores beyond the probabilities: other runs' models, dropout and views, anomaly scores."""
    from hilum.evaluation.reliability.selective import anomaly_score, ensemble_score, repeated_scores

    scores = ensemble_score(design, context.folder.name)
    if design.config.mc_passes or design.config.views:
        scores |= repeated_scores(design, _Members(context, design.config))
    anomaly = context.run.anomaly
    return {**scores, **(anomaly_score(design, anomaly.scores()) if anomaly.scores_file.exists() else {})}


class _Members:
    """Probabilities "members images classes" of a run's images, the model loaded once."""

    def __init__(self, context: Context, config: ReliabilityConfig) -> None:
        from hilum.data.split import used_cases

        self.config = config
        self.cases = used_cases(context.cases, context.split)
        self.model = context.folder.load_model()

    def __call__(self, ids: list[str], name: str) -> "np.ndarray":
        from hilum.evaluation.wrappers import members_of_images

        return members_of_images(self.model, self.cases, ids, name, self.config.mc_passes, self.config.seed)


STAGE = Stage(
    name="reliability",
    about="Calibration, operating points, prediction sets and selective prediction of each task.",
    config=ReliabilityConfig,
    run=run,
    needs=("evaluate",),
    uses=("anomaly",),
    artifacts=("reliability.json",),
)
