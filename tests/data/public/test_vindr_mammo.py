import pytest

from mtmedformer_monai.data.public.vindr_mammo import convert
from tests.data.little_images import find_item, images_by_section, write_lines

BREASTS = "study_id,series_id,laterality,image_id,view_position,height,width,breast_birads,breast_density,split"
FINDINGS = f"{BREASTS[:-6]},finding_categories,finding_birads,xmin,ymin,xmax,ymax,split"


@pytest.fixture
def release(tmp_path):
    """Ten studies to train on and two to test on, of two images each."""
    breasts, findings = [], []
    for study in range(12):
        for view in ("CC", "MLO"):
            image, split = f"i{study}{view}", "test" if study > 9 else "training"
            row = f"s{study},x,L,{image},{view},100,80,BI-RADS {study % 5 + 1},DENSITY {'ABCD'[study % 4]}"
            breasts.append(f"{row},{split}")
            findings.append(f"{row},['No Finding'],,,,,,{split}")
            write_lines(tmp_path / "images" / f"s{study}" / f"{image}.dicom", [])
    row = "s0,x,L,i0CC,CC,100,80,BI-RADS 4,DENSITY A"
    findings[0] = f"{row},['Mass'],BI-RADS 4,10.5,20,30.25,40,training"
    findings.append(f"{row},\"['Asymmetry', 'Skin Thickening']\",BI-RADS 3,-2.5,90,85.0,104.5,training")
    findings.append(f"{row},['Nipple Retraction'],BI-RADS 3,1,1,5,5,training")
    write_lines(tmp_path / "breast-level_annotations.csv", [BREASTS, *breasts])
    write_lines(tmp_path / "finding_annotations.csv", [FINDINGS, *findings])
    return tmp_path


def test_boxes_of_lesions_are_clipped_to_the_image(release):
    item = find_item(convert(release), "i0CC.dicom")
    assert item["boxes"] == {"lesion": [[10.5, 20, 30.25, 40], [0, 90, 80, 100]]}


def test_an_image_without_a_finding(release):
    assert find_item(convert(release), "i5MLO.dicom") == {
        "image": "images/s5/i5MLO.dicom",
        "patient_id": "s5",
        "study_id": "s5",
        "laterality": "L",
        "view": "MLO",
        "labels": {"breast_density": "B", "birads": "1"},
        "boxes": {"lesion": []},
    }


def test_the_official_test_part_stays(release):
    datalist = convert(release)
    sections = images_by_section(datalist)
    assert sections["test"] == {f"i{study}{view}.dicom" for study in (10, 11) for view in ("CC", "MLO")}
    studies = [{item["study_id"] for item in datalist[section]} for section in ("training", "validation")]
    assert len(studies[0]) + len(studies[1]) == 10
    assert studies[1]
    assert not studies[0] & studies[1]


def test_a_part_of_the_images_will_do(release):
    (release / "images" / "s11" / "i11CC.dicom").unlink()
    assert len(convert(release)["test"]) == 3


@pytest.mark.parametrize(
    ("table", "old", "new", "match"),
    [
        ("breast-level_annotations.csv", ",test", ",holdout", "expects splits"),
        ("breast-level_annotations.csv", "breast_density", "density", r"columns \['breast_density'\]"),
        ("finding_annotations.csv", "['Mass']", "Mass", "expects categories"),
    ],
    ids=["split", "column", "categories"],
)
def test_other_tables_are_refused(release, table, old, new, match):
    path = release / table
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ValueError, match=match):
        convert(release)
