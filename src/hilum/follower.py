"""What every process of a training by several does, but the first: it takes part, and writes nothing."""

from hilum.data.tasks import task
from hilum.recipe import checked
from hilum.run import Run
from hilum.stages.contract import Context
from hilum.stages.train import Job, train_job
from hilum.training.processes import Processes


def follow(processes: Processes) -> None:
    """Takes part in each training that the first process tells it, until there is none.

    >>> follow(Processes())
    """
    while isinstance(job := processes.tell(None), Job):
        run = Run(job.run)
        cases = run.cases()
        tasks = tuple(task(name, cases.labels, cases.findings) for name in run.split_tasks)
        this = next(each for each in tasks if each.name == job.task)
        train_job(Context(run, cases, checked(run.recipe(), str(run.recipe_file)), tasks, this))
