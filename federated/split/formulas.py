"""Traffic per site and round by the papers' formulas, as counts of numbers rather than bytes.

Features (images x tokens x width) are sent in float32, so a number takes 4 bytes. E epochs, n images of a site, N
tokens of an image and D their width where the network is cut, U rounds between averages of heads and tails.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Load:
    """Quantities that determine a site's traffic.

    Attributes:
        epochs: E.
        images: n.
        tokens: N.
        width: D.
        unify_every: U.
    """

    epochs: int
    images: int
    tokens: int
    width: int
    unify_every: int = 1


def fedavg(num_weights: int) -> float:
    """Weights down and up: 2 |theta|."""
    return 2.0 * num_weights


def festa(load: Load, num_head_and_tails: int) -> float:
    """Features and gradients, in both directions: 4 E n N D; heads and tails: 2 |HT| / U (arXiv 2111.01338)."""
    return 4.0 * load.epochs * _map(load) + 2.0 * num_head_and_tails / load.unify_every


def p_festa(load: Load, num_tails: int = 0) -> float:
    """Features down and their gradients up: 2 E n N D (arXiv 2204.03500); tails, if averaged: 2 |T| / U."""
    return 2.0 * load.epochs * _map(load) + 2.0 * num_tails / load.unify_every


def p_festa_once(load: Load) -> float:
    """Features up, when a site joins: n N D."""
    return float(_map(load))


def fesvibs(load: Load, num_head_and_tails: int) -> float:
    """Features up, one token down, their gradients back: 2 E n (N + 1) D; and 2 |HT| / U (arXiv 2306.14638)."""
    tokens = Load(load.epochs, load.images, load.tokens + 1, load.width)
    return 2.0 * load.epochs * _map(tokens) + 2.0 * num_head_and_tails / load.unify_every


def task_agnostic(num_encoder_and_decoder: int) -> float:
    """Encoder and reconstruction decoder, down and up: 2 |encoder + decoder| (arXiv 2406.17235)."""
    return 2.0 * num_encoder_and_decoder


def _map(load: Load) -> int:
    return load.images * load.tokens * load.width
