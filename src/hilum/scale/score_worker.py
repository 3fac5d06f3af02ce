"""What a worker does, in whichever engine: it holds the model and turns places of images into rows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hilum.scale.score_table import Columns, Precision
from hilum.scale.sources import Ref

TICK = 32
"""So many images pass between two reports of a worker: the predictor's batch."""


@dataclass(frozen=True)
class Settings:
    """What a worker must know. `model`: as in `hilum predict --model`, None for the models of the package;
    `column`: as in `Source`; `runtime`: as in `hilum.serving.predictor.predictor_for`."""

    model: Path | None
    device: str
    embedding: Precision | None
    column: str | None
    runtime: str = "torch"


@dataclass(frozen=True)
class Chunk:
    """Images that one worker does at a time. `number`: its place among all chunks; `left_out`: by position, why an
    image is not read; `singly`: one image after the other, to learn which of them ends the process."""

    number: int
    refs: list[Ref]
    left_out: Mapping[int, str] = field(default_factory=dict)
    singly: bool = False


class Scorer:
    """The model, loaded once. ModelError as in `hilum.serving.predictor.predictor_for`."""

    def __init__(self, settings: Settings) -> None:
        from hilum.serving.predictor import predictor_for

        self.settings = settings
        self.predictor = predictor_for(settings.model, settings.device, settings.runtime)
        self.columns = Columns(self.predictor.classes, settings.embedding)

    def score(self, chunk: Chunk, advance: Callable[[int], None]) -> bytes:
        """The rows of a chunk, as `Columns.chunk`. `advance`: called now and then with the number of images done.

        >>> scorer = Scorer(Settings(None, "cpu", None, None))
        >>> rows = scorer.score(Chunk(0, [Ref("a.png", "file", "gone/a.png")]), lambda done: None)
        >>> scorer.columns.table([rows]).column("error").to_pylist()
        ['a.png is no readable image (no such file or directory); replace the file or take it out']
        """
        from hilum.scale.sources_read import images_of

        images = images_of(chunk.refs, self.settings.column, chunk.left_out)
        answers = []
        for group in ([image] for image in images) if chunk.singly else [images]:
            if self.settings.embedding:
                pairs = self.predictor.embedded(group)
            else:
                pairs = ((prediction, None) for prediction in self.predictor.stream(group))
            for pair in pairs:
                answers.append(pair)
                if chunk.singly or len(answers) % TICK == 0:
                    advance(len(answers))
        return self.columns.chunk(answers)
