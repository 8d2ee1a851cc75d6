import json
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import DataLoader
from monai.transforms import Compose, MapTransform, RandGaussianNoised, RandomizableTransform, Transform

from mtmedformer_monai.data import RadiographDataset
from mtmedformer_monai.data.radiograph_dataset import is_placeholder
from mtmedformer_monai.tasks import ClassificationTask, DetectionTask, SegmentationTask
from mtmedformer_monai.transforms import Letterboxd, LoadRadiographd, LoadTargetsd, RandGeometryd
from tests.data.little_images import write_image


class AddNoise(RandomizableTransform):
    def __call__(self, data):
        return data | {"image": data["image"] + torch.rand(1)}


class Counts(MapTransform):
    """Counts its calls."""

    def __init__(self):
        super().__init__("image")
        self.calls = 0

    def __call__(self, data):
        self.calls += 1
        return data


def reading(*more):
    return Compose([LoadRadiographd(keys="image"), Letterboxd(keys="image", size=(32, 32)), *more])


@pytest.fixture
def items(tmp_path):
    """Creates five items, of which the second is truncated and the fourth missing."""
    paths = [write_image(tmp_path / f"{index}.png") for index in range(5)]
    paths[1].write_bytes(paths[1].read_bytes()[:60])
    paths[3].unlink()
    return [{"image": str(path), "number": index, "site": f"site {index}"} for index, path in enumerate(paths)]


@pytest.fixture(params=["none", "memory", "disk"])
def cache(request, tmp_path):
    return {"cache": request.param, "cache_dir": tmp_path / "cache"}


def skipped_numbers(dataset):
    return [int(Path(each["image"]).stem) for each in dataset.skipped]


def test_no_pixel_is_read_on_construction(items, cache):
    counts = Counts()
    dataset = RadiographDataset(items, reading(counts), **cache)
    assert counts.calls == 0
    assert len(dataset) == 4  # the missing one is known
    assert skipped_numbers(dataset) == [3]


def test_an_unreadable_image_is_replaced_by_a_placeholder(items, cache, tmp_path):
    tasks = [SegmentationTask("lung", ["lung"]), DetectionTask("box", ["opacity"]), ClassificationTask("finding", "ab")]
    transform = Compose(
        [
            LoadRadiographd("image"),
            LoadTargetsd(tasks),
            Letterboxd(["image", "lung", "box"], (32, 32)),
            RandGeometryd(["image", "lung", "box"], prob=1.0),
        ]
    )
    for item in items:
        item |= {"labels": {"finding": "b"}, "boxes": {"opacity": [[1, 1, 5, 5]]}}
    items[1]["boxes"] = {}  # with boxes, its header would be looked at
    dataset = RadiographDataset(items, transform, report=tmp_path / "new" / "skipped.json", **cache)
    placeholder = dataset[1]
    assert is_placeholder(placeholder)
    assert not is_placeholder(dataset[0])
    assert placeholder.keys() == dataset[0].keys()
    assert (placeholder["image"] == 0).all()
    assert placeholder["site"] == "site 1"
    for task in tasks:
        assert placeholder[task.name].shape == dataset[0][task.name].shape
        assert torch.isnan(placeholder[task.name]).all()
    report = json.loads((tmp_path / "new" / "skipped.json").read_text())
    assert [Path(each["image"]).name for each in report] == ["1.png", "3.png"]
    assert [each["kind"] for each in report] == ["unreadable", "unreadable"]
    assert skipped_numbers(dataset) == [1, 3]


def test_a_clean_run_replaces_the_report_of_an_earlier_one(items, tmp_path):
    report = tmp_path / "skipped.json"
    RadiographDataset([items[0], items[3]], reading(), report=report)
    assert len(json.loads(report.read_text())) == 1
    RadiographDataset([items[0]], reading(), report=report)
    assert json.loads(report.read_text()) == []


def test_a_clean_run_leaves_no_report(tmp_path, items, caplog):
    dataset = RadiographDataset([items[0], items[2]], reading(), report=tmp_path / "skipped.json")
    assert len(list(dataset)) == 2
    assert dataset.skipped == []
    assert not (tmp_path / "skipped.json").exists()
    assert not caplog.text


@pytest.mark.parametrize(("kind", "calls"), [("none", 4), ("memory", 2), ("disk", 2)])
def test_cached_items_are_prepared_once(items, tmp_path, kind, calls):
    counts = Counts()
    dataset = RadiographDataset([items[0], items[2]], reading(counts), cache=kind, cache_dir=tmp_path)
    for _ in range(2):
        list(dataset)
    assert counts.calls == calls


def test_random_transforms_are_drawn_on_each_access(items, cache):
    dataset = RadiographDataset(items[:1], reading(AddNoise()), **cache)
    first, second = dataset[0]["image"], dataset[0]["image"]
    assert not torch.equal(first, second)


def test_a_cached_item_equals_a_fresh_one(items, cache):
    fresh = RadiographDataset(items[:1], reading(), cache="none")[0]
    cached = RadiographDataset(items[:1], reading(), **cache)
    for again in (cached[0], cached[0]):
        assert torch.equal(again["image"], fresh["image"])
        assert again["image"].meta.keys() == fresh["image"].meta.keys()
        assert np.array_equal(again["image"].meta["to_source"], fresh["image"].meta["to_source"])
        assert again["number"] == fresh["number"]


@pytest.mark.parametrize("cached", ["none", "memory", "disk"])
def test_changing_an_item_does_not_change_the_cache(items, tmp_path, cached):
    dataset = RadiographDataset(items[:1], reading(), cache=cached, cache_dir=tmp_path)
    before = dataset[0]["image"].clone()
    dataset[0]["image"].zero_()
    assert torch.equal(dataset[0]["image"], before)


def test_an_unreadable_image_raises_on_request(items):
    with pytest.raises(ValueError, match=r"3\.png is missing.*\n.*on_unreadable='skip'"):
        RadiographDataset(items, reading(), on_unreadable="raise")
    dataset = RadiographDataset(items[:3], reading(), on_unreadable="raise")
    with pytest.raises(ValueError, match=r"1\.png.*on_unreadable='skip'"):
        dataset[1]


def test_a_cohort_without_a_readable_image_is_rejected(tmp_path, items):
    with pytest.raises(ValueError, match="none of the 1 images can be read"):
        RadiographDataset([items[3]], reading(), report=tmp_path / "skipped.json")
    assert len(json.loads((tmp_path / "skipped.json").read_text())) == 1
    with pytest.raises(ValueError, match=r"none of the 1 images can be read; the first: 1\.png"):
        RadiographDataset([items[1]], reading())[0]


@pytest.mark.parametrize("error", [TypeError, KeyError, ValueError, ZeroDivisionError])
def test_errors_in_code_are_raised(items, error):
    class Mistaken(Transform):
        def __call__(self, data):
            raise error("a mistake in code")

    with pytest.raises(RuntimeError, match="Mistaken") as caught:
        RadiographDataset(items[:1], reading(Mistaken()))[0]
    assert isinstance(caught.value.__cause__, error)


@pytest.mark.parametrize("knob", ["cache", "on_unreadable", "on_wrong_label", "on_unused_label"])
def test_an_unknown_choice_is_rejected(items, knob):
    with pytest.raises(ValueError, match=f"{knob} expects one of .*'perhaps'"):
        RadiographDataset(items, reading(), **{knob: "perhaps"})


def test_a_disk_cache_requires_a_folder(items):
    with pytest.raises(ValueError, match="cache_dir"):
        RadiographDataset(items, reading(), cache="disk")


def test_new_data_are_checked_again(items):
    dataset = RadiographDataset(items, reading())
    dataset.set_data([items[4], items[3]])
    assert [item["number"] for item in dataset] == [4]
    assert skipped_numbers(dataset) == [3]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_batches_are_the_same_for_any_number_of_workers(items, cache, num_workers, tmp_path):
    dataset = RadiographDataset(items, reading(), report=tmp_path / "skipped.json", **cache)
    for _ in range(2):  # the second epoch reads the cache
        (batch,) = list(DataLoader(dataset, batch_size=4, num_workers=num_workers))
        assert batch["image"].shape == (4, 1, 32, 32)
        assert batch["number"].tolist() == [0, 1, 2, 4]
        assert [bool(image.any()) for image in batch["image"]] == [True, False, True, True]
        assert skipped_numbers(dataset) == [1, 3]


def test_random_draws_do_not_depend_on_when_an_image_turns_out_unreadable(items):
    def epoch(dataset):
        dataset.transform.set_random_state(5)
        return torch.stack([item["image"] for item in dataset])

    noise = RandGaussianNoised("image", prob=1.0)
    first = RadiographDataset(items, reading(noise))
    once, again = epoch(first), epoch(first)
    resumed = epoch(RadiographDataset(items, reading(noise)))
    assert torch.equal(once, again)
    assert torch.equal(once, resumed)
    assert not torch.equal(once[0], once[2])
