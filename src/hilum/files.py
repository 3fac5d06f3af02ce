"""Writing files so that a crash never leaves an incomplete one, and naming contents by digest.

A file is written beside its final name and renamed: a reader sees the old file or the new one.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

from hilum.errors import DataError, RunError

if TYPE_CHECKING:  # numpy and pandas are loaded by the functions that need them: settings and help do not
    import numpy as np
    import pandas as pd


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path`; on success it takes the final name, on failure it is removed.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(Path(folder) / "a.txt") as temporary:
    ...         _ = temporary.write_text("whole")
    ...     (Path(folder) / "a.txt").read_text()
    'whole'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name[:40]}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)  # mkstemp makes 0600, which would hide the file from colleagues
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text, all or nothing.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_text(Path(folder) / "new" / "a.txt", "α")
    ...     (Path(folder) / "new" / "a.txt").read_bytes()
    b'\\xce\\xb1'
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Writes readable JSON, all or nothing. NaN is refused: use None for a figure that does not exist.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_json(Path(folder) / "a.json", {"n": 1})
    ...     read_json(Path(folder) / "a.json")
    {'n': 1}
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Reads JSON; RunError with the place when it is missing or damaged.

    >>> read_json(Path("gone.json"))
    Traceback (most recent call last):
    hilum.errors.RunError: gone.json is missing; the stage that writes it has not run
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"{path} is missing", "the stage that writes it has not run") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RunError(f"{path} is damaged ({error})", "delete it and run the stage again") from None


def write_table(path: Path, table: "pd.DataFrame") -> None:
    """Writes a CSV without index, all or nothing; numbers keep nine significant digits.

    >>> import pandas
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_table(Path(folder) / "a.csv", pandas.DataFrame({"case_id": ["007"], "score": [1 / 3]}))
    ...     read_table(Path(folder) / "a.csv", case_id=str).values.tolist()
    [['007', 0.333333333]]
    """
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.9g")


def read_table(path: Path, /, **types: Any) -> "pd.DataFrame":
    """Reads a CSV that hilum wrote. Ids and names stay text even when they look like numbers.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / "a.csv").write_text("case_id,score\\n007,0.5\\n")
    ...     read_table(Path(folder) / "a.csv", case_id=str).values.tolist()
    [['007', 0.5]]
    """
    import pandas as pd

    try:
        return pd.read_csv(path, dtype=types or None, keep_default_na=False, na_values=[""])
    except FileNotFoundError:
        raise RunError(f"{path} is missing", "the stage that writes it has not run") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} is not a readable CSV ({error})", "write it as comma-separated UTF-8"
        ) from None


def write_arrays(path: Path, arrays: "dict[str, np.ndarray]") -> None:
    """Writes a compressed .npz without pickles, all or nothing.

    >>> import numpy
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_arrays(Path(folder) / "a.npz", {"map": numpy.eye(2)})
    ...     read_arrays(Path(folder) / "a.npz")["map"].tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    import numpy as np

    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def read_arrays(path: Path) -> "dict[str, np.ndarray]":
    """Reads an .npz; RunError with the place when it is missing or damaged.

    >>> read_arrays(Path("gone.npz"))
    Traceback (most recent call last):
    hilum.errors.RunError: gone.npz is missing; the stage that writes it has not run
    """
    import numpy as np

    try:
        with Path(path).open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise RunError(f"{path} is missing", "the stage that writes it has not run") from None
    except (ValueError, OSError, EOFError, BadZipFile) as error:
        raise RunError(f"{path} is damaged ({error})", "delete it and run the stage again") from None


def digest(*parts: str | bytes) -> str:
    """32 hexadecimal digits that name a content (BLAKE2b); parts are kept apart, so ('ab','c') != ('a','bc').

    >>> digest("ab", "c") == digest("a", "bc")
    False
    """
    state = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        state.update(len(data).to_bytes(8, "little"))
        state.update(data)
    return state.hexdigest()


def digest_of_file(path: Path) -> str:
    """The digest of a file's bytes; the same bytes under another name give the same digest.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / "a.txt").write_text("same"), (Path(folder) / "b.txt").write_text("same")
    ...     digest_of_file(Path(folder) / "a.txt") == digest_of_file(Path(folder) / "b.txt")
    True
    """
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def cache_folder() -> Path:
    """Where decoded images and generated phantoms are kept: $HILUM_CACHE, else ~/.cache/hilum.

    >>> from unittest.mock import patch
    >>> with patch.dict(os.environ, HILUM_CACHE="/data/cache"):
    ...     cache_folder().as_posix()
    '/data/cache'
    """
    return Path(os.environ.get("HILUM_CACHE") or Path.home() / ".cache" / "hilum")
