"""A site's policy and a job's filters hold in FLARE's simulator, the rounds continue, and precisions stay positive."""

from __future__ import annotations

import json

import pytest
import torch
import yaml

from mtmedformer_monai.cli.main import main
from mtmedformer_monai.data.synthetic.cohorts import make_cohort
from mtmedformer_monai.federated.simulation import SimulationSettings
from mtmedformer_monai.federated.simulation.bundle_parts import initial_weights
from mtmedformer_monai.federated.simulation.cohort import prepare_data
from mtmedformer_monai.uncertainty.posterior_file import load_posterior
from tests.bundles.conftest import ROOT
from tests.federated.simulation.conftest import SMALL

pytest.importorskip("nvflare", reason="NVIDIA FLARE is not installed: pip install 'mtmedformer-monai[flare]'")

from nvflare.apis.dxo import DXO, DataKind, from_shareable
from nvflare.apis.fl_constant import FilterKey, FLContextKey, ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import make_reply
from nvflare.app_common.filters import ExcludeVars, PercentilePrivacy, SVTPrivacy
from nvflare.app_common.filters.statistics_privacy_filter import StatisticsPrivacyFilter
from nvflare.private.privacy_manager import Scope

from mtmedformer_monai.federated.client.update_filters import FlareFilter, make_filters
from mtmedformer_monai.federated.flare import scope_filters

BUNDLE = ROOT / "bundles/chest_xray_multitask"


def context_with(*filters):
    """Returns the context of a task at a site whose policy lists these filters."""
    scope, fl_ctx = Scope(), FLContext()
    for each in filters:
        scope.add_task_result_filter(each, FilterKey.OUT)
    fl_ctx.set_prop(FLContextKey.SCOPE_OBJECT, scope, private=True, sticky=False)
    return fl_ctx


@pytest.fixture
def update():
    torch.manual_seed(0)
    return {"encoder.weight": torch.randn(30, 40), "decoder.bias": torch.randn(5), "scale": torch.tensor(0.5)}


def test_weight_filters_of_the_policy_are_taken_over_and_no_others(update):
    exclude = ExcludeVars(exclude_vars="^encoder")
    scope_filters.take_over(context_with(exclude, StatisticsPrivacyFilter(result_cleanser_ids=["x"])))
    (taken,) = scope_filters.site_filters()
    assert taken.wrapped is exclude
    assert set(taken(update)) == {"decoder.bias", "scale"}
    scope_filters.take_over(FLContext())
    assert scope_filters.site_filters() == ()


@pytest.mark.parametrize("filter_", [ExcludeVars("precision"), SVTPrivacy(), PercentilePrivacy()])
def test_flare_does_not_filter_our_sums_again(filter_):
    sums = {"precision/w": torch.ones(3), "precision_mean/w": torch.ones(3)}
    result = scope_filters.as_sums(DXO(DataKind.WEIGHTS, data=sums).to_shareable())
    left = from_shareable(filter_.process(result, FLContext())).data
    assert left.keys() == sums.keys()
    assert all(torch.equal(value, left[name]) for name, value in sums.items())
    failed = make_reply(ReturnCode.EXECUTION_EXCEPTION)
    assert scope_filters.as_sums(failed) is failed


def test_svt_adds_noise_that_the_seed_of_the_training_does_not_determine(update):
    (svt,) = make_filters([{"name": "svt", "fraction": 0.5, "epsilon": 10.0, "noise_var": 10.0, "gamma": 1.0}])
    results = []
    for _ in range(2):
        torch.manual_seed(0)
        results.append(svt(update)["encoder.weight"])
    chosen = results[0] != 0
    assert 0.3 < float(chosen.float().mean()) < 0.7
    assert not torch.equal(results[0][chosen], update["encoder.weight"][chosen])
    assert not torch.equal(*results)


def test_percentile_keeps_large_changes_and_clips_them(update):
    (percentile,) = make_filters([{"name": "percentile", "percentile": 60, "gamma": 1.5}])
    found = percentile(update)["encoder.weight"]
    large = update["encoder.weight"].abs() > 0.9  # the 60th percentile of |N(0, 1)| is 0.842
    torch.testing.assert_close(found[large], update["encoder.weight"][large].clamp(-1.5, 1.5))
    assert not bool(found[update["encoder.weight"].abs() < 0.78].any())


def test_a_filter_that_is_not_applied_is_an_error(update):
    with pytest.raises(ValueError, match="PercentilePrivacy of FLARE is not applied"):
        FlareFilter(PercentilePrivacy(gamma=-1.0))(update)


def test_filters_of_the_job_and_of_a_site_hold_in_the_simulator(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    cohort = make_cohort("chest", tmp_path / "cohort", 14, image_size=64, seed=0)
    chosen = SimulationSettings(BUNDLE, tmp_path / "parts", num_sites=2, datalist=cohort, partition="iid")
    small = {"network_def#encoder#size": SMALL, "image_size": [32, 32]}
    own = {"update_filters": [{"name": "exclude", "exclude_vars": "^encoder"}]}
    listed = [
        {"name": name, "datalist": str(path), "overrides": small, "options": own}
        for name, path in prepare_data(chosen).sites.items()
    ]
    (tmp_path / "sites.yaml").write_text(yaml.safe_dump({"sites": listed}))
    given = ["--bundle", str(BUNDLE), "--sites", str(tmp_path / "sites.yaml"), "--output", str(tmp_path / "out")]
    given += [
        "--filter",
        "svt:fraction=0.9,epsilon=1000,noise_var=1000,gamma=0.01",
        "--filter",
        "gaussian:clip=1,noise=1",
    ]
    assert main(["federate", "flare", *given, "--rounds", "2", "--local-epochs", "1", "--no-tracking"]) == 0
    before = initial_weights(BUNDLE, {**small, "seed": 0}, 0)
    after = torch.load(tmp_path / "out/models/model.pt")
    encoder = [name for name in before if name.startswith("encoder")]
    others = [name for name in before if not name.startswith("encoder")]
    assert all(torch.equal(after[name], before[name]) for name in encoder)
    changes = torch.cat([(after[name] - before[name]).flatten() for name in others])
    # the mean of two sites in each of two rounds, each with noise of deviation 1: 1 in total; the clipped update adds
    # at most a norm of 2, spread over all weights
    assert 0.9 < float(changes.std()) < 1.1
    posterior = load_posterior(tmp_path / "out/models/posterior.pt")
    assert [row["round"] for row in json.loads((tmp_path / "out/rounds.json").read_text())] == [1, 2]
    assert posterior.provenance.num_sites == 2
