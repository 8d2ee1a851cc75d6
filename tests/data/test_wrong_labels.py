"""Training uses exactly the items that pass `datalist check`, since both run the same checks."""

import json
import shutil

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from monai.transforms import Compose
from PIL import Image

from mtmedformer_monai.data import RadiographDataset, check_datalist, load_datalist, save_datalist
from mtmedformer_monai.data.radiograph_dataset import is_placeholder
from mtmedformer_monai.tasks import ClassificationTask, DetectionTask, SegmentationTask
from mtmedformer_monai.transforms import LoadRadiographd, LoadTargetsd
from tests.data.little_images import write_image

TASKS = [
    SegmentationTask("lung", ["lung"]),
    DetectionTask("opacity_box", ["opacity"], max_boxes=2),
    ClassificationTask("finding", ["normal", "pneumonia"], kind="binary"),
    ClassificationTask("signs", ["edema", "mass"], kind="multilabel"),
]
NAN, INF = float("nan"), float("inf")
IMAGES = ["0.png", "1.png", "2.png", "folder", "cut.png", "text.png", "empty.png", "video.dcm", "missing.png"]
MASKS = [
    None, "mask.png", "mask.npy", "small.png", "mask.jpg", "cut.png", "empty.npy", "stack.npy", "missing.png", "folder",
    5, NAN, ["mask.png"], "",
]  # fmt: skip
BOXES = [
    [0, 0, 12, 8],
    [1.5, 2, 3, 4],
    [0, 0, 13, 8],
    [3, 3, 3, 4],
    [5, 5, 1, 1],
    [0, 0, NAN, 3],
    [0, 0, INF, 3],
    [1],
    "x",
]
LABELS = ["normal", "pneumonia", "pneumonitis", "edema", None, NAN, 1, True, ["edema"], ["edema", "mass"], [], [3], {}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Creates images of 12 x 8 pixels and masks, valid and invalid ones."""
    folder = tmp_path_factory.mktemp("cohort")
    for name in ("0.png", "1.png", "2.png", "folder/only.png", "mask.png", "mask.jpg"):
        write_image(folder / name)
    write_image(folder / "small.png", width=6, height=4)
    (folder / "cut.png").write_bytes((folder / "0.png").read_bytes()[:60])
    (folder / "text.png").write_text("no picture")
    for name in ("empty.png", "empty.npy"):
        (folder / name).touch()
    (folder / "video.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\x08\x00")
    np.save(folder / "mask.npy", np.ones((8, 12), bool))
    np.save(folder / "stack.npy", np.ones((8, 12, 3), bool))
    return folder


def read(tasks=TASKS):
    return Compose([LoadRadiographd("image"), LoadTargetsd(tasks)])


def optional(**values):
    return st.fixed_dictionaries({}, optional=values)


ITEMS = st.fixed_dictionaries(
    {"image": st.sampled_from(IMAGES[:3]) | st.sampled_from(IMAGES)},
    optional={
        "masks": optional(lung=st.sampled_from(MASKS)) | st.sampled_from([None, NAN, [1], "mask.png"]),
        "boxes": optional(opacity=st.lists(st.sampled_from(BOXES), max_size=4) | st.sampled_from([None, NAN, {}, 3]))
        | st.sampled_from([None, [[0, 0, 1, 1]], 1.5]),
        "labels": optional(finding=st.sampled_from(LABELS), signs=st.sampled_from(LABELS))
        | st.sampled_from([None, "normal", ["normal"]]),
        "laterality": st.sampled_from(["L", "", "left", None, 1, NAN]),
        "study_id": st.sampled_from(["s", 3, None, NAN, []]),
    },
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(items=st.lists(ITEMS, min_size=1, max_size=5))
def test_exactly_the_items_that_pass_the_check_are_trained_on(folder, items):
    path = save_datalist({"training": [{"image": "0.png"}, *items]}, folder / "datalist.json")
    problems = check_datalist(path, transforms=read().transforms)
    refused = {problem.index for problem in problems if problem.kind in ("annotation", "unreadable")}

    loaded = [item | {"number": number} for number, item in enumerate(load_datalist(path, "training"))]
    dataset = RadiographDataset(loaded, read(), cache="none", on_wrong_label="skip", num_workers=1)
    trained = set()
    for item, loaded_item in zip(dataset.data, dataset, strict=True):
        if is_placeholder(loaded_item):
            continue
        trained.add(item["number"])
        for task in TASKS:
            target = loaded_item[task.name]
            assert torch.isfinite(target).all() or torch.isnan(target).all()
    assert trained == set(range(len(loaded))) - refused


def test_all_wrong_labels_are_listed_before_the_start(folder):
    items = [
        {"image": "0.png", "labels": {"finding": "pneumonitis"}},
        {"image": "1.png", "boxes": {"opacity": [[3, 3, 3, 9]]}},
        {"image": "2.png", "masks": {"lung": "small.png"}},
        {"image": "folder", "boxes": {"opacity": [[0, 0, 1, 1]] * 3}},
        {"image": "0.png", "labels": {"finding": "normal"}},
    ]
    data = load_datalist(save_datalist({"training": items}, folder / "wrong.json"), "training")
    with pytest.raises(ValueError, match="wrong annotations: 4") as error:
        RadiographDataset(data, read())
    for text in ("'pneumonitis'", "x1 < x2", "has 4 x 6 rows x columns, its image 8 x 12", "at most 2 boxes"):
        assert text in str(error.value)
    assert "on_wrong_label='skip'" in str(error.value)
    dataset = RadiographDataset(data, read(), on_wrong_label="skip")
    assert [item["labels"] for item in dataset.data] == [{"finding": "normal"}]
    assert [skipped["kind"] for skipped in dataset.skipped] == ["annotation"] * 4


def test_a_renamed_class_of_many_images_is_listed_in_part(folder):
    data = [{"image": str(folder / "0.png"), "labels": {"finding": "pneumonitis"}}] * 500
    with pytest.raises(ValueError, match="wrong annotations: 500") as error:
        RadiographDataset(data, read())
    assert "... and 480 more" in str(error.value)
    assert len(str(error.value).splitlines()) < 30


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        ({"labels": {"density": "A"}}, "label 'density': 2 images"),
        ({"masks": {"heart": "mask.png"}}, "mask 'heart': 2 images"),
        ({"boxes": {"nodule": []}}, "boxes of 'nodule': 2 images"),
    ],
    ids=["task", "structure", "box class"],
)
def test_annotations_that_no_task_uses_are_never_dropped_silently(folder, annotation, message, caplog):
    items = [{"image": "0.png"} | annotation, {"image": "1.png"} | annotation, {"image": "2.png"}]
    data = load_datalist(save_datalist({"training": items}, folder / "unused.json"), "training")
    with pytest.raises(ValueError, match=message) as error:
        RadiographDataset(data, read())
    assert "on_unused_label='ignore'" in str(error.value)
    assert len(RadiographDataset(data, read(), on_unused_label="ignore")) == 3
    assert message in caplog.text
    assert {problem.kind for problem in check_datalist(folder / "unused.json", transforms=read().transforms)} == {
        "unused"
    }


def test_a_mask_that_changes_after_construction_is_reported_on_access(folder, tmp_path):
    shutil.copy(folder / "mask.png", tmp_path / "mask.png")
    data = [{"image": str(folder / "0.png"), "masks": {"lung": str(tmp_path / "mask.png")}}]
    dataset = RadiographDataset(data, read())
    Image.new("1", (3, 3)).save(tmp_path / "mask.png")
    with pytest.raises(ValueError, match=r"has 3 x 3 pixels.*on_wrong_label='skip'"):
        dataset[0]


def test_inference_reads_no_label(folder):
    data = [{"image": str(folder / "0.png"), "labels": {"finding": "pneumonitis"}}]
    assert len(RadiographDataset(data, Compose([LoadRadiographd("image")]))) == 1


def test_every_item_without_an_image_is_reported(tmp_path):
    items = [{"image": "a.png"}, {}, {"image": ["a.png"]}, "a.png"]
    (tmp_path / "list.json").write_text(json.dumps({"training": items}))
    with pytest.raises(ValueError, match=r"(?s)training\[1\].*training\[2\].*training\[3\]"):
        load_datalist(tmp_path / "list.json", "training")
    assert [problem.index for problem in check_datalist(tmp_path / "list.json")] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("shape", "number", "said"),
    [
        ((4, 6), 1, "4 x 6 rows x columns, its image has 8 x 12"),
        ((8, 12), 2, r"holds \[2\]; 0 is background, and the bundle knows 1 lung"),
    ],
    ids=["size", "number"],
)
def test_label_maps_of_annotators_are_checked_before_training(folder, tmp_path, shape, number, said):
    Image.fromarray(np.full(shape, number, np.uint8)).save(tmp_path / "label.png")
    items = [{"image": str(folder / "0.png"), "label": str(tmp_path / "label.png")}]
    with pytest.raises(ValueError, match=said):
        RadiographDataset(items, Compose([LoadRadiographd("image"), LoadTargetsd(TASKS)]), num_workers=1)
