import hashlib
from collections import Counter

import numpy as np
import pydicom
import pytest
from PIL import Image

from mtmedformer_monai.data import check_datalist, load_datalist, make_chest_cohort, read_datalist
from mtmedformer_monai.data.chest_cohort import PARTS
from mtmedformer_monai.transforms import read_radiograph

SECTIONS = ("training", "validation", "test")
CLASSES = {"finding": ["normal", "pneumonia"], "pneumonia_type": ["bacterial", "viral"], "opacity_box": ["opacity"]}
PATIENTS, SIZE = 24, 64
KINDS = ("masks", "boxes", "labels")


def make(folder, **options):
    return make_chest_cohort(folder, **{"num_patients": PATIENTS, "image_size": SIZE} | options)


def items_of(datalist):
    return [item for section in SECTIONS for item in load_datalist(datalist, section)]


def masks_of(item):
    return {name: np.asarray(Image.open(path)) > 0 for name, path in item["masks"].items()}


def content_of(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def pixels_of(datalist):
    return {pydicom.dcmread(item["image"]).pixel_array.tobytes() for item in items_of(datalist)}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return make(tmp_path_factory.mktemp("cohort"))


def test_equal_seeds_write_equal_files_and_others_do_not(cohort, tmp_path):
    again, other = make(tmp_path / "again"), make(tmp_path / "other", seed=1)
    assert content_of(again.parent) == content_of(cohort.parent)
    assert not pixels_of(other) & pixels_of(cohort)


def test_the_checker_finds_nothing_to_complain_of(cohort):
    assert check_datalist(cohort, CLASSES) == []


def test_every_section_has_patients_and_every_site_its_share(cohort):
    patients = {item["patient_id"]: item["site"] for item in items_of(cohort)}
    assert len(patients) == PATIENTS
    assert Counter(patients.values()) == {"site_a": 8, "site_b": 8, "site_c": 8}
    assert all(read_datalist(cohort)[section] for section in SECTIONS)


def test_what_is_annotated_agrees_with_itself(cohort):
    for item in items_of(cohort):
        masks, labels = masks_of(item), item["labels"]
        assert masks["lung"].any()
        assert not (masks["opacity"] & ~masks["lung"]).any()
        is_ill = labels["finding"] == "pneumonia"
        assert (masks["opacity"].any(), bool(item["boxes"]["opacity"]), "pneumonia_type" in labels) == (is_ill,) * 3


def test_lungs_are_darker_than_the_belly_at_every_site(cohort):
    for item in items_of(cohort):
        image, lung = read_radiograph(item["image"])[0], masks_of(item)["lung"]
        belly = image[-SIZE // 8 : -SIZE // 16, SIZE * 3 // 8 : SIZE * 5 // 8]  # above the widest border
        assert image[lung].mean() < belly.mean() - 0.1, item["site"]


def test_consolidations_are_denser_than_the_lung_around_them(cohort):
    gain = []
    for item in items_of(cohort):
        if item["labels"].get("pneumonia_type") == "bacterial":
            image, masks = read_radiograph(item["image"])[0], masks_of(item)
            gain.append(image[masks["opacity"]].mean() - image[masks["lung"] & ~masks["opacity"]].mean())
    assert np.mean(gain) > 0.1


def test_sites_may_carry_some_parts_only(tmp_path):
    items = items_of(make(tmp_path, annotated={"site_a": ["lung"], "site_b": ["finding", "opacity_box"]}))
    carried = {
        site: {
            kind: set(item.get(kind, {})) for item in items if item["site"] == site for kind in item if kind in KINDS
        }
        for site in ("site_a", "site_b")
    }
    assert carried["site_a"] == {"masks": {"lung"}}
    assert carried["site_b"] == {"boxes": {"opacity"}, "labels": {"finding"}}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"num_patients": 7}, "num_patients expects 8 or more"),
        ({"disease_shares": {"fungal": 1.0}}, "fungal"),
        ({"annotated": {"site_a": ["heart"]}}, "heart"),
    ],
    ids=["too few", "disease", "part"],
)
def test_what_it_can_not_make_is_told(tmp_path, options, told):
    with pytest.raises(ValueError, match=told):
        make(tmp_path, **options)


def test_the_parts_are_those_of_the_chest_bundle():
    assert set(PARTS) == {"lung", "opacity", "opacity_box", "finding", "pneumonia_type"}
