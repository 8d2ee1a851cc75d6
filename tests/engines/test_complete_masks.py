"""Masks that a network predicts: in source pixels, only where there are none, and not against what labels say."""

import json

import numpy as np
import pytest
import torch
from monai.transforms import Compose
from PIL import Image
from torch import nn

from mtmedformer_monai.data import load_datalist
from mtmedformer_monai.engines import CompleteMasks
from mtmedformer_monai.tasks import ClassificationTask, SegmentationTask
from mtmedformer_monai.transforms import Letterboxd, LoadRadiographd

TASKS = [
    SegmentationTask("lung", ["left lung", "right lung"]),
    SegmentationTask("opacity", ["opacity"]),
    ClassificationTask("finding", ["normal", "pneumonia"], "binary"),
]


class Halves(nn.Module):
    """Predicts the left and the right half of its input as lungs, and the pixels above a brightness as opacity."""

    def __init__(self, brightness=0.5):
        super().__init__()
        self.register_buffer("brightness", torch.tensor(brightness))

    def forward(self, image):
        left = torch.full_like(image, -9.0)
        left[..., : image.shape[-1] // 2] = 9.0
        return {"lung": torch.cat([left, -left], dim=1), "opacity": 99.0 * (image - self.brightness)}


@pytest.fixture
def complete(tmp_path):
    """Writes four images of 20 x 40 pixels, bright in the upper half, and completes a datalist of them."""
    pixels = np.zeros((20, 40), dtype=np.uint8)
    pixels[:10] = 200
    for name in "abcd":
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    Image.fromarray(pixels).save(tmp_path / "own.png")

    def run(items, brightness=0.5, **options):
        network = Halves(brightness)
        torch.save(network.state_dict(), tmp_path / "model.pt")
        (tmp_path / "datalist.json").write_text(json.dumps({"training": items, "test": [{"image": "d.png"}]}))
        prepare = Compose([LoadRadiographd("image"), Letterboxd("image", 10)])
        places = {"datalist": tmp_path / "datalist.json", "output": tmp_path / "out"}
        CompleteMasks(Halves(), TASKS, tmp_path / "model.pt", prepare, **places, **options).run()
        assert load_datalist(tmp_path / "out/datalist.json", "test")[0].keys() == {"image"}
        return load_datalist(tmp_path / "out/datalist.json", "training")

    return run


def mask_of(item, name):
    return np.asarray(Image.open(item["masks"][name])) > 0


def test_missing_masks_are_predicted_in_the_pixels_of_the_source_and_own_ones_are_kept(complete, tmp_path):
    bare, partly = complete([{"image": "a.png"}, {"image": "b.png", "masks": {"left lung": "own.png"}}])
    for item in (bare, partly):
        assert mask_of(item, "right lung").shape == (20, 40)
        assert mask_of(item, "right lung")[:, 20:].all()
        assert not mask_of(item, "right lung")[:, :20].any()
        assert mask_of(item, "opacity")[:7].all()
        assert not mask_of(item, "opacity")[13:].any()
    assert mask_of(bare, "left lung")[:, :20].all()
    assert bare["completed"] == ["left lung", "right lung", "opacity"]
    assert partly["masks"]["left lung"] == str(tmp_path / "own.png")
    assert partly["completed"] == ["right lung", "opacity"]


def test_labels_say_where_there_is_nothing(complete):
    items = [{"image": f"{name}.png"} for name in "abc"]
    items[0]["labels"], items[1]["labels"] = {"finding": "normal"}, {"finding": "pneumonia"}
    normal, ill, unknown = complete(items, absent={"opacity": {"finding": ["normal"]}}, only=["opacity"])
    assert not mask_of(normal, "opacity").any()
    assert mask_of(ill, "opacity").any()
    assert "masks" not in unknown


def test_what_a_network_does_not_find_or_cannot_read_stays_missing(complete, tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image")
    items = [{"image": "a.png"}, {"image": "b.png"}, {"image": "c.png", "label": "own.png"}]
    unreadable, bare, annotated = complete(items, brightness=2.0)
    assert "masks" not in unreadable
    assert bare["completed"] == ["left lung", "right lung"]
    assert "masks" not in annotated  # a label map has all structures


def test_a_second_network_completes_the_rest_in_the_same_file(complete, tmp_path):
    first, second = ({"only": [name]} for name in ("lung", "opacity"))
    complete([{"image": "a.png"}], **first)
    content = json.loads((tmp_path / "out/datalist.json").read_text())
    assert content["training"][0]["completed"] == ["left lung", "right lung"]
    prepare = Compose([LoadRadiographd("image"), Letterboxd("image", 10)])
    place = tmp_path / "out/datalist.json"
    CompleteMasks(Halves(), TASKS, tmp_path / "model.pt", prepare, place, place, **second).run()
    (item,) = load_datalist(place, "training")
    assert item["completed"] == ["left lung", "right lung", "opacity"]
    assert mask_of(item, "left lung").any()
    assert mask_of(item, "opacity").any()


def test_masks_of_another_list_in_the_folder_and_of_items_that_moved_are_kept(complete, tmp_path):
    (first,) = complete([{"image": "a.png"}], only=["opacity"])
    dark = Image.new("L", (40, 20))
    dark.putpixel((0, 0), 255)
    dark.save(tmp_path / "b.png")
    place = tmp_path / "out/datalist.json"
    content = json.loads(place.read_text())
    content["training"] = [{"image": str(tmp_path / "b.png")}, *content["training"]]  # takes the place of the first
    place.write_text(json.dumps(content))
    prepare = Compose([LoadRadiographd("image"), Letterboxd("image", 10)])
    for output in (place, tmp_path / "out/other.json"):
        CompleteMasks(Halves(), TASKS, tmp_path / "model.pt", prepare, place, output, only=["lung", "opacity"]).run()
    assert mask_of(first, "opacity")[:7].all()
    folders = {path.parent.name for path in (tmp_path / "out").rglob("*.png")}
    assert folders <= {"datalist_masks", "other_masks"}


@pytest.mark.parametrize("only", [["finding"], ["lungs"]])
def test_only_masks_are_completed(only, tmp_path):
    with pytest.raises(ValueError, match=r"only tasks with masks can be completed, \['lung', 'opacity'\]"):
        CompleteMasks(Halves(), TASKS, tmp_path / "model.pt", Compose([]), "datalist.json", "out", only=only)


def test_a_list_that_is_not_there_is_named(complete):
    with pytest.raises(ValueError, match=r"has the lists \['training', 'test'\], got the section 'validation'"):
        complete([{"image": "a.png"}], section="validation")
