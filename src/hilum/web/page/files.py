"""The page's own files, read once: what a request names is looked up among them and never becomes a path."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from hilum.files import digest

KINDS = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""Media types by suffix."""


@dataclass(frozen=True)
class StaticFile:
    """`content` as sent, its `media_type`, and `tag`, which names the content."""

    content: bytes
    media_type: str
    tag: str


@cache
def static_files() -> dict[str, StaticFile]:
    """Every static file of the page, by name.

    >>> static_files()["main.js"].media_type
    'text/javascript; charset=utf-8'
    """
    folder = files("hilum.web.page").joinpath("static")
    kinds = {entry.name: entry.name[entry.name.rfind(".") :] for entry in folder.iterdir()}
    return {
        name: _static_file(folder.joinpath(name).read_bytes(), KINDS[kind])
        for name, kind in sorted(kinds.items())
        if kind in KINDS
    }


def _static_file(content: bytes, media_type: str) -> StaticFile:
    return StaticFile(content, media_type, f'"{digest(content.decode())}"')
