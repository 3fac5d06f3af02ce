"""The intake check: what is refused before it is judged, and a table of what is flagged."""

from hilum.artifacts.reliability import IntakeShares, Reliability
from hilum.report.cells import share_cell
from hilum.report.reliability.ood import Table
from hilum.report.wording import count, percent, plural, sentence, split_name


def table(figures: Reliability) -> Table | None:
    """A row for validation and test images and one per kind of altered image; None where the settings leave the check
    out.

    >>> from hilum.artifacts.base import Figure
    >>> intake = IntakeShares(rate=0.02, n=400, val=Figure(value=0.02, k=8, n=400), altered_from="val")
    >>> made = table(Reliability.model_construct(intake=intake))
    >>> made.rows[0][0], made.rows[0][1].small
    ('Validation images as they are', '8/400')
    """
    intake = figures.intake
    if intake is None:
        return None
    if intake.reason:
        return Table(f"There is no intake check. {sentence(intake.reason)}", [])
    held_out = {"Validation images as they are": intake.val, "Test images as they are": intake.test}
    rows = [(name, share_cell(share)) for name, share in held_out.items() if share]
    altered = [(share.title[0].upper() + share.title[1:], share_cell(share)) for share in intake.altered]
    return Table(_sentence(intake), [*rows, *altered])


def _sentence(intake: IntakeShares) -> str:
    refused = (
        f"An image of fewer than {count(intake.fewest_pixels)} rows or columns, or without contrast, is refused"
        f"{', and the model abstains on a file in colour' if intake.colour else ''}."
    )
    among = "training and validation images, cross-fitted" if intake.fitted_on_val else "validation images"
    flagged = (
        f"A small copy of every other image is compared with the training images and with changes of them (on the side,"
        f" upside down, inverted, cut, several in one picture); ranked among {count(intake.n)} {among}, images like"
        f" these are flagged at a rate of {percent(intake.rate, 0)}."
    )
    if not intake.altered:
        return f"{refused} {flagged}"
    images = plural(intake.altered[0].n or 0, "image")
    return f"{refused} {flagged} Altered images are made from {images} of the {split_name(intake.altered_from)} split."
