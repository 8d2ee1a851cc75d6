import pytest

from mtmedformer_monai.data.public.vindr_mammo import convert
from tests.data.little_images import find_item, images_by_section, write_image, write_lines

BREASTS = "study_id,series_id,laterality,image_id,view_position,height,width,breast_birads,breast_density,split"
FINDINGS = f"{BREASTS[:-6]},finding_categories,finding_birads,xmin,ymin,xmax,ymax,split"


@pytest.fixture
def release(tmp_path):
    """Creates ten training studies and two test studies with two images each."""
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


def test_the_official_test_part_is_kept(release):
    datalist = convert(release)
    sections = images_by_section(datalist)
    assert sections["test"] == {f"i{study}{view}.dicom" for study in (10, 11) for view in ("CC", "MLO")}
    studies = [{item["study_id"] for item in datalist[section]} for section in ("training", "validation")]
    assert len(studies[0]) + len(studies[1]) == 10
    assert studies[1]
    assert not studies[0] & studies[1]


def test_a_subset_of_the_images_is_sufficient(release):
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
def test_unknown_values_in_tables_are_rejected(release, table, old, new, match):
    path = release / table
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ValueError, match=match):
        convert(release)


def rewritten(release, name, change):
    path = release / name
    header, *lines = path.read_text().splitlines()
    write_lines(path, [header, *filter(None, map(change, lines))])
    return release


FINDING_TABLE = "finding_annotations.csv"


@pytest.mark.parametrize(
    ("box", "kept"),
    [("64,90,95,99", [[64, 90, 80, 99]]), ("80,10,95,20", None), ("30,60,10,20", [[10, 20, 30, 60]]), (",,,", None)],
    ids=["reaches out", "beyond the edge", "swapped", "blank"],
)
def test_an_image_with_a_lesion_box_without_area_is_not_annotated(release, box, kept):
    rewritten(release, FINDING_TABLE, lambda line: line.replace("BI-RADS 4,10.5,20,30.25,40", f"BI-RADS 4,{box}"))
    rewritten(release, FINDING_TABLE, lambda line: "" if "Asymmetry" in line else line)
    assert find_item(convert(release), "i0CC.dicom").get("boxes") == (kept and {"lesion": kept})


def test_an_image_without_a_row_of_findings_is_not_annotated(release):
    rewritten(release, FINDING_TABLE, lambda line: "" if ",i5MLO," in line else line)
    item = find_item(convert(release), "i5MLO.dicom")
    assert "boxes" not in item
    assert item["labels"] == {"breast_density": "B", "birads": "1"}


def test_an_unknown_finding_is_rejected_rather_than_ignored(release):
    rewritten(release, FINDING_TABLE, lambda line: line.replace("['Mass']", "['Lump']"))
    with pytest.raises(ValueError, match="expects categories"):
        convert(release)


def test_numbers_and_words_may_have_other_spellings(release):
    expected = convert(release)
    rewritten(release, FINDING_TABLE, lambda line: line.replace(",100,80,", ",100.0,80.0,").replace("Mass", "mass"))
    rewritten(release, "breast-level_annotations.csv", lambda line: line.replace("training", "Training"))
    assert convert(release) == expected


def test_boxes_are_scaled_to_smaller_copies(release):
    path = release / "images" / "s0" / "i0CC.dicom"
    path.unlink()
    write_image(path.with_suffix(".png"), width=40, height=50)
    assert find_item(convert(release), "i0CC.png")["boxes"]["lesion"][0] == [5.25, 10, 15.125, 20]
