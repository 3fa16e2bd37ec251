"""Python's garbage collector in a process that answers: what was loaded at the start stays to the end.

To look through it again and again would keep every caller waiting, a quarter of a second at a time.
"""

import gc

_YOUNG_OBJECTS = 20_000  # of a lot of requests that are scored together; few of them form cycles
_ROUNDS = (50, 100)  # of the youngest, and of the middle generation, before the next is looked through


def spare_what_is_loaded() -> None:
    """Never look through what is here now for garbage, and look through the rest less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, *_ROUNDS)


def free_what_was_replaced() -> None:
    """Look through what came since then once, after another champion was loaded; not on the event loop."""
    gc.collect()
