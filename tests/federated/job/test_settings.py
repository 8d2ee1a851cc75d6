"""A job carries numbers and names, which cannot run code at a site. These tests need no FLARE."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from mtmedformer_monai.federated.exchange import to_exchange
from mtmedformer_monai.federated.job.session import open_session
from mtmedformer_monai.federated.job.settings import JobSettings
from mtmedformer_monai.federated.message import TensorKind, pick
from mtmedformer_monai.federated.sites_file import Site
from tests.bundles.conftest import ROOT


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("loss", "$__import__('os').system('true')"),
        ("loss", "text"),
        ("loss", {"_target_": "os.system", "command": "true"}),
        ("loss", [1, "$1"]),
        ("loss#_target_", 1),
        ("train::loss::_target_", 1),
        ("admission#_disabled_", True),
        ("+train#handlers", 1),
    ],
)
def test_overrides_that_could_run_code_or_disable_checks_are_refused(name, value):
    with pytest.raises(ValueError, match=f"override {name.replace('+', '.')!r} of a job expects"):
        JobSettings(overrides={name: value})


def test_the_server_refuses_an_override_that_its_bundle_does_not_have(tmp_path):
    server = Site(bundle=str(ROOT / "bundles/chest_xray_multitask"), output=str(tmp_path))
    with pytest.raises(ValueError, match=r"no option is called 'lerning_rate'.*did you mean 'learning_rate'"):
        open_session(JobSettings(overrides={"lerning_rate": 0.5}), server)


def test_the_server_starts_from_the_weights_that_its_own_file_names(tmp_path):
    """A job cannot name them, because it carries numbers alone; sites get them with the first broadcast."""
    bundle = ROOT / "bundles/chest_xray_multitask"
    server = Site(bundle=str(bundle), output=str(tmp_path), overrides={"start_from": str(bundle / "models/model.pt")})
    session = open_session(JobSettings(), server)
    shipped = torch.load(bundle / "models/model.pt", weights_only=True)
    sent = pick(session.aggregator.broadcast().weights, TensorKind.MEAN)
    assert set(sent) == set(shipped)
    for name, value in sent.items():
        torch.testing.assert_close(value, shipped[name].to(value.dtype))


def test_a_job_admits_no_stock_clients(tmp_path):
    session = open_session(JobSettings(), Site(bundle=str(ROOT / "bundles/chest_xray_multitask"), output=str(tmp_path)))
    weights = pick(session.aggregator.broadcast().weights, TensorKind.MEAN)
    with pytest.raises(ValueError, match="sent plain weights"):
        session.aggregator.add(to_exchange(weights, {}), "a")


def test_settings_survive_json():
    settings = JobSettings("job", 3, 2, image_size=(64, 32), overrides={"learning_rate": 0.1}, min_sites=2)
    assert JobSettings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings


@pytest.mark.parametrize("code", ["$__import__('os').system('true')", {"_target_": "os.system"}, True, 2.5, None])
@pytest.mark.parametrize("name", ["num_rounds", "local_epochs", "min_sites", "round_timeout", "seed", "image_size"])
def test_numbers_that_enter_the_config_can_be_nothing_else(name, code):
    """As a site receives them: from the settings of a server that it does not trust."""
    value = [code, 64] if name == "image_size" else code
    with pytest.raises(ValueError, match=f"{name} expects a whole number, got {type(code).__name__}"):
        JobSettings.from_dict({name: value})


@pytest.mark.parametrize(("name", "value"), [("num_rounds", 0), ("local_epochs", 0), ("min_sites", -1), ("seed", -1)])
def test_numbers_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} expects . or more, got {value}"):
        JobSettings(**{name: value})


def test_an_image_has_a_pixel_or_more():
    with pytest.raises(ValueError, match="image_size expects 1 or more, got 0"):
        JobSettings(image_size=(64, 0))


def test_a_sites_own_settings_prevail_over_the_jobs():
    settings = JobSettings(num_rounds=7, local_epochs=2, seed=5, overrides={"batch_size": 4, "learning_rate": 0.1})
    site = Site("a", "/bundle", "/list.json", output="/out", options={"seed": 9}, overrides={"batch_size": 2})
    spec = settings.spec(site)
    assert (spec.name, spec.bundle, spec.folder) == ("a", Path("/bundle"), Path("/out"))
    assert spec.options == {"personal": True, "seed": 9}
    expected = {"rounds": 7, "local_epochs": 2, "seed": 5, "batch_size": 2, "learning_rate": 0.1}
    assert expected.items() <= spec.overrides.items()
    assert spec.overrides["datalist"] == "/list.json"
    assert "image_size" not in spec.overrides
    assert JobSettings(image_size=(64, 32)).spec(site).overrides["image_size"] == [64, 32]


def test_a_federation_may_be_resumed_with_another_timeout_but_not_another_seed():
    one = JobSettings(round_timeout=10, min_sites=2).lasting()
    assert one == JobSettings(round_timeout=20).lasting()
    assert one != JobSettings(seed=1).lasting()


def test_a_federation_may_be_resumed_with_another_limit_of_images():
    """A refusal names this remedy."""
    few, many, other = (
        JobSettings(strategy_settings=each).lasting()
        for each in ({"most_images": 10, "within": 0.1}, {"most_images": 99, "within": 0.1}, {"within": 0.2})
    )
    assert few == many != other
