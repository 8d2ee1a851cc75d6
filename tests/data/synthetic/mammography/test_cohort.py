import hashlib
from collections import defaultdict

import numpy as np
import pydicom
import pytest
from PIL import Image

from mtmedformer_monai.data import check_datalist, load_datalist, make_mammography_cohort, read_datalist
from mtmedformer_monai.data.synthetic.cohorts import make_cohort
from mtmedformer_monai.data.synthetic.mammography.cohort import PARTS
from mtmedformer_monai.data.synthetic.mammography.scanner import MAMMOGRAPHY_SCANNERS
from mtmedformer_monai.keys import STUDY_VIEWS, MetaKey
from mtmedformer_monai.transforms import read_radiograph

SECTIONS = ("training", "validation", "test")
CLASSES = {"pathology": ["normal", "benign", "malignant"], "breast_density": ["A", "B", "C", "D"]}
KINDS = ("masks", "boxes", "labels")
PATIENTS, SIZE = 16, 64
ANNOTATED = {"site_a": ["lesion"], "site_b": ["pathology", "lesion_box"], "site_c": []}


def make(folder, **options):
    return make_mammography_cohort(folder, **{"num_patients": PATIENTS, "image_size": SIZE, "workers": 1} | options)


def items_of(datalist):
    return [item for section in SECTIONS for item in load_datalist(datalist, section)]


def lesion_of(item):
    return np.asarray(Image.open(item["masks"]["lesion"])) > 0


def content_of(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return make(tmp_path_factory.mktemp("cohort"))


@pytest.fixture(scope="module")
def images(cohort):
    """Returns [(item, image, metadata, elements)] of all files."""
    return [
        (item, *read_radiograph(item["image"]), pydicom.dcmread(item["image"], stop_before_pixels=True))
        for item in items_of(cohort)
    ]


@pytest.fixture(scope="module")
def studies(images):
    """Returns {study: {(laterality, view): (item, image, metadata, elements)}}."""
    found = defaultdict(dict)
    for shot in images:
        found[shot[0]["study_id"]][shot[0]["laterality"], shot[0]["view"]] = shot
    return found


@pytest.fixture(scope="module")
def little(tmp_path_factory):
    return make(tmp_path_factory.mktemp("little"), num_patients=8, image_size=32)


def test_equal_seeds_write_equal_files_for_any_number_of_workers(little, tmp_path):
    again = make(tmp_path, num_patients=8, image_size=32, workers=2)
    assert content_of(again.parent) == content_of(little.parent)


@pytest.fixture(scope="module")
def varied(tmp_path_factory):
    return make_cohort("mammography_varied", tmp_path_factory.mktemp("varied"), 8, 32, 0)


def test_a_varied_cohort_has_all_labels_and_its_own_name(varied):
    assert check_datalist(varied, CLASSES) == []
    assert read_datalist(varied)["name"] == "synthetic_mammography_varied"
    for item in items_of(varied):
        assert lesion_of(item).any() == (item["labels"]["pathology"] != "normal")


def test_equal_seeds_write_equal_varied_files(varied, tmp_path):
    again = make(tmp_path, num_patients=8, image_size=32, style="varied")
    assert content_of(again.parent) == content_of(varied.parent)


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Creates a cohort with another seed, whose sites have only some annotations."""
    return make(tmp_path_factory.mktemp("other"), num_patients=8, image_size=32, seed=1, annotated=ANNOTATED)


def test_other_seeds_write_other_images(little, other):
    pixels = [
        {pydicom.dcmread(item["image"]).pixel_array.tobytes() for item in items_of(one)} for one in (little, other)
    ]
    assert not pixels[0] & pixels[1]


def test_an_interrupted_cohort_has_no_datalist(little, tmp_path):
    old = tmp_path / "datalist.json"
    old.write_text('{"name": "synthetic_chest", "training": []}')
    (tmp_path / "images" / min((little.parent / "images").iterdir()).name).mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        make(tmp_path, num_patients=8, image_size=32)
    assert not old.exists()
    assert not list(tmp_path.glob("*.part"))


def test_no_patient_is_in_two_sections_and_each_section_has_every_pathology(cohort):
    sections = [load_datalist(cohort, section) for section in SECTIONS]
    patients = [{item["patient_id"] for item in section} for section in sections]
    assert sum(map(len, patients)) == len(set.union(*patients)) == PATIENTS
    for section in sections:
        assert {item["labels"]["pathology"] for item in section} == set(CLASSES["pathology"])


def test_the_check_finds_no_problems(cohort):
    assert check_datalist(cohort, CLASSES, ["lesion"], ["lesion"]) == []


def test_a_patient_has_one_study_of_three_or_four_views(studies):
    assert (
        len(studies)
        == len({shot[0]["patient_id"] for views in studies.values() for shot in views.values()})
        == PATIENTS
    )
    identifiers = set()
    for views in studies.values():
        assert {f"{laterality}_{view}" for laterality, view in views} <= set(STUDY_VIEWS)
        assert len(views) in (3, 4)
        (identifier,) = {shot[3].StudyInstanceUID for shot in views.values()}
        assert len({shot[3].SOPInstanceUID for shot in views.values()}) == len(views)
        assert len({shot[0]["labels"]["breast_density"] for shot in views.values()}) == 1
        identifiers.add(identifier)
    assert len(identifiers) == PATIENTS


def test_headers_agree_with_the_datalist(images):
    for item, image, meta, header in images:
        assert (meta[MetaKey.LATERALITY], meta[MetaKey.VIEW]) == (item["laterality"], item["view"])
        assert header.ImageLaterality == item["laterality"]
        assert image.shape == (header.Rows, header.Columns)
        scanner = next(scanner for scanner in MAMMOGRAPHY_SCANNERS if scanner.name == item["site"])
        np.testing.assert_allclose(meta[MetaKey.SPACING_MM], scanner.receptor.field_mm / SIZE, rtol=1e-4)


def test_the_chest_wall_agrees_with_the_orientation(images):
    """Rows that point anterior start at the chest wall, where the breast is widest."""
    seen = set()
    for item, image, _, header in images:
        width = SIZE // 8
        left, right = image[SIZE // 5 : -SIZE // 5, :width].mean(), image[SIZE // 5 : -SIZE // 5, -width:].mean()
        assert (left > right) == (header.PatientOrientation[0] == "A"), item["site"]
        medial = "L" if item["laterality"] == "R" else "R"
        assert header.PatientOrientation[1] == (medial if item["view"] == "CC" else f"F{medial}")
        seen.add((item["laterality"], header.PatientOrientation[0]))
    assert seen == {("R", "P"), ("L", "A"), ("R", "A"), ("L", "P")}


def test_masks_boxes_and_labels_agree(images):
    for item, image, _, _ in images:
        mask, boxes = lesion_of(item), item["boxes"]["lesion"]
        assert mask.any() == bool(boxes) == (item["labels"]["pathology"] != "normal")
        covered = np.zeros_like(mask)
        for x1, y1, x2, y2 in boxes:
            part = mask[int(y1) : int(y2), int(x1) : int(x2)]
            assert part.any(axis=0).all() or len(boxes) > 1
            covered[int(y1) : int(y2), int(x1) : int(x2)] = True
        assert not (mask & ~covered).any()
        assert mask.shape == image.shape


def test_lesions_lie_inside_the_breast(images):
    """Air is darkest in every appearance; the burned-in annotation and tape are elsewhere."""
    for item, image, _, _ in images:
        mask = lesion_of(item)
        if mask.any():
            assert np.median(image[mask]) > 0.1, item["site"]


def test_both_views_of_a_breast_show_the_same_lesions(studies):
    """Compares number, distance from the chest wall, and size."""
    compared = 0
    for views in studies.values():
        for laterality in "RL":
            shots = [views[laterality, view] for view in ("CC", "MLO") if (laterality, view) in views]
            if len(shots) == 2:
                first, second = (lesions_in_mm(*shot) for shot in shots)
                assert len(first) == len(second)
                for one, other in zip(first, second, strict=True):
                    assert abs(one[0] - other[0]) < 8.0
                    assert 0.4 < one[1] / other[1] < 2.5
                    compared += 1
    assert compared > 10


def lesions_in_mm(item, image, meta, header):
    """Returns [(distance from the chest wall, size)] of the lesions, in the item's order."""
    spacing = float(meta[MetaKey.SPACING_MM][1])
    found = []
    for x1, y1, x2, y2 in item["boxes"]["lesion"]:
        middle = 0.5 * (x1 + x2)
        away = middle if header.PatientOrientation[0] == "A" else image.shape[1] - middle
        found.append((away * spacing, np.sqrt((x2 - x1) * (y2 - y1)) * spacing))
    return found


def test_dense_tissue_reads_brighter_than_fat_at_every_site(images):
    """Breasts of class D are brighter inside than those of class A, in presented and raw images."""
    by_class = defaultdict(list)
    for item, image, _, header in images:
        near_wall = slice(4, SIZE // 4) if header.PatientOrientation[0] == "A" else slice(-SIZE // 4, -4)
        patch = image[SIZE * 2 // 5 : SIZE * 3 // 5, near_wall]
        by_class[item["labels"]["breast_density"] in "CD"].append(np.median(patch))
    assert np.mean(by_class[True]) > np.mean(by_class[False]) + 0.05


def test_the_cohort_has_raw_and_presented_files(images):
    assert {header.PresentationIntentType for *_, header in images} == {"FOR PROCESSING", "FOR PRESENTATION"}
    assert {item["site"] for item, *_ in images} == {scanner.name for scanner in MAMMOGRAPHY_SCANNERS}


def test_sites_may_have_only_some_annotations(other):
    items = items_of(other)
    carried = {
        site: {kind: set(item[kind]) for item in items if item["site"] == site for kind in item if kind in KINDS}
        for site in ANNOTATED
    }
    assert carried == {
        "site_a": {"masks": {"lesion"}},
        "site_b": {"boxes": {"lesion"}, "labels": {"pathology"}},
        "site_c": {},
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_patients": 7}, "num_patients expects 8 or more"),
        ({"pathology_shares": {"cyst": 1.0}}, "pathology_shares expects names .* got .'cyst'"),
        ({"style": "vivid"}, "style expects one of .'plain', 'varied'., got 'vivid'"),
        ({"annotated": {"site_a": ["lung"]}}, "annotated expects parts .* got .'lung'"),
        ({"annotated": {"site_z": ["lesion"]}}, "annotated expects sites .* got .'site_z'"),
        ({"workers": 0}, "workers expects 1 or more processes, got 0"),
    ],
    ids=["too few", "pathology", "style", "part", "site", "workers"],
)
def test_invalid_options_are_reported(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        make(tmp_path, **options)


def test_the_parts_are_those_of_the_mammography_bundle():
    assert set(PARTS) == {"lesion", "lesion_box", "pathology", "breast_density"}
