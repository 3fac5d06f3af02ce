"""The headings of the tasks' sections."""

TITLES = {"binary": "Normal vs pneumonia", "multiclass": "Bacterial vs viral"}


def title_of(task: str) -> str:
    """The heading of a task; a task that is not known here is its own heading.

    >>> title_of("binary"), title_of("other")
    ('Normal vs pneumonia', 'other')
    """
    return TITLES.get(task, task)
