"""Start of a site's process; imports nothing large, so that the process can end with its parent from the start."""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
import warnings
from multiprocessing import connection


def start_process(num_threads: int) -> None:
    """Initializes a process: sets its number of threads, silences logging and ends it with its parent."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import torch

    torch.set_num_threads(num_threads)
    logging.disable(logging.INFO)
    warnings.simplefilter("ignore")


def _end_with_parent() -> None:
    """Ends this process when its parent has ended, so that a killed simulation leaves no processes behind."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
