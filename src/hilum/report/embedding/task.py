"""One task's results of the embedding stage, read and checked once."""

from dataclasses import dataclass

import pandas as pd

from hilum.artifacts.embedding import EmbeddingFigures
from hilum.errors import RunError
from hilum.report.wording import count
from hilum.run import Run


@dataclass(frozen=True)
class TaskEmbedding:
    """`images`: a row per image with case_id, patient, split, label, target, predicted, prob_<class> and
    <map>_x, <map>_y; `neighbors`, `suspects`, `duplicates`: the tables of the stage, empty where a part was left
    out."""

    figures: EmbeddingFigures
    images: pd.DataFrame
    neighbors: pd.DataFrame
    suspects: pd.DataFrame
    duplicates: pd.DataFrame

    @property
    def split(self) -> str:
        """The held-out split to quote first.

        >>> figures = EmbeddingFigures.model_construct(images={"train": 90, "val": 10})
        >>> TaskEmbedding(figures, *[pd.DataFrame()] * 4).split
        'val'
        """
        return self.figures.held_out[0]

    @property
    def k(self) -> int:
        """How many neighbours vote.

        >>> from hilum.artifacts.embedding import VectorSpace
        >>> figures = EmbeddingFigures.model_construct(space=VectorSpace.model_construct(k=5))
        >>> TaskEmbedding(figures, *[pd.DataFrame()] * 4).k
        5
        """
        return self.figures.space.k


def task_embedding(run: Run, task: str) -> TaskEmbedding | None:
    """None where the stage has left nothing, or no held-out image was measured.

    RunError when the vectors were made with other weights than the model has, or an image has no prediction.

    >>> from hilum.artifacts.run import RunFacts
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     task_embedding(Run.create(place, RunFacts(), {"tasks": {}}), "binary") is None
    True
    """
    folder = run.task(task)
    files = folder.embeddings
    if not (files.figures_file.exists() and folder.predictions_file.exists()):
        return None
    figures = EmbeddingFigures.load(files.figures_file, folder.card().weights_digest)
    if not figures.held_out:
        return None
    return TaskEmbedding(
        figures,
        _images(run, task),
        files.neighbors(),
        files.suspects() if files.suspects_file.exists() else pd.DataFrame(),
        files.duplicates() if files.duplicates_file.exists() else pd.DataFrame(),
    )


def _images(run: Run, task: str) -> pd.DataFrame:
    projection = run.task(task).embeddings.projection()
    predictions = run.task(task).predictions().drop(columns=["split"])
    unknown = projection.loc[~projection["case_id"].isin(predictions["case_id"]), "case_id"]
    if len(unknown):
        raise RunError(
            f"{count(len(unknown))} cases with a vector have no prediction, the first is {unknown.iloc[0]!r}",
            f"run: hilum evaluate {run.path}, then: hilum embed {run.path}",
        )
    return projection.merge(predictions, on="case_id", validate="one_to_one")
