"""With --keep: recent images and their answers in SQLite, until they are deleted or become too many.

Images are kept as grey PNG, as they were decoded: no header of theirs is written. Deletion overwrites (secure_delete)
and truncates the write-ahead log, so that nothing stays in the files. A disagreement is also written as a picture and a
row of corrections.csv beside the database, which `hilum study .../corrections.csv` reads as the source "table".
"""

import csv
import io
import json
import secrets
import sqlite3
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hilum.errors import HilumError, nearest
from hilum.files import write_text

POOR = "poor quality"
"""What may be said of an image instead of a label; such a row of the CSV has no label, so that no study reads it."""

MIGRATIONS = (
    """
    CREATE TABLE kept (
        id TEXT PRIMARY KEY, time TEXT NOT NULL, name TEXT, model TEXT NOT NULL, digest TEXT,
        answer TEXT NOT NULL, image BLOB NOT NULL
    );
    """,
    "ALTER TABLE kept ADD COLUMN label TEXT;",
)
"""Each raises PRAGMA user_version by 1; only ever appended to."""

COLUMNS = ("path", "label", "case_id", "quality", "predicted", "model", "digest", "time")


class NotKept(HilumError):
    """An id that is not there."""


class NoSpace(HilumError):
    """The database can't be written."""


class Kept:
    """The kept images in a folder; at most `most`, the oldest go first. HilumError for a database of a newer hilum, or
    one that can't be opened.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     kept = Kept(Path(folder), most=2)
    ...     name = kept.add(b"PNG", {"prediction": "virus"}, "packaged", None, None)
    ...     kept.disagree(name, "normal", ("normal", "virus"))
    ...     print(kept.corrections().splitlines()[1].split(",")[1])
    ...     kept.delete(name)
    ...     len(kept.listed())
    ...     kept.close()
    normal
    0
    """

    def __init__(self, folder: Path, most: int = 500) -> None:
        self.folder, self.most = folder, most
        self.file, self.images, self.csv_file = (
            folder / "kept.sqlite",
            folder / "images",
            folder / "corrections.csv",
        )
        self._lock = threading.Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)
            self._database = sqlite3.connect(self.file, check_same_thread=False, isolation_level=None)
            for pragma in ("journal_mode = WAL", "secure_delete = ON", "busy_timeout = 5000"):
                self._database.execute(f"PRAGMA {pragma}")
        except (OSError, sqlite3.Error) as error:
            raise NoSpace(
                f"{self.file} can't be opened ({error})", "choose another place or free some space"
            ) from None
        self._migrate()

    def _migrate(self) -> None:
        [(version,)] = self._database.execute("PRAGMA user_version").fetchall()
        if version > len(MIGRATIONS):
            raise HilumError(
                f"{self.file} has version {version}, this hilum reads {len(MIGRATIONS)}",
                "use the newer hilum",
            )
        for number, script in enumerate(MIGRATIONS[version:], version + 1):
            self._database.executescript(f"BEGIN; {script} PRAGMA user_version = {number}; COMMIT;")

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """The database, for one thread at a time; what can't be written is one sentence."""
        with self._lock:
            try:
                yield self._database
            except (OSError, sqlite3.Error) as error:
                raise NoSpace(
                    f"{self.file.name} can't be written ({getattr(error, 'strerror', None) or error})",
                    "free some space, or serve without --keep",
                ) from None

    def add(
        self, png: bytes, answer: dict[str, Any], model: str, digest: str | None, name: str | None
    ) -> str:
        """Keeps an image and its answer; the id. NoSpace when it can't be written.

        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     kept = Kept(Path(folder))
        ...     name = kept.add(b"PNG", {"prediction": "virus"}, "packaged", None, None)
        ...     len(name)
        ...     kept.close()
        16
        """
        key = secrets.token_hex(8)
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        with self._open() as database:
            database.execute(
                "INSERT INTO kept (id, time, name, model, digest, answer, image) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (key, now, name, model, digest, json.dumps(answer), png),
            )
            rest = "SELECT id FROM kept WHERE label IS NULL ORDER BY time DESC, rowid DESC LIMIT -1 OFFSET ?"
            old = [row[0] for row in database.execute(rest, (self.most,))]
            database.executemany("DELETE FROM kept WHERE id = ?", [(each,) for each in old])
        return key

    def listed(self) -> list[dict[str, Any]]:
        """What is kept, the newest first: id, time, name, model, answer, label.

        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     kept = Kept(Path(folder))
        ...     name = kept.add(b"PNG", {"prediction": "virus"}, "packaged", None, None)
        ...     kept.listed()[0]["answer"]
        ...     kept.close()
        {'prediction': 'virus'}
        """
        with self._open() as database:
            rows = database.execute(
                "SELECT id, time, name, model, answer, label FROM kept ORDER BY time DESC, rowid DESC"
            ).fetchall()
        names = ("id", "time", "name", "model", "answer", "label")
        return [{**dict(zip(names, row, strict=True)), "answer": json.loads(row[4])} for row in rows]

    def image(self, key: str) -> bytes:
        """The PNG of a kept image. NotKept for an unknown id.

        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     kept = Kept(Path(folder))
        ...     name = kept.add(b"PNG", {"prediction": "virus"}, "packaged", None, None)
        ...     kept.image(name)
        ...     kept.close()
        b'PNG'
        """
        with self._open() as database:
            row = database.execute("SELECT image FROM kept WHERE id = ?", (key,)).fetchone()
        if row is None:
            raise _not_kept(key)
        return row[0]

    def disagree(self, key: str, label: str, labels: tuple[str, ...]) -> None:
        """Writes down what a person says of an image instead: one of `labels`, or "poor quality". NotKept for an
        unknown id, HilumError for another word.

        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     kept = Kept(Path(folder))
        ...     name = kept.add(b"PNG", {"prediction": "virus"}, "packaged", None, None)
        ...     kept.disagree(name, POOR, ("normal", "virus"))
        ...     kept.listed()[0]["label"]
        ...     kept.close()
        'poor quality'
        """
        png, known = self.image(key), [*labels, POOR]
        if label not in known:
            raise HilumError(f"the label {label[:80]!r} is not one of the model", nearest(label[:80], known))
        with self._open() as database:
            self.images.mkdir(exist_ok=True)
            (self.images / f"{key}.png").write_bytes(png)
            database.execute("UPDATE kept SET label = ? WHERE id = ?", (label, key))
            self._write_csv(database)

    def delete(self, key: str) -> None:
        """Deletes an image, its answer and its correction. NotKept for an unknown id.

        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     kept = Kept(Path(folder))
        ...     name = kept.add(b"PNG", {"prediction": "virus"}, "packaged", None, None)
        ...     kept.delete(name)
        ...     kept.listed()
        ...     kept.close()
        []
        """
        with self._open() as database:
            count = database.execute("DELETE FROM kept WHERE id = ?", (key,)).rowcount
            if count:
                (self.images / f"{key}.png").unlink(missing_ok=True)
                self._write_csv(database)
                database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        if not count:
            raise _not_kept(key)

    def delete_all(self) -> int:
        """Deletes everything; how many images there were.

        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     kept = Kept(Path(folder))
        ...     name = kept.add(b"PNG", {"prediction": "virus"}, "packaged", None, None)
        ...     kept.delete_all()
        ...     kept.close()
        1
        """
        with self._open() as database:
            count = database.execute("DELETE FROM kept").rowcount
            for file in self.images.glob("*.png"):
                file.unlink()
            self._write_csv(database)
            database.execute("VACUUM")
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return count

    def _write_csv(self, database: sqlite3.Connection) -> None:
        text = _csv_of(database)
        if text.count("\n") > 1:
            write_text(self.csv_file, text)
        else:
            self.csv_file.unlink(missing_ok=True)

    def corrections(self) -> str:
        """The disagreements as a CSV that the source "table" reads where the folder images lies beside it.

        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     kept = Kept(Path(folder))
        ...     name = kept.add(b"PNG", {"prediction": "virus"}, "packaged", None, None)
        ...     kept.corrections()
        ...     kept.close()
        'path,label,case_id,quality,predicted,model,digest,time\\n'
        """
        with self._open() as database:
            return _csv_of(database)

    def corrections_zip(self) -> bytes:
        """corrections.csv and its images, for another machine.

        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     kept = Kept(Path(folder))
        ...     name = kept.add(b"PNG", {"prediction": "virus"}, "packaged", None, None)
        ...     zipfile.ZipFile(io.BytesIO(kept.corrections_zip())).namelist()
        ...     kept.close()
        ['corrections.csv']
        """
        packed = io.BytesIO()
        with self._open() as database, zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("corrections.csv", _csv_of(database))
            for key, png in database.execute("SELECT id, image FROM kept WHERE label IS NOT NULL"):
                archive.writestr(f"images/{key}.png", png)
        return packed.getvalue()

    def close(self) -> None:
        """Ends the connection.

        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     Kept(Path(folder)).close()
        """
        with self._lock:
            self._database.close()


def _csv_of(database: sqlite3.Connection) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    rows = database.execute(
        "SELECT id, time, model, digest, answer, label FROM kept WHERE label IS NOT NULL ORDER BY time, rowid"
    )
    for key, time, model, digest, answer, label in rows:
        is_poor = label == POOR
        predicted = json.loads(answer).get("prediction") or ""
        cells = (
            "" if is_poor else label,
            f"kept-{key}",
            POOR if is_poor else "",
            predicted,
            model,
            digest or "",
            time,
        )
        writer.writerow([f"images/{key}.png", *cells])
    return text.getvalue()


def _not_kept(key: str) -> NotKept:
    shown = "".join(letter for letter in key[:40] if letter.isalnum())
    return NotKept(f"nothing is kept under {shown!r}", "look at GET /v1/kept")
