"""Mistyped options are detected regardless of how a run is started, and valid options are accepted."""

import json
import logging

import pytest
from monai.bundle import ConfigWorkflow
from monai.bundle import run as bundle_run

from mtmedformer_monai.engines.config_options import check_options, check_overrides

INITIALIZE = [{"_target_": "mtmedformer_monai.engines.config_options.check_options", "bundle_root": "@bundle_root"}]
TRAIN = {
    "bundle_root": ".",
    "max_epochs": 3,
    "ckpt_path": "model.pt",
    "unused": 1,
    "network_def": {"_target_": "collections.Counter", "encoder": {"_target_": "fractions.Fraction", "numerator": 2}},
    "train": {"dataset": {"data": []}, "trainer": {"_target_": "builtins.dict", "max_epochs": "@max_epochs"}},
    "initialize": INITIALIZE,
    "run": ["$@max_epochs"],
}


@pytest.fixture
def bundle(tmp_path):
    configs = tmp_path / "bundle/configs"
    configs.mkdir(parents=True)
    for name, content in {"train": TRAIN, "evaluate": {"evaluated_list": "test"}, "metadata": {}}.items():
        (configs / f"{name}.json").write_text(json.dumps(content))
    return tmp_path / "bundle"


def run(bundle, *files, **overrides):
    names = [str(bundle / "configs/train.json"), *(str(file) for file in files)]
    bundle_run("run", config_file=names, bundle_root=str(bundle), **overrides)


def message(error):
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("max_epoch", "max_epochs"),
        ("ckpt_pth", "ckpt_path"),
        ("epochs", "max_epochs"),
        ("numerater", "network_def#encoder#numerator"),
        ("meta_fil", "meta_file"),
        ("network_def#encoder#numeratr", "network_def#encoder#numerator"),
        ("network_def::encoder::numeratr", "network_def#encoder#numerator"),
        ("train#dataset#dta", "train#dataset#data"),
    ],
)
def test_the_closest_id_is_suggested_for_a_mistyped_override(bundle, name, near):
    with pytest.raises(RuntimeError) as error:
        run(bundle, **{name: 7})
    assert f"did you mean '{near}'?" in message(error.value)


def test_an_override_that_resembles_nothing_is_an_error_too(bundle):
    with pytest.raises(RuntimeError) as error:
        run(bundle, zzzzzz=7)
    assert "no option is called 'zzzzzz'" in message(error.value)


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"max_epochs": 7},
        {"unused": 2},
        {"network_def#encoder#numerator": 4},
        {"network_def::encoder::numerator": 4},
        {"network_def#encoder#denominator": 4},  # accepted by the component, but in no file
        {"network_def#encoder#_disabled_": True},
        {"network_def#anything": 1},  # Counter accepts any argument
        {"train#trainer#max_epochs": 5},
        {"train#dataset#data": [1, 2]},
        {"max_epochs": "@epoch_number", "epoch_number": 4},
        {"run_name": "a", "tracking_uri": "b"},  # MONAI's own tracking
    ],
    ids=str,
)
def test_options_that_work_pass(bundle, overrides, caplog):
    with caplog.at_level(logging.WARNING, logger="mtmedformer_monai"):
        run(bundle, **overrides)
    assert not [record for record in caplog.records if record.name.startswith("mtmedformer_monai")]


def test_an_option_of_another_config_leads_to_a_warning(bundle, caplog):
    run(bundle, evaluated_list="training")
    assert "'evaluated_list' has no effect" in caplog.text


def test_overlays_may_add_ids_with_a_warning_for_similar_ones(bundle, tmp_path, caplog):
    overlay = tmp_path / "own.json"
    overlay.write_text(json.dumps({"my_learning": 3, "+train#dataset": {"extra": 1}, "max_epoch": 9}))
    run(bundle, overlay)
    assert "Nothing reads the id 'max_epoch' of the config; did you mean 'max_epochs'?" in caplog.text
    assert "my_learning" not in caplog.text
    run(bundle, overlay, my_learning=4)  # declared by the overlay


def test_a_workflow_built_in_python_is_checked_partially(bundle, caplog):
    workflow = ConfigWorkflow(
        str(bundle / "configs/train.json"), bundle_root=str(bundle), max_epoch=3, logging_file=False
    )
    workflow.initialize()
    assert "did you mean 'max_epochs'" in caplog.text


def test_other_callers_are_not_checked(bundle):
    check_options(bundle)


def test_overrides_of_own_commands(bundle):
    files = [bundle / "configs/train.json"]
    check_overrides(["max_epochs", "train#dataset#data"], files, bundle / "configs")
    with pytest.raises(
        ValueError, match="no option is called 'max_epoch': nothing reads it; did you mean 'max_epochs'"
    ):
        check_overrides(["max_epoch"], files, bundle / "configs")
