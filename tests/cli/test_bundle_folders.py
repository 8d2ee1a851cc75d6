import json
import shutil

import pytest

from mtmedformer_monai.cli.bundle_folders import find_bundles, read_tasks
from mtmedformer_monai.cli.main import main
from mtmedformer_monai.data.public.task_classes import TASK_CLASSES
from tests.bundles.conftest import BUNDLES, ROOT


def add_bundle(folder, tasks):
    (folder / "configs").mkdir(parents=True)
    (folder / "configs/metadata.json").write_text("{}")
    (folder / "configs/train.json").write_text(json.dumps({"tasks": tasks}))


def test_bundles_in_the_working_directory_take_precedence(tmp_path, monkeypatch):
    add_bundle(tmp_path / "bundles/hand", [])
    (tmp_path / "bundles/no_bundle").mkdir()
    monkeypatch.chdir(tmp_path)
    assert [path.name for path in find_bundles()] == ["hand"]


def test_bundles_of_the_checkout_are_found_from_other_directories(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_bundles() == BUNDLES
    assert find_bundles(tmp_path) == []


def test_a_new_bundle_folder_is_recognized_by_the_commands(tmp_path, monkeypatch, capsys):
    shutil.copytree(ROOT / "bundles/chest_xray_multitask/configs", tmp_path / "bundles/chest 100%/configs")
    add_bundle(tmp_path / "bundles/tuberculosis_screen", [{"name": "tuberculosis"}, {"name": "pneumothorax"}])
    monkeypatch.chdir(tmp_path)
    for command in (["datalist", "--help"], ["demo", "--help"], ["datalist", "check", "--help"], ["export", "--help"]):
        with pytest.raises(SystemExit) as stop:
            main(command)
        assert stop.value.code == 0
        text = capsys.readouterr().out
        assert "tuberculosis_screen" in text
        assert "chest 100%" in text
        if command[:2] == ["datalist", "--help"]:
            listed = text.split("tuberculosis_screen, tasks tuberculosis, pneumothorax")[1]
            assert "shenzhen" in listed
            assert "siim_acr" in listed
            assert "tasks lung*, finding*, tuberculosis; license NLM" in listed


def test_an_incomplete_config_does_not_break_help(tmp_path, monkeypatch, capsys):
    add_bundle(tmp_path / "bundles/hand", [])
    (tmp_path / "bundles/hand/configs/train.json").write_text('{"tasks": [')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(["cohort", "--help"])
    assert stop.value.code == 0


@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)
def test_converters_know_the_classes_of_the_bundles_tasks(bundle):
    tasks = [task for task in read_tasks(bundle) if task["_target_"].endswith("ClassificationTask")]
    assert tasks
    for task in tasks:
        assert task["classes"] == list(TASK_CLASSES[task["name"]])
