"""Threads that a process can't do without."""

import logging
import os
import threading
from collections.abc import Callable


def start(name: str, run: Callable[[], None]) -> threading.Thread:
    """A started thread that ends the whole process if `run` raises.

    Otherwise callers would wait for ever for answers that nobody makes. Triton 24.10 does not replace the process of a
    decoupled model: it answers every later request with "Stub process is not healthy" until the model is unloaded and
    loaded again. So this is for faults in our own code only.
    """
    thread = threading.Thread(target=_guard, args=(name, run), name=name, daemon=True)
    thread.start()
    return thread


def _guard(name: str, run: Callable[[], None]) -> None:
    try:
        run()
    except BaseException:
        logging.getLogger(__name__).critical("thread %s died, and the process with it", name, exc_info=True)
        os._exit(1)
