import json

import numpy as np
import pydicom
import pytest

from mtmedformer_monai.data.synthetic.cohort_files import (
    check_size,
    collect_items,
    count_workers,
    draw_from,
    write_cohort,
)


def list_two(number):
    return [{"image": f"{number}-{index}"} for index in range(2)]


def split(items):
    return {"training": items[:2], "validation": items[2:4], "test": items[4:]}


@pytest.mark.parametrize("workers", [1, 2])
def test_items_come_in_the_patients_order(workers):
    assert [item["image"] for item in collect_items(list_two, 3, workers)] == ["0-0", "0-1", "1-0", "1-1", "2-0", "2-1"]


def test_a_cohort_has_its_folders_and_a_datalist(tmp_path):
    path = write_cohort(tmp_path / "new", list_two, 3, 1, split, {"name": "little"})
    assert sorted(entry.name for entry in (tmp_path / "new").iterdir()) == ["datalist.json", "images", "masks"]
    assert json.loads(path.read_text()) == {"name": "little", **split([item for i in range(3) for item in list_two(i)])}


def test_a_patient_that_fails_leaves_no_datalist(tmp_path):
    (tmp_path / "datalist.json").write_text('{"name": "synthetic_chest", "training": []}')

    def fail(number):
        raise OSError(f"disk full at {number}")

    with pytest.raises(OSError, match="disk full at 0"):
        write_cohort(tmp_path, fail, 3, 1, split, {})
    assert not (tmp_path / "datalist.json").exists()


def test_a_datalist_of_other_data_is_kept(tmp_path):
    """It may be the work of a reader of images, which a mistyped folder must not delete."""
    (tmp_path / "datalist.json").write_text('{"name": "hospital", "training": []}')
    with pytest.raises(FileExistsError, match="not that of a synthetic cohort, and is kept; choose another folder"):
        write_cohort(tmp_path, list_two, 3, 1, split, {})
    assert "hospital" in (tmp_path / "datalist.json").read_text()


def test_an_old_pydicom_is_told_of_before_anything_is_rendered(tmp_path, monkeypatch):
    monkeypatch.setattr(pydicom, "__version_info__", ("2", "4", "4"))
    with pytest.raises(RuntimeError, match=r"needs pydicom 3\.0 or newer"):
        write_cohort(tmp_path / "new", list_two, 3, 1, split, {})
    assert not (tmp_path / "new").exists()


def test_workers_are_one_a_core_where_left_out():
    assert count_workers(None) >= 1
    assert count_workers(0) == 0


def test_names_are_drawn_by_their_share():
    rng = np.random.default_rng(0)
    drawn = [draw_from({"rare": 1, "never": 0, "often": 3}, rng) for _ in range(400)]
    assert "never" not in drawn
    assert drawn.count("often") / 400 == pytest.approx(0.75, abs=0.06)


def test_images_without_pixels_are_refused_before_anything_is_rendered():
    check_size(8, 16, 1)
    with pytest.raises(ValueError, match="image_size expects 16 pixels or more, to show anything, got -5"):
        check_size(8, -5, 1)
