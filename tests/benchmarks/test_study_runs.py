"""A study resumes where it stopped, and ignores a line that was cut off."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial

import pytest
from study_runs import keep_settings, read_results, run_missing


@dataclass(frozen=True)
class Run:
    name: str
    rate: float = 0.1


def count(run, start):
    return {"letters": start + len(run.name)}


def test_only_missing_runs_are_made_and_each_is_a_line(tmp_path):
    path = tmp_path / "results.jsonl"
    old = [{"name": "abc", "rate": 0.1, "letters": -1}, {"name": "f", "letters": -2}]  # the latter before `rate` was
    path.write_text("".join(json.dumps(each) + "\n" for each in old))
    runs = [Run("abc"), Run("abc", 0.2), Run("de"), Run("f"), Run("f", 0.2), Run("de")]
    run_missing(partial(count, start=10), runs, path, 1, lambda run, record: run.name)
    assert len(read_results(path)) == 5  # runs that are named twice are made once
    found = {(each["name"], each.get("rate")): each["letters"] for each in read_results(path)}
    assert found == {("abc", 0.1): -1, ("abc", 0.2): 13, ("de", 0.1): 12, ("f", None): -2, ("f", 0.2): 11}


def test_nothing_to_run_is_no_error(tmp_path):
    run_missing(count, [], tmp_path / "results.jsonl", 1, lambda run, record: run.name)
    assert not (tmp_path / "results.jsonl").exists()


def test_a_line_that_was_cut_off_is_ignored(tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_text(json.dumps({"seed": 1}) + '\n{"seed": 2, "di')
    assert read_results(path) == [{"seed": 1}]
    assert read_results(tmp_path / "none.jsonl") == []


def test_other_settings_in_the_same_folder_are_refused(tmp_path):
    path = tmp_path / "study/settings.json"
    keep_settings(path, {"folds": 5, "size": (64, 64)})
    keep_settings(path, {"folds": 5, "size": (64, 64), "variant": {"a": 1}})
    with pytest.raises(ValueError, match=r"has runs with folds 5, got 3; use another --output"):
        keep_settings(path, {"folds": 3})
    with pytest.raises(ValueError, match=r"variant \{'a': 1\}, got \{'a': 2\}"):
        keep_settings(path, {"variant": {"a": 2}})
    assert json.loads(path.read_text()) == {"folds": 5, "size": [64, 64], "variant": {"a": 1}}
