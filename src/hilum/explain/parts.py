"""Finished parts of a long job, so that one that was stopped goes on where it was.

Each part is kept under a key of all that it depends on, so a change of one setting makes only its parts again.
"""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from hilum.artifacts.base import Part
from hilum.errors import RunError
from hilum.files import digest, read_json, write_json

Kind = TypeVar("Kind", bound=Part)


class FinishedParts:
    """Parts of one job in one file. `base`: what every part depends on, such as the digest of the weights;
    `force`: nothing that lies there is used.

    >>> from tempfile import mkdtemp
    >>> from hilum.artifacts.explanations import MapRange
    >>> file = Path(mkdtemp()) / "parts.json"
    >>> FinishedParts(file, "weights").get("map", MapRange, 1, lambda: MapRange(lowest=0, highest=1)).highest
    1.0
    >>> FinishedParts(file, "weights").get("map", MapRange, 1, lambda: 1 / 0).highest  # not made again
    1.0
    """

    def __init__(self, file: Path, base: Any, force: bool = False) -> None:
        self.file, self.base = file, base
        self.kept: dict[str, Any] = {} if force else _read(file)

    def get(
        self, name: str, kind: type[Kind], depends: Any, make: Callable[[], Kind], files: Iterable[Path] = ()
    ) -> Kind:
        """The part `name` as it lies there when it was made from the same `depends` (JSON values) and all of
        its `files` exist; otherwise `make()`, which is then kept."""
        key = digest(json.dumps([self.base, depends], sort_keys=True))
        known = self.kept.get(name, {})
        if known.get("key") == key and all(path.exists() for path in files):
            return kind.model_validate(known["result"])
        result = make()
        self.kept[name] = {"key": key, "result": result.model_dump(mode="json")}
        write_json(self.file, self.kept)
        return result


def _read(file: Path) -> dict[str, Any]:
    """Nothing where the file is missing or damaged: every part is then made again."""
    try:
        return read_json(file) if file.exists() else {}
    except RunError:
        return {}
