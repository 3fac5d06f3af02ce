"""docs/cli.md, made from the command line itself: python tests/docs/cli_page.py > docs/cli.md"""

import re
import textwrap
from collections.abc import Iterator
from typing import Any

import typer

from hilum.cli import app

INTRODUCTION = """\
# The command line

This page says what `hilum COMMAND --help` says. Results go to standard output, everything else goes to standard error.

DATA is a folder, a `.csv` or a `.npz` with radiographs, or the word `phantom` for synthetic images. RUN is the folder
of a study.

| exit code | meaning |
|---|---|
| 0 | The command is done. |
| 1 | A stage failed because of a defect; the other stages are done. |
| 2 | The command cannot be done as it was given; one sentence on standard error says why and what to change. |
| 130 | The command was stopped with Ctrl-C. |
"""

SEE_ALSO = {
    "study": ("flow.md", "results.md"),
    "train": ("models.md", "devices.md"),
    "report": ("files.md",),
    "recipe": ("flow.md",),
    "evaluate": ("reliability.md",),
    "reliability": ("reliability.md",),
    "embed": ("embeddings.md",),
    "neighbors": ("embeddings.md",),
    "anomaly": ("anomaly.md",),
    "explain": ("explain.md", "faithfulness.md"),
    "counterfactual": ("shift.md",),
    "robustness": ("robustness.md",),
    "leakage": ("compare.md",),
    "predict": ("predict.md", "models.md", "export.md"),
    "score": ("scale.md", "predict.md"),
    "export": ("export.md",),
    "recalibrate": ("adapt.md",),
    "adapt": ("adapt.md",),
    "compare": ("compare.md",),
    "track": ("track.md",),
}
"""Command -> the pages that say more."""


def commands(command: Any, words: str = "") -> Iterator[tuple[str, Any]]:
    """("study", its command), ..., ("data audit", its command), in the order of `hilum --help`."""
    for name, inner in getattr(command, "commands", {}).items():
        path = f"{words} {name}".strip()
        if getattr(inner, "commands", None):
            yield from commands(inner, path)
        else:
            yield path, inner


def options(command: Any) -> list[Any]:
    """The options of a command without --help."""
    return [each for each in command.params if each.param_type_name == "option" and "--help" not in each.opts]


def page() -> str:
    """The content of docs/cli.md."""
    sections = (section(words, command) for words, command in commands(typer.main.get_command(app)))
    return "\n".join([INTRODUCTION, *sections])


def section(words: str, command: Any) -> str:
    """A heading, the help, a table of the arguments and options, the example, and links."""
    places = [each for each in command.params if each.param_type_name == "argument"]
    names = [f"{each.metavar}{'...' if each.nargs == -1 else ''}" for each in places]
    parts = [" ".join(["## hilum", words, *names])]
    parts += [_wrapped(part) for part in re.split(r"\n\s*\n", command.help.strip())]
    rows = [_row(name, each) for name, each in zip(names, places, strict=True)]
    rows += [_row(", ".join(each.opts), each) for each in options(command)]
    if rows:
        parts.append("\n".join(["| option | meaning |", "|---|---|", *rows]))
    parts.append(f"Example: `{command.epilog.removeprefix('Example:').strip()}`")
    if words in SEE_ALSO:
        parts.append("See also: " + ", ".join(f"[{name}]({name})" for name in SEE_ALSO[words]) + ".")
    return "\n\n".join(parts) + "\n"


def _row(name: str, parameter: Any) -> str:
    default = parameter.default
    shown = (
        f" Default: {default}." if isinstance(default, str | int) and not isinstance(default, bool) else ""
    )
    return f"| `{name}` | {parameter.help}{shown} |".replace("*", r"\*")


def _wrapped(text: str) -> str:
    return "\n".join(
        textwrap.wrap(" ".join(text.split()), 120, break_long_words=False, break_on_hyphens=False)
    )


if __name__ == "__main__":
    print(page(), end="")
