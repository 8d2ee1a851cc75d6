"""Command-line options that the benchmarks share."""

from __future__ import annotations

import argparse
import logging

import torch


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """Returns a parser that prints a module's docstring as it is written."""
    return argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)


def add_threads_option(parser: argparse.ArgumentParser) -> None:
    """Adds the number of CPU threads."""
    parser.add_argument("--threads", type=int, default=1, help="number of CPU threads (default %(default)s)")


def prepare_process(threads: int) -> None:
    """Sets the number of CPU threads, and silences informational log messages."""
    torch.set_num_threads(threads)
    logging.disable(logging.INFO)
