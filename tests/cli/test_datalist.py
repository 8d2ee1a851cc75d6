import json
import logging

import pytest

from mtmedformer_monai.cli.main import main
from mtmedformer_monai.data import CONVERTERS, load_datalist, read_datalist, save_datalist
from tests.data.little_images import write_image, write_lines


@pytest.fixture(autouse=True)
def logged(caplog):
    caplog.set_level(logging.INFO, logger="mtmedformer")
    return caplog


@pytest.fixture
def datalist(tmp_path):
    """Creates a datalist with ten training patients."""
    items = [
        {
            "image": write_image(tmp_path / "set" / f"{number}.png").name,
            "patient_id": str(number),
            "labels": {"finding": "pneumonia" if number % 2 else "normal"},
        }
        for number in range(10)
    ]
    return save_datalist({"training": items}, tmp_path / "set" / "datalist.json")


@pytest.fixture
def bundle(tmp_path):
    tasks = [
        {"_target_": "mtmedformer_monai.tasks.SegmentationTask", "name": "lung", "structures": ["lung"]},
        {"_target_": "mtmedformer_monai.tasks.DetectionTask", "name": "opacity_box", "classes": ["opacity"]},
        {"_target_": "mtmedformer_monai.tasks.ClassificationTask", "name": "finding", "classes": ["normal", "mass"]},
    ]
    write_lines(tmp_path / "bundle" / "configs" / "train.json", [json.dumps({"tasks": tasks})])
    return tmp_path / "bundle"


def test_convert(tmp_path, logged):
    rows = [f"{n}.png,No Finding,,{n},{split}" for n, split in enumerate(["train", "val", "test"])]
    write_lines(tmp_path / "nih/labels.csv", ["image,nih_labels,boxes_xywh_json,patient_id,split", *rows])
    assert main(["datalist", "convert", "nih_chestxray14", str(tmp_path / "nih"), str(tmp_path / "out")]) == 0
    assert len(load_datalist(tmp_path / "out" / "datalist.json", "validation")) == 1
    assert "label finding" in logged.text


def test_check_reports_problems_by_its_exit_code(datalist, bundle, logged):
    assert main(["datalist", "check", str(datalist)]) == 0
    assert main(["datalist", "check", str(datalist), "--bundle", str(bundle)]) == 1
    assert "training[1] 1.png: label 'finding' expects one of ['normal', 'mass'], got 'pneumonia'" in logged.text
    assert "datalist.json: 5" in logged.text


def test_check_uses_structures_and_box_classes_of_the_bundle(datalist, bundle, logged):
    item = {"image": "0.png", "masks": {"heart": "1.png"}, "boxes": {"nodule": []}}
    path = save_datalist({"test": [item]}, datalist.parent / "other.json")
    assert main(["datalist", "check", str(path), "--bundle", str(bundle)]) == 1
    assert "none of the structures ['lung']" in logged.text
    assert "none of the classes ['opacity']" in logged.text


@pytest.mark.parametrize("content", [None, "{}"], ids=["no config", "no tasks"])
def test_check_rejects_folders_that_are_not_bundles(datalist, tmp_path, content):
    if content is not None:
        write_lines(tmp_path / "other" / "configs" / "train.json", [content])
    assert main(["datalist", "check", str(datalist), "--bundle", str(tmp_path / "other")]) == 2


def test_summarize(datalist, logged):
    assert main(["datalist", "summarize", str(datalist)]) == 0
    assert "patients" in logged.text


def test_split(datalist, tmp_path):
    shares = ["--training", "0.6", "--validation", "0", "--test", "0.4", "--stratify-on", "finding"]
    assert main(["datalist", "split", str(datalist), str(tmp_path / "new.json"), *shares]) == 0
    split = read_datalist(tmp_path / "new.json")
    assert [len(split[section]) for section in ("training", "validation", "test")] == [6, 0, 4]
    assert split["test"][0]["image"].startswith("set/")


@pytest.mark.parametrize("sites", [("", ""), ("north=", "south=")], ids=["unnamed", "named"])
def test_join(datalist, tmp_path, sites):
    second = save_datalist({"test": [{"image": "set/0.png"}]}, tmp_path / "second.json")
    sources = [f"{site}{path}" for site, path in zip(sites, (datalist, second), strict=True)]
    assert main(["datalist", "join", str(tmp_path / "joined.json"), *sources]) == 0
    joined = read_datalist(tmp_path / "joined.json")
    named = [sites[0][:-1] or "set", sites[1][:-1] or "second"]
    assert [joined["training"][0]["site"], joined["test"][0]["site"]] == named


def test_join_rejects_partially_named_datalists(datalist, tmp_path, logged):
    assert main(["datalist", "join", str(tmp_path / "joined.json"), f"north={datalist}", str(datalist)]) == 2
    assert "add the missing sites" in logged.text


def test_an_error_is_reported_in_one_line(tmp_path, logged):
    assert main(["datalist", "summarize", str(tmp_path / "none.json")]) == 2
    assert "error: no datalist at" in logged.text


def test_help_lists_the_public_datasets(capsys):
    with pytest.raises(SystemExit):
        main(["datalist", "--help"])
    chest, mammography = capsys.readouterr().out.split("\n mammography_multitask, tasks lesion, lesion_box, pathology")
    assert "\n chest_xray_multitask, tasks lung, opacity" in chest
    assert "kermany" in chest
    assert "tasks lung, finding, tuberculosis*; license NLM" in chest
    mammography, others = mammography.split("no task in common with these bundles")
    assert "mini_mias" in mammography
    assert "tasks lesion, lesion_box, pathology, mias_density*; license MIAS" in mammography
    assert "siim_acr" in others
    for name in CONVERTERS:
        assert f"\n  {name} " in chest + mammography + others
