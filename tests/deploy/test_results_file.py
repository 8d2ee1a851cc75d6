"""`results.json`: what is written is read back, and foreign files are refused."""

import json
import math

import pytest

from mtmedformer_monai.deploy.results import (
    BoxResult,
    ClassResult,
    ImageResult,
    MaskResult,
    Provenance,
    Refusal,
    RunResult,
    StudyResult,
)
from mtmedformer_monai.deploy.results_file import read_results, write_results


def make_run(score=0.5):
    image = ImageResult(
        "a.dcm",
        "MG_1",
        (30, 40),
        (0.1, 0.2),
        segmentations={"lesion": (MaskResult("mass", 3, 0.1, 0.06, 0.5, {"disagreement": 0.2}),)},
        boxes={"box": (BoxResult((0.0, 1.0, 2.0, 3.0), "mass", 0.9, (0.4, 0.2)),)},
        classes={"kind": ClassResult("ordinal", {"A": 0.4, "B": 0.6}, ("B",), uncertainty={"std": {"A": 0.1}})},
        scores={"distance": score},
        flags=("unknown view",),
    )
    study = StudyResult("1.2", "1.2", (image,), {"fused": {"R": ClassResult("binary", {"x": 1.0}, ("x",))}})
    provenance = Provenance("bundle", "1", "a" * 64, "b" * 64)
    return RunResult("2020-01-01T00:00:00+00:00", ("infer",), provenance, (study,), (Refusal("b.png", "no", "x"),))


def test_reading_returns_what_was_written(tmp_path):
    write_results(make_run(), tmp_path / "results.json")
    assert read_results(tmp_path / "results.json") == make_run()


def test_fields_of_a_newer_minor_version_are_ignored(tmp_path):
    write_results(make_run(), tmp_path / "results.json")
    content = json.loads((tmp_path / "results.json").read_text())
    content["schema_version"], content["new"], content["studies"][0]["images"][0]["new"] = "1.9", 1, 1
    content["studies"][0]["images"][0]["boxes"]["box"][0]["new"] = 1
    (tmp_path / "results.json").write_text(json.dumps(content))
    assert read_results(tmp_path / "results.json").studies == make_run().studies


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"schema_version": "2.0"}', "schema version 2.0, expected 1.x"),
        ("[1]", "is not a results.json"),
        ("{", "is not a results.json"),
    ],
    ids=["another major version", "a list", "cut off"],
)
def test_another_file_is_refused(tmp_path, text, problem):
    (tmp_path / "other.json").write_text(text)
    with pytest.raises(ValueError, match=problem):
        read_results(tmp_path / "other.json")


def test_nan_is_not_written_since_json_has_none(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_results(make_run(score=math.nan), tmp_path / "results.json")
    assert list(tmp_path.iterdir()) == []
