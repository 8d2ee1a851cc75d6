import json

import pytest
import torch
from monai.data import DataLoader
from monai.transforms import Compose, MapTransform, RandomizableTransform, Transform

from mtmedformer_monai.data import RadiographDataset
from mtmedformer_monai.transforms import FitRadiographd, LoadRadiographd
from tests.data.little_images import write_image


class AddNoise(RandomizableTransform):
    def __call__(self, data):
        return data | {"image": data["image"] + torch.rand(1)}


class Counts(MapTransform):
    """Counts how often it runs."""

    def __init__(self):
        super().__init__("image")
        self.calls = 0

    def __call__(self, data):
        self.calls += 1
        return data


def reading(*more):
    return Compose([LoadRadiographd(keys="image"), FitRadiographd(keys="image", size=(32, 32)), *more])


@pytest.fixture
def items(tmp_path):
    """Five items, of which the second is broken and the fourth missing."""
    paths = [write_image(tmp_path / f"{index}.png") for index in range(5)]
    paths[1].write_bytes(paths[1].read_bytes()[:60])
    paths[3].unlink()
    return [{"image": str(path), "number": index} for index, path in enumerate(paths)]


@pytest.mark.parametrize("cache", [True, False], ids=["cached", "uncached"])
def test_bad_files_are_left_out_and_reported(tmp_path, items, cache, caplog):
    dataset = RadiographDataset(items, reading(), cache=cache, report=tmp_path / "new" / "bad.json")
    assert [dataset[index]["number"] for index in range(len(dataset))] == [0, 2, 4]
    report = json.loads((tmp_path / "new" / "bad.json").read_text())
    assert [bad["image"] for bad in report] == [items[1]["image"], items[3]["image"]]
    assert report == dataset.bad_files
    assert all(bad["problem"] for bad in report)
    assert "2 of 5 images are left out" in caplog.text


def test_a_sound_cohort_leaves_no_report(tmp_path, items, caplog):
    dataset = RadiographDataset([items[0], items[2]], reading(), report=tmp_path / "bad.json")
    assert len(dataset) == 2
    assert dataset.bad_files == []
    assert not (tmp_path / "bad.json").exists()
    assert not caplog.text


def test_only_a_cached_cohort_is_read_once(items):
    for cache, calls in ((True, 2), (False, 4)):
        counts = Counts()
        dataset = RadiographDataset([items[0], items[2]], reading(counts), cache=cache)
        _ = [dataset[0], dataset[1]]
        assert counts.calls == calls
        assert len(dataset._cache) == (2 if cache else 0)


@pytest.mark.parametrize("cache", [True, False], ids=["cached", "uncached"])
def test_what_is_random_is_drawn_each_time(items, cache):
    dataset = RadiographDataset(items[:1], reading(AddNoise()), cache=cache)
    assert not torch.equal(dataset[0]["image"], dataset[0]["image"])


def test_the_first_bad_file_stops_where_told(items):
    with pytest.raises(ValueError, match=r"1\.png.*on_bad_file='skip'"):
        RadiographDataset(items, reading(), on_bad_file="raise", num_workers=1)


def test_a_cohort_of_bad_files_alone_stops(tmp_path, items):
    with pytest.raises(ValueError, match="none of the 2 images can be read"):
        RadiographDataset([items[1], items[3]], reading(), report=tmp_path / "bad.json")
    assert len(json.loads((tmp_path / "bad.json").read_text())) == 2


@pytest.mark.parametrize("error", [TypeError, KeyError, ZeroDivisionError])
def test_errors_in_code_go_through(items, error):
    class Mistaken(Transform):
        def __call__(self, data):
            raise error("a mistake in code")

    with pytest.raises(RuntimeError, match="Mistaken") as caught:
        RadiographDataset(items[:1], reading(Mistaken()))
    assert isinstance(caught.value.__cause__, error)


def test_another_policy_is_refused(items):
    with pytest.raises(ValueError, match="on_bad_file expects one of"):
        RadiographDataset(items, reading(), on_bad_file="ignore")


def test_new_data_are_read_anew(items):
    dataset = RadiographDataset(items, reading())
    dataset.set_data([items[4], items[1]])
    assert [item["number"] for item in dataset] == [4]
    assert [bad["image"] for bad in dataset.bad_files] == [items[1]["image"]]


@pytest.mark.parametrize("cache", [True, False], ids=["cached", "uncached"])
def test_workers_load_batches(items, cache):
    loader = DataLoader(RadiographDataset(items, reading(), cache=cache), batch_size=3, num_workers=2)
    (batch,) = list(loader)
    assert batch["image"].shape == (3, 1, 32, 32)
    assert batch["number"].tolist() == [0, 2, 4]
