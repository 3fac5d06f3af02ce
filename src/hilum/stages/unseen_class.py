"""Unseen class: what a small network of the last task predicts for a class that it was never trained on."""

from hilum.robustness.config import UnseenClassConfig as Config
from hilum.stages.contract import Context, Stage
from hilum.stages.label_efficiency import last_task_only


def run(context: Context, config: Config) -> None:
    """Writes unseen_class.json of the last task. DataError for another task, for two classes, and for a class
    that the task does not have."""
    from hilum.robustness.unseen_class import measure_unseen_class

    last_task_only(context)
    measure_unseen_class(
        context.folder, context.run.anomaly, context.cases, context.split, context.this_task, config
    )


STAGE = Stage(
    name="unseen_class",
    about="A network that never saw one class, in place of the corruptions.",
    config=Config,
    run=run,
    needs=("prepare",),
    uses=("anomaly",),
    artifacts=("unseen_class.json",),
    on_request=True,
)
