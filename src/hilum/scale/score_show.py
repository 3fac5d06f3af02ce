"""What `hilum score` prints when it is done."""

from hilum.inference.show import NOTE
from hilum.scale.score import Scored


def scored_text(scored: Scored) -> str:
    """Images, parts, how many could not be read, and where the table lies.

    >>> from pathlib import Path
    >>> from hilum.scale.parts import Manifest
    >>> manifest = Manifest.model_construct(rows=1200, errors=2, parts=[None])
    >>> print(scored_text(Scored(Path("scores/_manifest.json"), manifest, skipped=1)))
    1,200 images in 1 part, 1 of them finished before.
    2 could not be read; see the column error.
    scores/part-*.parquet, scores/_manifest.json
    Research use only; not a medical device.
    """
    manifest = scored.manifest
    n, folder = len(manifest.parts), scored.path.parent
    before = f", {scored.skipped:,} of them finished before" if scored.skipped else ""
    lines = [
        f"{manifest.rows:,} {_of(manifest.rows, 'image', 'images')} in {n:,} {_of(n, 'part', 'parts')}{before}."
    ]
    if manifest.errors:
        lines.append(f"{manifest.errors:,} could not be read; see the column error.")
    return "\n".join([*lines, f"{folder}/part-*.parquet, {scored.path}", NOTE])


def _of(n: int, single: str, plural: str) -> str:
    return single if n == 1 else plural
