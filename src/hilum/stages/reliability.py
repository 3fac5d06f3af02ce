"""The stage `reliability`: calibration, operating points, prediction sets, selective prediction, and the guard.

All from predictions.csv; images go through the network again only for dropout, views and the guard. The scaling and
the conformal quantiles, fitted on all of val, travel with the model's card; the guard lies beside its weights.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hilum.evaluation.config import ReliabilityConfig
from hilum.stages.contract import Context, Stage

if TYPE_CHECKING:
    import numpy as np

    from hilum.artifacts.reliability import Ood
    from hilum.data.cache import ImageCache
    from hilum.evaluation.reliability.design import Design
    from hilum.evaluation.reliability.selective import Scores
    from hilum.inference.guard import EmbeddingGuard
    from hilum.models import ChestModel

FEWEST = 200
"""Bootstrap replicates where the recipe has none: a figure here means little without its interval."""


def run(context: Context, config: ReliabilityConfig) -> None:
    """Writes reliability.json, the card's `calibration` and `conformal`, and guard.npz beside the weights.

    A guard that cannot be fitted is left out with its reason. DataError when there is no val split, or val has too
    few patients of a class.
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
    _fit_intake(context, config)
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
        ood=_guarded(context, design) if config.ood_rate else None,
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


# -- intake and guard -----------------------------------------------------------------------------------------------


def _fit_intake(context: Context, config: ReliabilityConfig) -> None:
    """Writes the intake check beside the weights; says why there is none."""
    from hilum.data.split import used_cases
    from hilum.errors import DataError
    from hilum.inference.intake_fit import intake_for
    from hilum.progress import say

    file = context.folder.intake_file
    file.unlink(missing_ok=True)
    if not config.ood_rate:
        return
    try:
        intake_for(used_cases(context.cases, context.split), context.split).save(file)
    except DataError as error:
        say(f"  {context.folder.name}: predictions go without the intake check: {error}")


def _guarded(context: Context, design: "Design") -> "Ood":
    """Fits the guard, writes it and measures it; what it flags, or why there is none."""
    from hilum.artifacts.reliability import Ood
    from hilum.errors import DataError
    from hilum.inference.guard import check_number

    folder, rate = context.folder, float(design.config.ood_rate or 0)
    folder.guard_file.unlink(missing_ok=True)
    facts = {"rate": rate, "n": len(design.fit), "altered_from": design.judged_on}
    try:
        check_number(len(design.fit), rate)  # before anything goes through the network
        embedded = _Embedded.of(context)
        guard = _fitted_guard(context, design, embedded, rate)
    except DataError as error:
        return Ood(**facts, reason=str(error), altered=[])
    guard.save(folder.guard_file, folder.card().weights_digest)
    return Ood(**facts, **_flagged(guard, design, embedded))


@dataclass(frozen=True)
class _Embedded:
    """Vectors of a run's images, the model loaded once."""

    model: "ChestModel"
    cache: "ImageCache"

    @classmethod
    def of(cls, context: Context) -> "_Embedded":
        from hilum.data.cache import ImageCache
        from hilum.data.split import used_cases

        model = context.folder.load_model()
        return cls(model, ImageCache.of(used_cases(context.cases, context.split), model.pixels))

    def vectors(self, images: "np.ndarray", what: str, rows: "np.ndarray | None" = None) -> "np.ndarray":
        """float32 "images dim" of prepared images."""
        from hilum.inference.forward import vectors_of
        from hilum.inference.guard import LAYER

        return vectors_of(self.model, images, [LAYER], rows, f"guard: {what}")[1][LAYER]

    def of_cases(self, ids: list[str], what: str) -> "np.ndarray":
        """The same of cases of the run."""
        return self.vectors(self.cache.images, what, self.cache.rows(ids))


def _fitted_guard(context: Context, design: "Design", embedded: _Embedded, rate: float) -> "EmbeddingGuard":
    """Means and covariance from train, held-out distances from val. DataError without training images."""
    import pandas as pd

    from hilum.errors import DataError
    from hilum.inference.guard import EmbeddingGuard

    predictions = context.folder.predictions()
    train = predictions[predictions["split"] == "train"]
    if train.empty:
        raise DataError("predictions.csv has no training images to fit a guard on", "run: hilum evaluate RUN")
    targets = pd.Index(list(design.fit.classes)).get_indexer(pd.Index(train["target"]))
    held_out = embedded.of_cases(design.fit.rows["case_id"].tolist(), "validation images")
    return EmbeddingGuard.fit(
        embedded.of_cases(train["case_id"].tolist(), "training images"), targets, held_out, rate
    )


def _flagged(guard: "EmbeddingGuard", design: "Design", embedded: _Embedded) -> dict[str, Any]:
    """`test` and `altered` of the artifact. The share of val is the rate by construction."""
    import numpy as np

    from hilum.anomaly.ood_images import KINDS, ood_images
    from hilum.evaluation.reliability.ood import altered_shares
    from hilum.evaluation.shares import share_figure

    config, judged = design.config, design.judged
    ids = judged.rows["case_id"].tolist()

    def flags(vectors: np.ndarray) -> np.ndarray:
        return guard.p_values(vectors) <= guard.rate

    test = None
    if not design.cross_fitted:
        ordinary = flags(embedded.of_cases(ids, "test images"))
        test = share_figure(ordinary, judged.patients)
    chosen = np.sort(np.random.default_rng(config.seed).permutation(len(ids))[: config.ood_images])
    images = np.asarray(embedded.cache.images[embedded.cache.rows([ids[place] for place in chosen])])
    altered = {
        kind: flags(embedded.vectors(ood_images(images, kind, config.seed), title))
        for kind, (title, _) in KINDS.items()
    }
    titles = {kind: title for kind, (title, _) in KINDS.items()}
    shares = altered_shares(altered, titles, judged.patients[chosen])
    return {"test": test, "altered": shares}


STAGE = Stage(
    name="reliability",
    about="Calibration, operating points, prediction sets, selective prediction and OOD guard of each task.",
    config=ReliabilityConfig,
    run=run,
    needs=("evaluate",),
    uses=("anomaly",),
    artifacts=("reliability.json",),
    version=3,
)
