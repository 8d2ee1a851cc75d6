"""The job ships configuration only, and bad results of a site are refused by the server's component."""

from __future__ import annotations

import json

import pytest
import torch

pytest.importorskip("nvflare", reason="NVIDIA FLARE is not installed: pip install 'mtmedformer-monai[flare]'")

from nvflare.app_common.abstract.fl_model import FLModel

from mtmedformer_monai.cli.main import main
from mtmedformer_monai.federated.exchange import ROUND, to_exchange
from mtmedformer_monai.federated.flare.job import ALLOWED, allow_classes
from mtmedformer_monai.federated.flare.messages import SITE_METRICS, failure, from_model, read_result, to_model
from tests.bundles.conftest import ROOT

BUNDLE = ROOT / "bundles/chest_xray_multitask"


def classes(value):
    """Yields every class path of a configuration."""
    if isinstance(value, dict):
        yield from [value["path"]] if "path" in value else []
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from classes(each)


def test_a_job_for_a_provisioned_system_has_no_code_and_no_paths(tmp_path):
    (tmp_path / "sites.yaml").write_text("sites: [{name: a}, {name: b}]\n")
    given = ["--sites", str(tmp_path / "sites.yaml"), "--output", str(tmp_path / "out"), "--override", "batch_size=4"]
    assert main(["federate", "flare", "--env", "prod", *given]) == 0
    files = [path for path in (tmp_path / "out/job").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json"}
    assert not [path for path in files if "custom" in path.parts]
    found = {each for path in files for each in classes(json.loads(path.read_text()))}
    assert found == set(ALLOWED)
    assert not any(str(tmp_path) in path.read_text() for path in files)


def test_sites_keep_their_settings_from_the_job(tmp_path, caplog):
    (tmp_path / "sites.yaml").write_text("sites: [{name: a, datalist: x.json}]\n")
    given = ["--sites", str(tmp_path / "sites.yaml"), "--output", str(tmp_path / "out")]
    assert main(["federate", "flare", "--env", "prod", *given]) == 2
    assert "names alone, got settings of a" in caplog.text


@pytest.mark.parametrize("environment", ["sim", "prod"])
def test_a_mistyped_override_is_refused_where_the_job_is_made(tmp_path, caplog, environment):
    (tmp_path / "sites.yaml").write_text("sites: [{name: a}]\n")
    given = ["--sites", str(tmp_path / "sites.yaml"), "--output", str(tmp_path / "out"), "--bundle", str(BUNDLE)]
    override = ["--override", "lerning_rate=0.5"]
    assert main(["federate", "flare", "--env", environment, *given, *override]) == 2
    assert "no option is called 'lerning_rate': nothing reads it; did you mean 'learning_rate'" in caplog.text
    assert not (tmp_path / "out").exists()


def test_a_job_can_be_made_without_a_copy_of_the_bundle(tmp_path):
    (tmp_path / "sites.yaml").write_text("sites: [{name: a}]\n")
    given = ["--sites", str(tmp_path / "sites.yaml"), "--output", str(tmp_path / "out"), "--override", "batch_size=4"]
    assert main(["federate", "flare", "--env", "prod", *given, "--bundle", str(tmp_path / "none")]) == 0


def test_a_participant_allows_two_classes_and_keeps_the_rest(tmp_path):
    (tmp_path / "resources.json.default").write_text(json.dumps({"class_allow_list": ["x.Y"], "format_version": 2}))
    allow_classes(tmp_path)
    allow_classes(tmp_path)
    written = json.loads((tmp_path / "resources.json").read_text())
    assert written == {"class_allow_list": ["x.Y", *ALLOWED], "format_version": 2}


def test_messages_keep_tensors_and_plain_statistics():
    weights = {"mean/w": torch.arange(6.0).reshape(2, 3).T, "count": torch.tensor(7)}
    sent = to_exchange(weights, {ROUND: 3, "images_by_task": {"lung": 2}})
    model = to_model(sent, step="train")
    assert all(value.is_contiguous() for value in model.params.values())
    back = from_model(model)
    assert all(torch.equal(value, back.weights[name]) for name, value in weights.items())
    assert back.statistics == sent.statistics
    assert all(type(name) is str for name in model.meta)


def test_a_constant_precision_travels_as_one_number():
    precision = {"precision/w": torch.full((4, 5), 3.0), "precision/v": torch.arange(4.0)}
    model = to_model(to_exchange(precision, {ROUND: 3}))
    assert {name: value.numel() for name, value in model.params.items()} == {"precision/w": 1, "precision/v": 4}
    assert all(torch.equal(value, from_model(model).weights[name]) for name, value in precision.items())


@pytest.mark.parametrize("shape", ["text", [4, -5], [4.0], None], ids=str)
def test_shapes_that_are_none_are_refused(shape):
    model = to_model(to_exchange({"precision/w": torch.full((4, 5), 3.0), "mean/w": torch.ones(1)}, {}))
    model.meta["shapes"] = {"precision/w": shape}
    with pytest.raises(ValueError, match="expects a precision of one number and positive sizes"):
        from_model(model)
    model.meta["shapes"] = {"mean/w": [9]}
    with pytest.raises(ValueError, match="expects a precision of one number"):
        from_model(model)


@pytest.mark.parametrize(
    "result",
    [
        failure("ValueError at the site; see its log"),
        FLModel(params={}, meta={SITE_METRICS: {"dice": "high"}}),
        FLModel(params={}, meta={SITE_METRICS: [1.0]}),
        FLModel(params=[torch.ones(2)], meta={}),
    ],
    ids=["failure", "text as metric", "list of metrics", "list of tensors"],
)
def test_results_of_another_form_are_refused(result):
    with pytest.raises((ValueError, TypeError)):
        read_result(result)
