"""Threads that wait without spinning, so that a busy machine slows hilum in proportion.

OpenMP's threads spin at every barrier by default. On cores that other work shares, a thread then burns its time
slice waiting for one that has none: two busy loops beside a study on two cores made it six times slower. Asleep
at barriers they lose little on free cores (benchmarks/busy.py prints both). The number of threads stays: it is
part of what makes a figure repeatable to the last digit, and run.json records it.
"""

import os
import sys


def wait_passively() -> bool:
    """Asks OpenMP to let waiting threads sleep, unless the user has chosen; false when torch is loaded already
    and it is too late.

    >>> wait_passively() or "torch" in sys.modules
    True
    """
    if "torch" in sys.modules:
        return False
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    return True
