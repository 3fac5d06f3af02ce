"""The public paediatric set (Kermany et al., doi 10.17632/rscbjbr9sj.2): whether data are of its kind.

Published figures, and what is known of its images, are shown for such data alone.
"""

from collections.abc import Sequence

from hilum.data.labels import HEALTHY

CLASSES = (HEALTHY, "bacteria", "virus")
"""Its labels."""

READERS = ("kaggle", "medmnist")
"""The sources that read it, also with both kinds of pneumonia as one label."""


def is_public_set(labels: Sequence[str], source: str) -> bool:
    """Whether the labels, and the reader where the labels are not its own, are those of the public set.

    The phantom has its labels too: say there that images are synthetic.

    >>> is_public_set(["normal", "bacteria", "virus"], "folder"), is_public_set(["normal", "pneumonia"], "medmnist")
    (True, True)
    >>> is_public_set(["normal", "pneumonia"], "folder"), is_public_set(["covid", "normal"], "kaggle")
    (False, False)
    """
    known = set(labels)
    return known == set(CLASSES) or (source in READERS and known == {HEALTHY, "pneumonia"})
