"""A demonstration stage: how bright each task's held-out images are, by label."""

from hilum.artifacts.base import Artifact
from hilum.config import Config as Base
from hilum.errors import DataError
from hilum.stages.contract import Context, Stage


class Config(Base):
    """`split`: the part whose images are measured."""

    split: str = "val"


class Brightness(Artifact):
    """brightness.json: mean grey level by label, 0 (black) to 255 (white)."""

    STAGE = "brightness"
    split: str
    mean_of: dict[str, float]


def run(context: Context, config: Config) -> None:
    """Writes brightness.json of the task."""
    from hilum.data.decode import read_grey

    table = context.cases.table[context.cases.table["case_id"].map(context.split) == config.split]
    if table.empty:
        raise DataError(f"split {config.split!r} has no images", "choose train or val")
    means = {
        str(label): float(sum(read_grey(path).mean() for path in rows["path"]) / len(rows))
        for label, rows in table.groupby("label")
    }
    Brightness(split=config.split, mean_of=means).save(context.folder.path / "brightness.json")


STAGE = Stage(
    name="brightness",
    about="Mean grey level of the held-out images, by label.",
    config=Config,
    run=run,
    artifacts=("brightness.json",),
)
