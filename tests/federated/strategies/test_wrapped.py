"""Wrappers of strategies forward every hook of the interface, also those that are added later."""

import inspect

import pytest

from mtmedformer_monai.federated.strategies import (
    PFNM,
    Compressed,
    Distilled,
    KeepLocal,
    KroneckerMerging,
    make_strategy,
)
from mtmedformer_monai.federated.strategies.wrapped import WrappedClient, WrappedServer
from mtmedformer_monai.federated.strategy import ClientRule, ServerRule

WRAPPERS = {
    "compressed": Compressed,
    "distilled": lambda strategy: Distilled(strategy, 3, 1),
    "keep local": lambda strategy: KeepLocal(strategy, ["decoders.*"]),
}


@pytest.mark.parametrize(
    ("wrapper", "interface", "derived"),
    [(WrappedClient, ClientRule, set()), (WrappedServer, ServerRule, {"weights"})],
    ids=["client", "server"],
)
def test_every_method_is_forwarded_but_those_that_follow_from_others(wrapper, interface, derived):
    hooks = {name for name, _ in inspect.getmembers(interface, inspect.isfunction) if not name.startswith("_")}
    assert hooks - set(vars(wrapper)) == derived


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_needs_of_the_wrapped_client_and_properties_of_the_strategy_are_kept(wrap):
    assert wrap(KroneckerMerging(max_images=5)).client().needs_input_gram.max_images == 5
    assert wrap(KroneckerMerging()).sends_sums
    assert not wrap(PFNM()).sends_sums


@pytest.mark.parametrize(
    ("name", "settings", "personal"),
    [
        ("bayesian", {}, True),
        ("bayesian", {"compress": "float16"}, True),
        ("bayesian", {"distillation_rounds": 1, "num_rounds": 3}, True),
        ("fedbn", {}, True),
        ("local", {}, True),
        ("fedavg", {}, False),
        ("fisher", {}, False),
    ],
)
def test_who_infers_with_weights_of_its_own(name, settings, personal):
    assert make_strategy(name, **settings).is_personal == personal
