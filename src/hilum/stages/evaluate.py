"""The stage `evaluate`: predictions of every case, the operating point from val, figures per split."""

from typing import TYPE_CHECKING

from hilum.config import Config as Base
from hilum.stages.contract import Context, Stage

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from hilum.data.cases import Cases
    from hilum.data.tasks import Task


class Config(Base):
    """Nothing to set here: the threshold rule is part of each task (`tasks.<task>.threshold`), the number of
    bootstrap samples of the study (`replicates`)."""


def run(context: Context, config: Config) -> None:
    """Writes predictions.csv, the threshold in model.json, curves.json and, last, metrics.json; published.json
    where published figures fit the data. For a task of several findings per image predictions.csv, the rules of the
    findings in model.json and, last, findings.json.

    The rule of the task chooses the threshold of a binary task on val, and on val only: on its images as they are, or
    each in the look in which it is harder, its own or that of the other label's devices. Without a val split the
    threshold is 0.5 and the card says so.
    """
    if context.this_task.kind == "multi":
        _evaluate_findings(context)
        return
    from hilum.data.facts import facts_table
    from hilum.evaluation.curves import curves_of
    from hilum.evaluation.evaluate import predicted_classes
    from hilum.evaluation.predictions import metrics_of, predictions_table, threshold_entry
    from hilum.evaluation.seed_report import baseline_for
    from hilum.files import write_table
    from hilum.inference.forward import softmax
    from hilum.progress import advancing

    folder, task, recipe = context.folder, context.this_task, context.recipe
    used, logits = _logits(context)
    table = predictions_table(logits, used, context.split, task, None)
    threshold = threshold_entry(*_to_choose_on(context, table))
    value = threshold.value if threshold else None
    table["predicted"] = predicted_classes(softmax(logits), task.classes, value)
    card = folder.card().model_copy(update={"threshold": threshold})
    write_table(folder.predictions_file, table)
    with advancing(f"{folder.name}: measuring acquisition shortcuts") as advance:
        facts = facts_table(context.cases, advance)
    images = {str(name): int(n) for name, n in context.cases.table["patient"].value_counts().items()}
    digest = card.weights_digest
    metrics = metrics_of(
        table,
        task.classes,
        value,
        digest,
        recipe.replicates,
        facts=facts,
        images_of_patient=images,
        people=_people(context.cases),
    )
    rows = table[table["split"] == metrics.reported]
    card.save(folder.card_file)
    curves_of(rows, task.classes, metrics.reported, digest).save(folder.curves_file)
    published = baseline_for(task.name, context.cases.labels, context.cases.source, digest)
    folder.baseline_file.unlink(missing_ok=True)
    if published is not None:
        published.save(folder.baseline_file)
    metrics.save(folder.metrics_file)


def _people(cases: "Cases") -> "pd.DataFrame":
    """What the data says of each person: case_id and the columns that are there."""
    from hilum.evaluation.subgroups import OF_PERSON

    return cases.table[["case_id", *(name for name in OF_PERSON if name in cases.table)]]


def _to_choose_on(context: Context, table: "pd.DataFrame") -> "tuple[pd.DataFrame, Task, str, str]":
    """What `threshold_entry` takes. `table`: the predictions of the images as they are."""
    from hilum.artifacts.card import IN_BOTH_LOOKS
    from hilum.data.labels import HEALTHY
    from hilum.evaluation.counterfactual.measure import in_harder_look, val_in_other_look

    task, recipe = context.this_task, context.recipe.tasks[context.this_task.name]
    chosen = recipe.threshold_on == "counterfactual" and recipe.threshold != "half"
    healthy = task.classes[0] == HEALTHY  # else no label has "the other devices"
    if not chosen or not healthy or len(task.classes) != 2 or not (table["split"] == "val").any():
        return table, task, recipe.threshold, "val"
    model = context.folder.load_model()
    other = val_in_other_look(model, context.cases, context.split, task)
    harder = in_harder_look(table[table["split"] == "val"], other, HEALTHY)
    return harder, task, recipe.threshold, IN_BOTH_LOOKS


def _evaluate_findings(context: Context) -> None:
    """Writes predictions.csv, the rules of the findings in model.json and, last, findings.json."""
    from hilum.evaluation.findings import findings_metrics, findings_table, rules_of
    from hilum.files import write_table

    folder, task, recipe = context.folder, context.this_task, context.recipe
    used, logits = _logits(context)
    table = findings_table(logits, used, context.split, task)
    rules = rules_of(table, task.classes, recipe.tasks[task.name].threshold)
    card = folder.card().model_copy(update={"findings": rules})
    write_table(folder.predictions_file, table)
    metrics = findings_metrics(table, rules, card.weights_digest, recipe.replicates)
    card.save(folder.card_file)
    metrics.save(folder.findings_file)


def _logits(context: Context) -> "tuple[Cases, np.ndarray]":
    """The cases of train, val and test, and their float64 logits "cases classes"."""
    from hilum.data.cache import ImageCache
    from hilum.data.split import used_cases
    from hilum.inference.forward import logits_of

    used = used_cases(context.cases, context.split)
    model = context.folder.load_model()
    cache = ImageCache.of(used, model.pixels)
    rows = cache.rows(used.table["case_id"].tolist())
    return used, logits_of(model, cache.images, rows, f"{context.folder.name}: predicting")


STAGE = Stage(
    name="evaluate",
    about="Predict every split with the trained model; predictions, metrics and curves.",
    config=Config,
    run=run,
    needs=("train",),
    artifacts=("predictions.csv", "curves.json", "metrics.json"),
    of_findings=("predictions.csv", "findings.json"),
    core=True,
    version=5,
)
