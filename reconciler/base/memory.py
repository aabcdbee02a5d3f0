"""Memory: when it pays not to look for garbage."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def without_cycle_search() -> Iterator[None]:
    """Keep Python from searching for reference cycles meanwhile.

    What a fleet is read into only grows, and is frozen values without cycles; going through all of it again and again
    takes as long as a third of a dry run over a thousand appliances (`make bench`).
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
