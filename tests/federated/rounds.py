"""Rounds of a federation with a few clients in one process, and comparison of weights."""

from __future__ import annotations

import torch


def run_rounds(server, sites, count):
    for _ in range(count):
        for index, site in enumerate(sites):
            site.train(server.broadcast(str(index)))
            server.add(site.get_weights(), str(index))
        server.close_round()


def weights_of(site):
    return {name: value.clone() for name, value in site.trainer.network.state_dict().items()}


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=0, atol=0, msg=name)
