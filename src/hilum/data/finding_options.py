"""Names that several findings per image go by, and what an uncertain one may count as; hilum.data.multilabel has the
rest."""

from typing import Literal

PREFIX = "finding:"
"""Begins the name of a finding's column."""

ABNORMAL, NOT_STATED = "abnormal", "not stated"
"""Labels of images of which only findings are stated, besides normal."""

Uncertain = Literal["not_stated", "present", "absent"]
"""What an uncertain finding counts as in training."""
