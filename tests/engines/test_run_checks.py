import os
import sys

import pytest

from mtmedformer_monai.engines import prepare_run
from mtmedformer_monai.engines.run_checks import check_writable


def test_a_folder_that_can_be_created_passes_and_is_not_created(tmp_path):
    check_writable(tmp_path / "a/b", "output_dir")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_names_the_option(tmp_path, monkeypatch):
    locked = tmp_path / "bundle"
    locked.mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: os.fspath(path) != os.fspath(locked))
    with pytest.raises(PermissionError, match=r"output_dir expects a folder that can be written, .*by --output_dir"):
        check_writable(locked / "eval", "output_dir")
    with pytest.raises(PermissionError, match="by --output_dir or --ckpt_dir"):
        check_writable(locked / "models", "ckpt_dir")
    check_writable(tmp_path / "own", "output_dir")


def test_a_file_in_the_place_of_a_folder(tmp_path):
    (tmp_path / "eval").write_text("")
    with pytest.raises(NotADirectoryError, match=r"output_dir expects a folder, but .*eval is a file"):
        check_writable(tmp_path / "eval/a", "output_dir")


def test_preparing_checks_all_folders_and_shows_errors_last(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    (tmp_path / "models").write_text("")
    with pytest.raises(NotADirectoryError, match="ckpt_dir"):
        prepare_run(str(tmp_path), {"output_dir": str(tmp_path / "out"), "ckpt_dir": str(tmp_path / "models")})
    assert sys.excepthook is not sys.__excepthook__
