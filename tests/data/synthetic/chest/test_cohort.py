import hashlib
from collections import Counter

import numpy as np
import pydicom
import pytest
from PIL import Image

from mtmedformer_monai.data import check_datalist, load_datalist, make_chest_cohort, read_datalist
from mtmedformer_monai.data.synthetic.chest.cohort import PARTS, render_chest
from mtmedformer_monai.data.synthetic.chest.phantom import draw_patient
from mtmedformer_monai.data.synthetic.chest.scanner_appearance import SCANNERS
from mtmedformer_monai.data.synthetic.cohorts import make_cohort
from mtmedformer_monai.keys import MetaKey
from mtmedformer_monai.transforms import read_radiograph

SECTIONS = ("training", "validation", "test")
CLASSES = {"finding": ["normal", "pneumonia"], "pneumonia_type": ["bacterial", "viral"], "opacity_box": ["opacity"]}
PATIENTS, SIZE = 18, 48
KINDS = ("masks", "boxes", "labels")


def make(folder, **options):
    return make_chest_cohort(folder, **{"num_patients": PATIENTS, "image_size": SIZE, "workers": 1} | options)


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


def test_equal_seeds_write_equal_files_for_any_number_of_workers(cohort, tmp_path):
    assert content_of(make(tmp_path, workers=2).parent) == content_of(cohort.parent)


@pytest.fixture(scope="module")
def varied(tmp_path_factory):
    return make_cohort("chest_varied", tmp_path_factory.mktemp("varied"), PATIENTS, SIZE, 0)


def test_a_varied_cohort_has_all_labels_and_its_own_name(varied):
    assert check_datalist(varied, CLASSES) == []
    assert read_datalist(varied)["name"] == "synthetic_chest_varied"
    items = items_of(varied)
    assert {item["labels"]["finding"] for item in items} == {"normal", "pneumonia"}
    for item in items:
        masks = masks_of(item)
        assert masks["lung"].any()
        assert not (masks["opacity"] & ~masks["lung"]).any()


def test_varied_images_have_more_shapes_than_scanners(varied, cohort):
    shapes = [{masks_of(item)["lung"].shape for item in items_of(each)} for each in (varied, cohort)]
    assert len(shapes[0]) > len(SCANNERS) >= len(shapes[1])


def test_equal_seeds_write_equal_varied_files(varied, tmp_path):
    assert content_of(make(tmp_path, style="varied", workers=1).parent) == content_of(varied.parent)


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Creates a cohort with another seed, whose sites have only some annotations."""
    annotated = {"site_a": ["lung"], "site_b": ["finding", "opacity_box"]}
    return make(tmp_path_factory.mktemp("other"), num_patients=9, seed=1, annotated=annotated)


def test_other_seeds_write_other_images(cohort, other):
    assert not pixels_of(other) & pixels_of(cohort)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupted_cohort_has_no_datalist(tmp_path, workers):
    old = tmp_path / "datalist.json"
    old.write_text('{"name": "synthetic_chest", "training": []}')
    (tmp_path / "images/synthetic-0-00001-0.dcm").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        make(tmp_path, num_patients=8, image_size=32, workers=workers)
    assert not old.exists()
    assert not list(tmp_path.glob("*.part"))


def test_no_patient_is_in_two_sections(cohort):
    sections = [{item["patient_id"] for item in load_datalist(cohort, section)} for section in SECTIONS]
    assert sum(map(len, sections)) == len(set.union(*sections)) == PATIENTS


def test_the_check_finds_no_problems(cohort):
    assert check_datalist(cohort, CLASSES) == []


def test_every_section_has_patients_and_every_site_its_share(cohort):
    patients = {item["patient_id"]: item["site"] for item in items_of(cohort)}
    assert len(patients) == PATIENTS
    assert Counter(patients.values()) == {"site_a": 6, "site_b": 6, "site_c": 6}
    assert all(read_datalist(cohort)[section] for section in SECTIONS)


def test_annotations_are_consistent(cohort):
    for item in items_of(cohort):
        masks, labels = masks_of(item), item["labels"]
        assert masks["lung"].any()
        assert not (masks["opacity"] & ~masks["lung"]).any()
        is_ill = labels["finding"] == "pneumonia"
        assert (masks["opacity"].any(), bool(item["boxes"]["opacity"]), "pneumonia_type" in labels) == (is_ill,) * 3


def test_lungs_are_darker_than_the_abdomen_at_every_site(cohort):
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


def test_sites_may_have_only_some_annotations(other):
    items = items_of(other)
    carried = {
        site: {
            kind: set(item.get(kind, {})) for item in items if item["site"] == site for kind in item if kind in KINDS
        }
        for site in ("site_a", "site_b")
    }
    assert carried["site_a"] == {"masks": {"lung"}}
    assert carried["site_b"] == {"boxes": {"opacity"}, "labels": {"finding"}}
    assert any(set(item["masks"]) == {"lung", "opacity"} for item in items if item["site"] == "site_c")


def test_a_cohort_without_any_label_is_split_too(tmp_path):
    datalist = make(tmp_path, num_patients=8, image_size=32, scanners=SCANNERS[:1], annotated={"site_a": ["lung"]})
    assert [bool(load_datalist(datalist, section)) for section in SECTIONS] == [True] * 3


@pytest.mark.parametrize("number", range(len(SCANNERS)), ids=[scanner.name for scanner in SCANNERS])
def test_files_read_back_as_they_were_rendered(cohort, number):
    """Draws the random numbers of a site's first patient in the same order as the cohort."""
    scanner = SCANNERS[number]
    first = next(item for item in items_of(cohort) if item["image"].endswith(f"synthetic-0-{number:05d}-0.dcm"))
    rng = np.random.default_rng([0, number])
    patient = draw_patient(rng)
    disease = str(rng.choice(["normal", "bacterial", "viral"], p=[0.4, 0.3, 0.3]))
    rng.random(), rng.integers(*((1, 14) if patient.is_child else (18, 90)))  # whether a second image, and the age
    shape = (round(SIZE * scanner.aspect), SIZE)
    image, masks, found = render_chest(shape, patient, disease, scanner, rng)
    read, meta = read_radiograph(first["image"])
    np.testing.assert_allclose(read, image, atol=0.5 / (2**scanner.bits_stored - 1) + 1e-6)  # half a gray level
    np.testing.assert_equal(masks_of(first), masks)
    assert first["boxes"] == {"opacity": found.boxes}
    assert meta[MetaKey.VIEW] == scanner.view
    np.testing.assert_allclose(meta[MetaKey.SPACING_MM], [scanner.spacing_mm * 256 / SIZE] * 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_patients": 7}, "num_patients expects 8 or more"),
        ({"disease_shares": {"fungal": 1.0}}, "disease_shares expects names .* got .'fungal'"),
        ({"style": "vivid"}, "style expects one of .'plain', 'varied'., got 'vivid'"),
        ({"annotated": {"site_a": ["heart"]}}, "annotated expects parts .* got .'heart'"),
        ({"annotated": {"site_z": ["lung"]}}, "annotated expects sites .* got .'site_z'"),
        ({"workers": 0}, "workers expects 1 or more processes, got 0"),
    ],
    ids=["too few", "disease", "style", "part", "site", "workers"],
)
def test_invalid_options_are_reported(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        make(tmp_path, **options)


def test_the_parts_are_those_of_the_chest_bundle():
    assert set(PARTS) == {"lung", "opacity", "opacity_box", "finding", "pneumonia_type"}
