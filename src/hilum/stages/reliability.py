"""The stage `reliability`: calibration, operating points, prediction sets, selective prediction, and the guard.

All from predictions.csv; images go through the network again only for dropout, views and the guard. The scaling and
the conformal quantiles, fitted on all of val, travel with the model's card; the guard lies beside its weights.
"""

from typing import TYPE_CHECKING, Any

from hilum.evaluation.config import ReliabilityConfig
from hilum.stages.contract import Context, Stage

if TYPE_CHECKING:
    import numpy as np

    from hilum.artifacts.reliability import IntakeShares, Ood
    from hilum.data.images import Pixels
    from hilum.evaluation.reliability.design import Design
    from hilum.evaluation.reliability.selective import Scores
    from hilum.inference.guard import FeatureGuard
    from hilum.inference.guard_fit import GuardImages
    from hilum.inference.intake import Intake

FEWEST = 200
"""Bootstrap replicates where the recipe has none: a figure here means little without its interval."""


def run(context: Context, config: ReliabilityConfig) -> None:
    """Writes reliability.json, the card's `calibration` and `conformal`, guard.npz and intake.npz beside the weights.

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
    intake, no_intake = _fitted_intake(context, config)
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
        operating=operating_points(design, card.threshold),
        decision_curve=net_benefits(design),
        conformal=conformal(design),
        selective=selective(design, _scores(context, design)),
        ood=_guarded(context, design) if config.ood_rate else None,
        intake=_intake_shares(intake, no_intake, design, context),
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


def _fitted_intake(context: Context, config: ReliabilityConfig) -> "tuple[Intake | None, str]":
    """The intake check, written beside the weights; or None, and why there is none."""
    from hilum.data.split import used_cases
    from hilum.errors import DataError
    from hilum.inference.intake_fit import intake_for
    from hilum.progress import say

    file = context.folder.intake_file
    file.unlink(missing_ok=True)
    if not config.ood_rate:
        return None, ""
    try:
        used = used_cases(context.cases, context.split)
        intake = intake_for(used, context.split, config.guard_other_look)
    except DataError as error:
        say(f"  {context.folder.name}: predictions go without the intake check: {error}")
        return None, str(error)
    intake.save(file)
    return intake, ""


def _intake_shares(
    intake: "Intake | None", reason: str, design: "Design", context: Context
) -> "IntakeShares | None":
    """What the intake check flags, or why there is none; None where the settings leave it out."""
    from hilum.artifacts.reliability import IntakeShares
    from hilum.inference.intake import RATE

    if intake is None:
        return IntakeShares(rate=RATE, reason=reason, altered_from=design.judged_on) if reason else None
    return IntakeShares(rate=intake.rate, n=len(intake.known), **_seen_by(intake, design, context))


def _seen_by(intake: "Intake", design: "Design", context: Context) -> dict[str, Any]:
    """The remaining fields of the artifact: shares of val, of test and of altered images that are flagged."""
    import numpy as np

    from hilum.anomaly.ood_images import KINDS, ood_images
    from hilum.data.split import used_cases
    from hilum.evaluation.reliability.ood import altered_shares
    from hilum.evaluation.shares import share_figure
    from hilum.inference.intake_fit import held_out_images, is_cross_fitted
    from hilum.inference.refusal import least_side

    def flags(images: "np.ndarray") -> "np.ndarray":
        return intake.judge(images)[0] <= intake.rate

    config = design.config
    held_out = held_out_images(used_cases(context.cases, context.split), context.split)
    shares = {part: share_figure(flags(images), patients) for part, (images, patients) in held_out.items()}
    images, patients = held_out[design.judged_on]
    chosen = np.sort(np.random.default_rng(config.seed).permutation(len(images))[: config.ood_images])
    altered = {kind: flags(ood_images(images[chosen], kind, config.seed)) for kind in KINDS}
    titles = {kind: title for kind, (title, _) in KINDS.items()}
    return {
        **shares,
        "fitted_on_val": is_cross_fitted(held_out["val"][1].tolist()),
        "altered_from": design.judged_on,
        "altered": altered_shares(altered, titles, patients[chosen]),
        "fewest_pixels": least_side(context.folder.card().pixels.size, intake.side),
        "colour": not intake.colour,
    }


def _guarded(context: Context, design: "Design") -> "Ood":
    """Fits the guard, writes it and measures it; what it flags, or why there is none."""
    from hilum.artifacts.reliability import Ood
    from hilum.errors import DataError
    from hilum.inference.guard import check_number
    from hilum.inference.guard_fit import fitted_guard

    folder, rate = context.folder, float(design.config.ood_rate or 0)
    folder.guard_file.unlink(missing_ok=True)
    facts = {"rate": rate, "n": len(design.fit), "altered_from": design.judged_on}
    try:
        check_number(len(design.fit), rate)  # before anything goes through the network
        model = folder.load_model()
        guard = fitted_guard(model, _guard_images(context, design, model.pixels), rate)
    except DataError as error:
        return Ood(**facts, reason=str(error), altered=[])
    guard.save(folder.guard_file, folder.card().weights_digest)
    ranked = {"n_other_look": len(guard.known) - len(design.fit)}
    return Ood(**facts, **ranked, **_flagged(guard, design, context))


def _guard_images(context: Context, design: "Design", pixels: "Pixels") -> "GuardImages":
    """Images of train and val. DataError without training images."""
    from hilum.data.split import used_cases
    from hilum.inference.guard_fit import GuardImages

    return GuardImages.of(
        used_cases(context.cases, context.split),
        context.folder.predictions(),
        design.fit.rows["case_id"].tolist(),
        pixels,
        design.config.guard_other_look,
    )


def _flagged(guard: "FeatureGuard", design: "Design", context: Context) -> dict[str, Any]:
    """`test` and `altered` of the artifact. The share of val is the rate by construction."""
    import numpy as np

    from hilum.anomaly.ood_images import KINDS, ood_images
    from hilum.data.cache import ImageCache
    from hilum.data.split import used_cases
    from hilum.evaluation.reliability.ood import altered_shares
    from hilum.evaluation.shares import share_figure
    from hilum.inference.forward import vectors_of

    config, judged, model = design.config, design.judged, context.folder.load_model()
    ids = judged.rows["case_id"].tolist()
    cache = ImageCache.of(used_cases(context.cases, context.split), model.pixels)
    images = np.asarray(cache.images[cache.rows(ids)])

    def flags(images: np.ndarray, what: str) -> np.ndarray:
        return guard.p_values(vectors_of(model, images, guard.layers, what=f"guard: {what}")[1]) <= guard.rate

    test = None if design.cross_fitted else share_figure(flags(images, "test images"), judged.patients)
    chosen = np.sort(np.random.default_rng(config.seed).permutation(len(ids))[: config.ood_images])
    altered = {
        kind: flags(ood_images(images[chosen], kind, config.seed), title)
        for kind, (title, _) in KINDS.items()
    }
    titles = {kind: title for kind, (title, _) in KINDS.items()}
    return {"test": test, "altered": altered_shares(altered, titles, judged.patients[chosen])}


STAGE = Stage(
    name="reliability",
    about="Calibration, operating points, prediction sets, selective prediction and OOD guard of each task.",
    config=ReliabilityConfig,
    run=run,
    needs=("evaluate",),
    uses=("anomaly",),
    artifacts=("reliability.json",),
    version=6,
)
