"""The disk cache returns no stale items, and restores items exactly."""

import os
import time
from enum import Enum

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, MapTransform

from mtmedformer_monai.data import RadiographDataset
from mtmedformer_monai.data.packing import pack, unpack
from mtmedformer_monai.data.prepared_cache import DiskCache
from mtmedformer_monai.data.radiograph_dataset import _files_of
from mtmedformer_monai.tasks import ClassificationTask
from mtmedformer_monai.transforms import Letterboxd, LoadRadiographd, LoadTargetsd
from tests.data.little_images import write_image


class Counts(MapTransform):
    """Counts the calls of all instances; class attributes are not part of the fingerprint."""

    calls = 0

    def __init__(self, setting=0):
        super().__init__("image")
        self.setting = setting

    def __call__(self, data):
        Counts.calls += 1
        return data


@pytest.fixture
def image(tmp_path):
    return write_image(tmp_path / "a.png")


@pytest.fixture
def prepare(image, tmp_path):
    """Reads the image through the cache of a new dataset, and returns whether it was prepared again."""

    def run(size=(16, 16), setting=0, label="b"):
        task = ClassificationTask("finding", ["a", "b"])
        transform = [LoadRadiographd("image"), LoadTargetsd([task]), Letterboxd("image", size), Counts(setting)]
        items = [{"image": str(image), "labels": {"finding": label}}]
        dataset = RadiographDataset(items, Compose(transform), cache="disk", cache_dir=tmp_path / "cache")
        before = Counts.calls
        item = dataset[0]
        return item, Counts.calls > before

    return run


def test_a_second_run_reuses_the_cache_of_the_first(prepare):
    first, prepared = prepare()
    assert prepared
    second, prepared = prepare()
    assert not prepared
    assert torch.equal(first["image"], second["image"])


@pytest.mark.parametrize(
    "changed", [{"size": (16, 24)}, {"setting": 1}, {"label": "a"}], ids=["size", "setting", "label"]
)
def test_other_settings_are_prepared_again(prepare, changed):
    prepare()
    assert prepare(**changed)[1]
    assert not prepare()[1]  # both are kept


def test_a_file_that_keeps_its_length_and_modification_time_is_read_again(prepare, image):
    """As copied with its times, or unpacked from an archive; the time of the last change differs."""
    prepare()
    times = image.stat().st_atime_ns, image.stat().st_mtime_ns
    time.sleep(0.02)  # the clock of file systems ticks every few milliseconds
    os.utime(image, ns=times)
    assert prepare()[1]


def test_the_pixels_of_a_nifti_pair_are_files_of_the_item(tmp_path):
    header, pixels, extra = tmp_path / "a.hdr", tmp_path / "a.img", tmp_path / "points.csv"
    for file in (header, pixels, extra):
        file.touch()
    assert _files_of({"image": str(header), "points": str(extra), "labels": {"finding": "a"}}) == [
        header,
        extra,
        pixels,
    ]


def test_a_changed_file_is_read_again(prepare, image):
    before, _ = prepare()
    write_image(image)
    os.utime(image, ns=(1, 1))
    after, prepared = prepare()
    assert prepared
    assert not torch.equal(before["image"], after["image"])


def test_changed_code_counts_as_another_version(prepare, monkeypatch):
    prepare()
    monkeypatch.setattr("mtmedformer_monai.data.fingerprint.digest_package", lambda: "edited")
    assert prepare()[1]


def test_a_damaged_entry_is_prepared_again(prepare, tmp_path):
    prepare()
    (entry,) = (tmp_path / "cache/prepared").rglob("*.pt")
    entry.write_bytes(entry.read_bytes()[:200])
    assert prepare()[1]
    assert not prepare()[1]


def test_a_read_only_folder_disables_caching_without_an_error(tmp_path, caplog):
    (tmp_path / "file").touch()
    cache = DiskCache(tmp_path / "file" / "below")
    cache.save("key", {"a": 1})
    assert cache.load("key") is None
    assert "are not cached" in caplog.text


class Key(str, Enum):
    SPACE = "space"


def test_values_are_restored_exactly():
    mask = torch.tensor([[0.0, 1.0], [torch.nan, 1.0]])
    soft = torch.tensor([[0.5, -0.0], [torch.nan, torch.inf]])
    image = MetaTensor(torch.rand(1, 2, 2), meta={"spacing": np.array([0.1, np.nan]), "name": "a", Key.SPACE: "RAS"})
    item = {"image": image, "mask": mask, "soft": soft, "label": torch.tensor(2.0), "ids": (1, [None, "x"])}
    again = unpack(pack(item))
    assert isinstance(again["image"], MetaTensor)
    assert torch.equal(again["image"].as_tensor(), image.as_tensor())
    np.testing.assert_array_equal(again["image"].meta["spacing"], [0.1, np.nan])
    assert again["image"].meta["space"] == "RAS"
    for name in ("mask", "soft", "label"):
        assert again[name].dtype == torch.float32
        np.testing.assert_array_equal(again[name].numpy().view(np.int32), item[name].numpy().view(np.int32))
    assert again["ids"] == (1, [None, "x"])


def test_unsupported_types_are_reported():
    with pytest.raises(TypeError, match="got object"):
        pack({"a": object()})
