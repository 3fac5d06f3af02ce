"""Labels of images: the one name of the healthy class, and how a user's words become labels."""

HEALTHY = "normal"
"""The name of the class without findings; sources translate 'Healthy', 'No Finding' and the like to it."""

_HEALTHY_WORDS = {"normal", "healthy", "no finding", "no_finding", "no-finding", "negative", "control"}


def canonical_label(label: str) -> str:
    """Lower case without outer blanks; every synonym of normal becomes 'normal'.

    >>> canonical_label(" No Finding "), canonical_label("VIRUS")
    ('normal', 'virus')
    """
    word = label.strip().lower()
    return HEALTHY if word in _HEALTHY_WORDS else word
