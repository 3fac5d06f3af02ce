"""Labels of images: the name of the healthy class, how a user's words become labels, and words for 'not known'."""

import re
import unicodedata
from collections.abc import Iterable

HEALTHY = "normal"
"""The name of the class without findings; sources translate 'Healthy', 'No Finding' and the like to it."""

_OF_WHAT = "(?: (?:controls?|cases?|chests?|cxrs?|xrays?|x rays?|lungs?|patients?|people|subjects?|images?))*"
_ALWAYS = re.compile(
    r"(?:\d+ )?(?:(?:normals?|healthy)\d*" + _OF_WHAT + r"|(?:no|without)(?: (?:significant|abnormal))?"
    r" (?:findings?|pathology|pathologies|abnormality|abnormalities|disease)|nofindings?|disease free"
    r"|within normal limits|正常)"
)
_NOT_HEALTHY = re.compile(r"\b(?:not|non|no|un|ab) ?(?:normal|healthy)\b")
_UNSURE = re.compile(
    r"(?:no|not|non|without) (?:sure|labels?|labell?ed|known|available|applicable|specified)"
)
_ALONE = re.compile(
    r"(?:\d+ )?(?:(?:\w+ )*(?:no|non|not|without) \w.*"
    r"|(?:\w+ )*non(?:covid|tb|tuberculosis|pneumonia|cancer|nodule)\w*"
    r"|no|false|absent|neg(?:ative)?(?: for .*)?|.* (?:negative|neg|absent|free)|(?:.* )?controls?)"
)
_MISSING = {
    "", "na", "n/a", "#n/a", "#na", "<na>", "n.a", "n.a.", "nan", "-nan", "null", "none", "nil", "?", "??", "???",
    "-", "--", ".", "missing", "not available",
    "unknown", "not known", "nat",
}  # fmt: skip


def canonical_label(label: str) -> str:
    """Lower case without outer blanks, in Unicode's composed form; every word that always means a healthy person
    becomes 'normal'.

    >>> canonical_label(" No Finding "), canonical_label("VIRUS"), canonical_label("No_findings")
    ('normal', 'virus', 'normal')
    """
    word = unicodedata.normalize("NFC", label).strip().lower()
    return HEALTHY if _ALWAYS.fullmatch(spaced(word)) else word


def spaced(word: str) -> str:
    """A word in lower case with single blanks for all that is no letter or digit, and between two humps.

    >>> spaced("CT_NonCOVID-19")
    'ct non covid 19'
    """
    humps = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", word)
    return " ".join(re.findall(r"[^\W_]+", humps.lower()))


def healthy_among(words: Iterable[str]) -> str | None:
    """The label of healthy people among the labels of a set, as they are written, or None.

    A word that always means it, or else the only label that denies a finding, such as 'non-COVID' beside 'COVID'.
    Beside 'Normal' such a label stays a class of its own: in COVID-QU-Ex 'Non-COVID' is another pneumonia.

    >>> healthy_among(["COVID", "non-COVID"]), healthy_among(["COVID", "Non-COVID", "Normal"])
    ('non-COVID', 'Normal')
    >>> print(healthy_among(["COVID", "Pneumonia"]))
    None
    """
    written = sorted(set(words))
    always = [word for word in written if canonical_label(word) == HEALTHY]
    if always:
        return always[0]
    alone = [word for word in written if _denies(word)]
    labels = {canonical_label(word) for word in alone}
    return alone[0] if len(labels) == 1 and len({canonical_label(word) for word in written}) > 1 else None


def _denies(word: str) -> bool:
    text = spaced(word)
    if _NOT_HEALTHY.search(text) or _UNSURE.match(text):
        return False
    return _ALONE.fullmatch(text) is not None


def is_missing(text: str) -> bool:
    """Whether a cell, or a folder's name, says that a value is not known: empty, NA, NaN, null, none, ? and kin.

    >>> is_missing("N/A"), is_missing(" nan "), is_missing("normal")
    (True, True, False)
    """
    return text.strip().lower() in _MISSING
