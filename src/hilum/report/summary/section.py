"""Summary: a few sentences and one table for a reader who has five minutes."""

from dataclasses import dataclass

from hilum.artifacts.base import Figure
from hilum.data.tasks import TASKS
from hilum.report.anomaly.figures import summary as anomaly_sentence
from hilum.report.findings.section import headline as findings_headline
from hilum.report.published import published
from hilum.report.results import Results, headline, results
from hilum.report.section import Section
from hilum.report.stated import interval_text, value_text
from hilum.report.summary.shift import shift_sentences
from hilum.report.wording import LEVEL, NOTHING, listing, number, plural, split_name
from hilum.run import Run


@dataclass(frozen=True)
class Row:
    """One task on one held-out split, as the table prints it; `use`: what these images decided."""

    task: str
    anchor: str
    images: str
    use: str
    accuracy: Figure
    auroc: Figure
    published: str


def make(run: Run) -> Section | None:
    """Sentences and table; None before anything was trained.

    >>> from hilum.artifacts.run import RunFacts
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     make(Run.create(place, RunFacts(), {"tasks": {}})) is None
    True
    """
    trained = [result for task in TASKS if (result := results(run, task)) is not None]
    if not trained and not run.task("findings").findings_file.exists():
        return None
    rows = [_row(result, split) for result in trained for split in ("test", "val") if split in result.metrics]
    values = {
        "sentences": _sentences(run, trained),
        "rows": rows,
        "has_published": any(row.published for row in rows),
        "auroc": _auroc(trained),
        "many": any(len(result.classes) > 2 for result in trained),
        "level": LEVEL,
        "value_text": value_text,
        "interval_text": interval_text,
        "nothing": NOTHING,
    }
    return Section("summary", "Summary", "summary/template.html", values)


def _auroc(trained: list[Results]) -> str:
    """What an AUROC of two classes means."""
    if any(result.has_normal for result in trained):
        return "AUROC: probability that an abnormal image scores above a normal one;"
    return "AUROC: probability that an image of a class scores above an image of another;"


def _row(result: Results, split: str) -> Row:
    images = plural(result.metrics[split].n_cases, "image")
    return Row(
        task=result.title,
        anchor=result.task,
        images=f"{split_name(split)}, {images}",
        use="used for no choice" if split == "test" else f"used to choose {listing(result.chosen_on_val)}",
        accuracy=result.metrics[split].accuracy,
        auroc=result.metrics[split].auroc,
        published=published(result, split),
    )


def _sentences(run: Run, trained: list[Results]) -> list[str]:
    """Where validation and test differ; then what was found per task, how independent it is, what shortcuts alone
    reach, and anomaly detection."""
    return [
        *shift_sentences(run, trained),
        *(f"{result.title}: {headline(result)}" for result in trained),
        *_findings(run),
        *([_independence(trained)] if trained else []),
        *_shortcuts(run),
        *([words] if (words := anomaly_sentence(run)) else []),
    ]


def _findings(run: Run) -> list[str]:
    """The means over findings, where a model states several per image."""
    folder = run.task("findings")
    return [f"Findings: {findings_headline(folder.findings())}"] if folder.findings_file.exists() else []


def _independence(trained: list[Results]) -> str:
    """Whether the figures come from images that took no part in any choice, and of other patients."""
    on_val = [result for result in trained if result.split == "val"]
    leaky = [f"“{result.title}”" for result in trained if result.division and result.division.leaky]
    if on_val:
        chosen = listing(list(dict.fromkeys(part for result in on_val for part in result.chosen_on_val)))
        words = (
            f"These are validation figures: the same images were used to choose {chosen}, so the figures are"
            " slightly too high; the data holds no test images."
        )
    else:
        words = "The test images took no part in any choice: weights, epoch and threshold were fixed without them."
    if leaky:
        words += (
            f" The split of {listing(leaky)} leaks: the same patients or images are in training and in"
            " evaluation, so the figures are too high."
        )
    return words


def _shortcuts(run: Run) -> list[str]:
    """What all shortcuts together reach."""
    audit = run.audit()
    if audit is None:
        return []
    parts = [
        f"{together.positive} from {together.negative} with AUROC {_area(together.auroc)}"
        for task, together in audit.joint.items()
        if task in run.tasks
    ]
    if not parts:
        return []
    return [
        f"Simple numbers about file and picture, without the lungs, separate {listing(parts)}; a model has to"
        " exceed this."
    ]


def _area(auroc: Figure) -> str:
    interval = (
        f" ({LEVEL} CI {number(auroc.low, 2)} to {number(auroc.high, 2)})" if auroc.low is not None else ""
    )
    return f"{number(auroc.value, 2)}{interval}"
