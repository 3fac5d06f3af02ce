"""Memory that runs out, as one sentence instead of a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager

from hilum.errors import HilumError

_WORDS = ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory")


@contextmanager
def memory_in_words(what: str) -> Iterator[None]:
    """HilumError when memory runs out in the block, in Python (MemoryError) or in torch (a RuntimeError, for CUDA
    and for the CPU). `what`: what the block does, for the sentence. Other errors pass.

    >>> with memory_in_words("loading the model"):
    ...     raise MemoryError
    Traceback (most recent call last):
    ...
    hilum.errors.HilumError: memory ran out while loading the model; close other programs, or use --device cpu ...
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not any(word in str(error).lower() for word in _WORDS):
            raise
        raise HilumError(
            f"memory ran out while {what}", "close other programs, or use --device cpu if a GPU was in use"
        ) from None
