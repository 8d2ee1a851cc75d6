"""The command line: cohort generation, errors with remedies, and exit codes."""

from __future__ import annotations

import json

import pytest

from mtmedformer_monai import __version__
from mtmedformer_monai.cli.main import main


def test_cohort_writes_dicom_files_and_a_datalist(tmp_path):
    assert main(["cohort", str(tmp_path), "--patients", "10", "--image-size", "48", "--seed", "1"]) == 0
    datalist = json.loads((tmp_path / "datalist.json").read_text())
    images = [item["image"] for section in ("training", "validation", "test") for item in datalist[section]]
    assert len(images) >= 10
    assert all((tmp_path / image).read_bytes()[128:132] == b"DICM" for image in images)


def test_an_error_is_one_line_with_its_remedy_and_exit_code_2(tmp_path, caplog):
    assert main(["cohort", str(tmp_path), "--patients", "3"]) == 2
    assert "8 or more" in caplog.text
    assert "Traceback" not in caplog.text


def test_verbose_shows_the_traceback(tmp_path):
    with pytest.raises(ValueError, match="8 or more"):
        main(["--verbose", "cohort", str(tmp_path), "--patients", "3"])


def test_version(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.strip() == __version__


def test_without_a_command_the_usage_is_shown(capsys):
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 2
    assert "usage: mtmedformer" in capsys.readouterr().err


def test_a_config_of_infer_that_is_not_there_is_named(tmp_path, caplog):
    places = ["--input", tmp_path, "--output", tmp_path / "out", "--config", tmp_path / "nope.json"]
    assert main(["infer", *map(str, places)]) == 2
    assert f"no file at {tmp_path / 'nope.json'}; --config expects files" in caplog.text


def test_ctrl_c_is_one_line_and_exit_code_130(tmp_path, caplog, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("mtmedformer_monai.data.synthetic.cohorts.make_cohort", interrupt)
    assert main(["cohort", str(tmp_path)]) == 130
    assert caplog.messages == ["interrupted; run the same command again for complete results."]


def test_a_negative_number_of_sites_is_not_taken_for_a_file(tmp_path, caplog):
    options = ["--sites", "-2", "--patients", "8", "--image-size", "32", "--output", str(tmp_path)]
    assert main(["federate", "simulate", *options]) == 2
    assert "num_sites expects 1 or more, got -2" in caplog.text
