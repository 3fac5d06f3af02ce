"""Figures as plain text for the terminal. What is printed can be piped: no colour, no bars."""

from hilum.artifacts.base import Figure


def figure_text(figure: Figure | None) -> str:
    """A figure with its interval and counts.

    >>> figure_text(Figure(value=0.9, low=0.8, high=0.95, k=9, n=10))
    '0.900 [0.800, 0.950] 9/10'
    """
    if figure is None or figure.value is None:
        return "not defined"
    text = f"{figure.value:.3f}"
    if figure.low is not None and figure.high is not None:
        text += f" [{figure.low:.3f}, {figure.high:.3f}]"
    elif figure.reason:
        text += f" [{figure.reason}]"
    return f"{text} {figure.counts}".rstrip()
