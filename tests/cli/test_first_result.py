import json

from mtmedformer_monai.cli.first_result import describe_results


def test_one_line_per_task_and_the_picture(tmp_path):
    findings = {
        "lung": {"area_fraction": {"lung": 0.25}},
        "opacity_box": {"boxes": [{"score": 0.2}, {"score": 0.75}]},
        "empty_box": {"boxes": []},
        "finding": {"probs": {"normal": 0.1, "pneumonia": 0.9}, "class": "pneumonia"},
        "pneumonia_type": {"class": "not applicable"},
    }
    (tmp_path / "a.json").write_text(json.dumps({"findings": findings}))
    (tmp_path / "skipped.json").write_text("[]")
    (tmp_path / "a_overlay.png").write_bytes(b"")
    assert describe_results(tmp_path) == [
        "  lung              lung 25.0 % of the image",
        "  opacity_box       2 boxes, highest score 0.75",
        "  empty_box         0 boxes",
        "  finding           normal 0.10  pneumonia 0.90",
        '  pneumonia_type    {"class": "not applicable"}',
        f"  picture: {tmp_path}/a_overlay.png",
    ]
