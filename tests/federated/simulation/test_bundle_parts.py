"""A federation's first weights are random, or those of `start_from`."""

from __future__ import annotations

import pytest
import torch

from mtmedformer_monai.federated.simulation.bundle_parts import initial_weights
from tests.bundles.conftest import ROOT

from .conftest import SMALL

BUNDLE = ROOT / "bundles/chest_xray_multitask"
OVERRIDES = {"network_def#encoder#size": SMALL}


def weights_of(seed=0, **overrides):
    return initial_weights(BUNDLE, OVERRIDES | overrides, seed)


def test_random_weights_depend_on_the_seed_alone():
    one, same, other = weights_of(), weights_of(), weights_of(1)
    for name, value in one.items():
        torch.testing.assert_close(value, same[name])
    assert any(not torch.equal(value, other[name]) for name, value in one.items())


def test_a_federation_starts_from_the_weights_of_a_file(tmp_path):
    """What the file lacks, such as the decoder of a new task, is random, and what only the file has is left out."""
    trained = weights_of(7)
    lacking = [name for name in trained if name.startswith("decoders.finding")]
    kept = {name: value for name, value in trained.items() if name not in lacking}
    torch.save(kept | {"decoders.other.weight": torch.ones(3)}, tmp_path / "model.pt")
    random, found = weights_of(), weights_of(start_from=str(tmp_path / "model.pt"))
    assert list(found) == list(random)
    assert lacking
    for name, value in found.items():
        torch.testing.assert_close(value, random[name] if name in lacking else trained[name])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda weights: {name: value[None] for name, value in weights.items()}, "tensors of another shape"),
        (lambda weights: {"optimizer": {"state": {}}}, "none of its weights"),
        (lambda weights: [1, 2], "none of its weights"),
    ],
    ids=["another size", "another file", "no dict"],
)
def test_another_networks_file_is_refused(tmp_path, content, message):
    torch.save(content(weights_of()), tmp_path / "model.pt")
    with pytest.raises(ValueError, match=f"start_from expects weights of the bundle's network, got .*{message}"):
        weights_of(start_from=str(tmp_path / "model.pt"))


def test_a_missing_file_is_reported(tmp_path):
    with pytest.raises(FileNotFoundError, match="check the path"):
        weights_of(start_from=str(tmp_path / "model.pt"))
