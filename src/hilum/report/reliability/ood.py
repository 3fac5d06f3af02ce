"""The guard on the middle layers: a sentence and a table of what it flags."""

from dataclasses import dataclass

from hilum.artifacts.reliability import Ood, Reliability
from hilum.report.cells import Cell, share_cell
from hilum.report.stated import stated
from hilum.report.wording import count, percent, plural, sentence, split_name


@dataclass(frozen=True)
class Table:
    """`rows`: kind of images and the share flagged; empty where there is no guard."""

    sentence: str
    rows: list[tuple[str, Cell]]


def table(figures: Reliability) -> Table | None:
    """A row for test images and one per kind of altered image; None where the settings leave the guard out.

    >>> from hilum.artifacts.anomaly import OodShare
    >>> noise = OodShare(kind="noise", title="noise", value=0.75, k=3, n=4)
    >>> ood = Ood(rate=0.03, n=400, altered_from="val", altered=[noise])
    >>> made = table(Reliability.model_construct(ood=ood))
    >>> made.rows[0][0], made.rows[0][1].small
    ('Noise', '3/4')
    """
    ood = figures.ood
    if ood is None:
        return None
    if ood.reason:
        return Table(f"There is no guard. {sentence(ood.reason)}", [])
    ordinary = [("Test images as they are", share_cell(ood.test))] if ood.test else []
    altered = [(share.title[0].upper() + share.title[1:], share_cell(share)) for share in ood.altered]
    return Table(_sentence(ood), [*ordinary, *altered])


def _sentence(ood: Ood) -> str:
    look = f" and {count(ood.n_other_look)} of them in the look of other devices" if ood.n_other_look else ""
    test = f" Of the test images it flags {stated(ood.test)}." if ood.test else ""
    altered = (
        f" Altered images are made from {plural(ood.altered[0].n or 0, 'image')} of the"
        f" {split_name(ood.altered_from)} split."
        if ood.altered
        else ""
    )
    return (
        f"The model abstains on an image that its middle layers see farther from the training images than nearly all of"
        f" {count(ood.n)} validation images{look}; of images like these it flags {percent(ood.rate, 0)}.{test}{altered}"
    )
