"""Counterfactual: each task's network on held-out images in the look of the other label's devices."""

from hilum.evaluation.counterfactual.config import CounterfactualConfig as Config
from hilum.stages.contract import Context, Stage


def run(context: Context, config: Config) -> None:
    """Writes counterfactual.csv and, last, counterfactual.json of the task. DataError when no image is held out
    or no label is healthy."""
    from hilum.evaluation.counterfactual.measure import measure
    from hilum.files import write_table

    folder = context.folder
    threshold = folder.card().threshold_value
    model = folder.load_model()
    result = measure(model, threshold, context.cases, context.split, context.this_task, config)
    write_table(folder.counterfactual_predictions_file, result.predictions)
    result.figures.save(folder.counterfactual_file)


STAGE = Stage(
    name="counterfactual",
    about="Held-out images in the look of the other label's devices.",
    config=Config,
    run=run,
    version=2,
    needs=("evaluate",),
    artifacts=("counterfactual.csv", "counterfactual.json"),
)
