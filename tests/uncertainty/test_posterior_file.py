from dataclasses import replace

import pytest
import torch
from torch import nn

from mtmedformer_monai.federated.pvi import PVI
from mtmedformer_monai.federated.pvi.weight_posterior import from_broadcast
from mtmedformer_monai.uncertainty.posterior_file import (
    Provenance,
    WeightPosterior,
    check_fit,
    fingerprint_of,
    load_posterior,
    save_posterior,
)


def make_network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))


def make_posterior(network):
    torch.manual_seed(1)
    weights = dict(network.named_parameters())
    precision = {name: 10 ** (4 * torch.rand_like(value)) for name, value in weights.items()}
    precision["2.weight"] = torch.zeros(1, 8)
    precision["0.bias"][2:4] = 0.0
    prior = {name: torch.tensor(0.05) for name in weights} | {"0.bias": torch.linspace(1.0, 2.0, 8)}
    return WeightPosterior(precision, prior, 0.01, Provenance(3, 5, 120), fingerprint_of(weights, precision))


def test_a_file_holds_what_was_saved(tmp_path):
    network = make_network()
    saved = make_posterior(network)
    save_posterior(saved, tmp_path / "posterior.pt")
    loaded = load_posterior(tmp_path / "posterior.pt")
    check_fit(loaded, network)
    assert (loaded.temperature, loaded.provenance) == (0.01, Provenance(3, 5, 120))
    for name, value in saved.likelihood_precision.items():
        assert torch.equal(loaded.likelihood_precision[name] == 0, value == 0), name  # 0 stays 0
        assert torch.allclose(loaded.precision()[name], saved.precision()[name], rtol=0.02), name  # 4 decades, 8 bits
        assert bool((loaded.precision()[name] >= loaded.prior[name]).all()), name
        assert torch.allclose(loaded.prior[name], saved.prior[name], rtol=2e-3), name


def test_the_file_has_one_byte_per_weight(tmp_path):
    big = {"w": torch.rand(1000, 1000)}
    save_posterior(WeightPosterior(big, {"w": torch.tensor(1.0)}), tmp_path / "posterior.pt")
    assert (tmp_path / "posterior.pt").stat().st_size < 1.01 * 1000 * 1000


def test_likelihood_precision_is_what_clients_add_to_the_prior():
    network = make_network()
    network[0].bias.requires_grad_(False)
    server = PVI(prior_precision=0.1).server(network.state_dict())
    for precision in (1.0, 2.0):
        server.add({"precision_mean/0.weight": torch.ones(8, 6), "precision/0.weight": torch.full((8, 6), precision)})
    server.close_round()
    found = from_broadcast(server.broadcast(), 0.1, network, Provenance(num_sites=2))
    assert set(found.likelihood_precision) == {"0.weight", "2.weight", "2.bias"}  # a frozen parameter has no variance
    assert torch.allclose(found.likelihood_precision["0.weight"], torch.full((8, 6), 3.0))
    assert torch.equal(found.likelihood_precision["2.weight"], torch.zeros(1, 8))  # exactly
    assert found.provenance.num_sites == 2
    with pytest.raises(ValueError, match="the network has others"):
        check_fit(found, network)
    network.load_state_dict(server.weights())
    check_fit(found, network)


def test_plain_averages_have_no_posterior():
    with pytest.raises(ValueError, match="broadcast expects precisions in addition to means, got none"):
        from_broadcast({"mean/0.weight": torch.ones(8, 6)}, 0.1, make_network())


def test_parameters_that_a_site_keeps_may_be_missing():
    network = make_network()
    posterior = make_posterior(network)
    kept = {name: value for name, value in posterior.likelihood_precision.items() if not name.startswith("2.")}
    check_fit(replace(posterior, likelihood_precision=kept, fingerprint=""), network)


def test_a_posterior_of_another_network_is_refused():
    network = make_network()
    posterior = make_posterior(network)
    with pytest.raises(ValueError, match=r"got 4 that it doesn't have of 4, first \['0.bias'"):
        check_fit(posterior, nn.Linear(6, 8))
    with pytest.raises(ValueError, match=r"expects the shape \(8, 6\) of '0.weight', got \(2, 2\)"):
        check_fit(replace(posterior, likelihood_precision={"0.weight": torch.ones(2, 2)}), network)
    with torch.no_grad():
        network[0].bias[0] += 1e-3
    with pytest.raises(ValueError, match=r"the network has others; load the model\.pt beside it"):
        check_fit(posterior, network)
    check_fit(replace(posterior, fingerprint=""), network)


def test_weights_are_not_a_posterior(tmp_path):
    torch.save(make_network().state_dict(), tmp_path / "model.pt")
    with pytest.raises(ValueError, match="written by save_posterior, got another kind"):
        load_posterior(tmp_path / "model.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "model.pt").read_bytes()[:100])
    with pytest.raises(ValueError, match="is not a whole file"):
        load_posterior(tmp_path / "cut.pt")
