"""Label efficiency: accuracy by number of labelled patients, of a small network of the last task."""

from hilum.errors import DataError
from hilum.robustness.config import LabelEfficiencyConfig as Config
from hilum.stages.contract import Context, Stage


def run(context: Context, config: Config) -> None:
    """Writes label_efficiency.json of the last task. DataError for another task, and when a fraction leaves a
    class without a patient."""
    from hilum.robustness.label_efficiency import measure_label_efficiency

    last_task_only(context)
    measure_label_efficiency(
        context.folder, context.cases, context.split, context.this_task, config, context.force
    )


def last_task_only(context: Context) -> None:
    """DataError for a task that is not the last one, which has the most classes: one curve is enough."""
    last = context.class_tasks[-1].name
    if context.this_task.name != last:
        raise DataError(f"measured for one task only, {last}")


STAGE = Stage(
    name="label_efficiency",
    about="Accuracy by number of labelled patients, in place of the corruptions.",
    config=Config,
    run=run,
    needs=("prepare",),
    artifacts=("label_efficiency.json",),
    on_request=True,
    version=2,
)
