import pytest

from mtmedformer_monai.data.public.kermany import convert, parse_name
from tests.data.little_images import find_item, images_by_section, write_lines


def lay_out(folder, val=True):
    """Creates the published folders with 20 training patients with two images each."""
    for number in range(10):
        for image in range(2):
            write_lines(
                folder / f"train/PNEUMONIA/person{number}_{'bacteria' if number % 2 else 'virus'}_{image}.jpeg", []
            )
            write_lines(folder / f"train/NORMAL/IM-{number:04}-{image:04}.jpeg", [])
    write_lines(folder / "test/NORMAL/NORMAL2-IM-0001-0001-0002.jpeg", [])
    write_lines(folder / "test/PNEUMONIA/person1_virus_9.jpeg", [])
    write_lines(folder / "test/PNEUMONIA/.DS_Store", [])
    if val:
        write_lines(folder / "val/PNEUMONIA/person1_bacteria_77.jpeg", [])
    return folder


def patients(datalist, *sections):
    return {item["patient_id"] for section in sections for item in datalist[section]}


def test_the_official_test_folder_is_kept(tmp_path):
    sections = images_by_section(convert(lay_out(tmp_path)))
    assert sections["test"] == {"NORMAL2-IM-0001-0001-0002.jpeg", "person1_virus_9.jpeg"}
    assert len(sections["training"] | sections["validation"]) == 41


def test_no_patient_is_in_two_sections(tmp_path):
    datalist = convert(lay_out(tmp_path))
    assert len(patients(datalist, "validation")) >= 3
    assert not patients(datalist, "training") & patients(datalist, "validation")
    assert not patients(datalist, "training", "validation") & patients(datalist, "test")


def test_val_shares_the_patients_of_train(tmp_path):
    datalist = convert(lay_out(tmp_path))
    assert find_item(datalist, "person1_bacteria_77.jpeg")["patient_id"] == "train-person1"
    assert find_item(datalist, "person1_bacteria_0.jpeg")["patient_id"] == "train-person1"
    assert find_item(datalist, "person1_virus_9.jpeg")["patient_id"] == "test-person1"


def test_labels_and_paths(tmp_path):
    datalist = convert(lay_out(tmp_path / "chest_xray").parent)
    assert find_item(datalist, "person0_virus_0.jpeg") == {
        "image": "chest_xray/train/PNEUMONIA/person0_virus_0.jpeg",
        "labels": {"finding": "pneumonia", "pneumonia_type": "viral"},
        "patient_id": "train-person0",
    }
    assert find_item(datalist, "IM-0003-0001.jpeg")["labels"] == {"finding": "normal"}


def test_the_same_folder_gives_the_same_datalist(tmp_path):
    assert convert(lay_out(tmp_path / "a")) == convert(lay_out(tmp_path / "b"))


@pytest.mark.parametrize(
    ("stem", "parsed"),
    [
        ("person78_bacteria_378", ("person78", "bacterial")),
        ("person1_virus_6", ("person1", "viral")),
        ("IM-0115-0001", ("IM-0115", None)),
        ("IM-0666-0001-0002", ("IM-0666", None)),
        ("NORMAL2-IM-1427-0001", ("NORMAL2-IM-1427", None)),
    ],
)
def test_names(stem, parsed):
    assert parse_name(stem) == parsed


def test_an_unexpected_name_is_rejected(tmp_path):
    write_lines(lay_out(tmp_path) / "train/NORMAL/mine.jpeg", [])
    with pytest.raises(ValueError, match="'mine' expects a name such as"):
        convert(tmp_path)


def test_an_unknown_layout_is_rejected(tmp_path):
    with pytest.raises(ValueError, match="expects train/ and test/"):
        convert(tmp_path)


HEADER = "image,label,subtype,group_id,split"


def test_the_flat_layout(tmp_path):
    rows = [f"images/n{n}.jpeg,NORMAL,,train-n{n // 2},train" for n in range(20)]
    rows += [f"images/p{n}.jpeg,PNEUMONIA,bacteria,train-p{n // 2},train" for n in range(20)]
    write_lines(tmp_path / "labels.csv", [HEADER, *rows, "images/t.jpeg,PNEUMONIA,virus,test-p1,test"])
    datalist = convert(tmp_path)
    assert datalist["test"] == [
        {
            "image": "images/t.jpeg",
            "labels": {"finding": "pneumonia", "pneumonia_type": "viral"},
            "patient_id": "test-p1",
        }
    ]
    assert find_item(datalist, "p3.jpeg")["labels"] == {"finding": "pneumonia", "pneumonia_type": "bacterial"}
    assert find_item(datalist, "n3.jpeg")["labels"] == {"finding": "normal"}
    assert len(datalist["validation"]) == 6
    assert not patients(datalist, "training") & patients(datalist, "validation")


@pytest.mark.parametrize("row", ["a.jpeg,SICK,,g,train", "a.jpeg,PNEUMONIA,fungus,g,train"], ids=["label", "subtype"])
def test_an_unknown_label_is_rejected(tmp_path, row):
    write_lines(tmp_path / "labels.csv", [HEADER, row])
    with pytest.raises(ValueError, match="fix the row"):
        convert(tmp_path)


def lay_out_later_release(folder):
    """Yields file names of the later release: class, patient number, image number."""
    for number in range(24):
        name, kind = (("NORMAL", "NORMAL"), ("PNEUMONIA", "BACTERIA"), ("PNEUMONIA", "VIRUS"))[number % 3]
        part = "test" if number >= 18 else "train"
        for image in (1, 2):
            write_lines(folder / part / name / f"{kind}-{1000000 + number}-{image:04}.jpeg", [])
    return folder


@pytest.mark.parametrize("place", [".", "ZhangLabData/CellData/chest_xray", "chest_xray/chest_xray"])
def test_the_later_release_is_found_at_any_depth(tmp_path, place):
    lay_out_later_release(tmp_path / place)
    for name in ("CNV", "NORMAL"):
        for part in ("train", "test"):
            write_lines(tmp_path / "ZhangLabData/CellData/OCT" / part / name / f"{name}-9-1.jpeg", [])
    write_lines(tmp_path / "__MACOSX/chest_xray/train/NORMAL/._NORMAL-1-1.jpeg", [])
    datalist = convert(tmp_path)
    assert sum(map(len, images_by_section(datalist).values())) == 48
    assert find_item(datalist, "VIRUS-1000002-0001.jpeg")["patient_id"] == "1000002"
    assert find_item(datalist, "VIRUS-1000002-0001.jpeg")["labels"] == {
        "finding": "pneumonia",
        "pneumonia_type": "viral",
    }
    assert find_item(datalist, "BACTERIA-1000001-0002.jpeg")["labels"]["pneumonia_type"] == "bacterial"
    assert find_item(datalist, "NORMAL-1000000-0001.jpeg")["labels"] == {"finding": "normal"}
    assert patients(datalist, "test") == {str(1000000 + number) for number in range(18, 24)}


def test_a_numbered_patient_of_the_test_folder_is_not_trained_on(tmp_path):
    lay_out_later_release(tmp_path)
    write_lines(tmp_path / "train/PNEUMONIA/BACTERIA-1000019-0007.jpeg", [])
    datalist = convert(tmp_path)
    assert "1000019" in patients(datalist, "test")
    assert "1000019" not in patients(datalist, "training", "validation")


@pytest.mark.parametrize("place", ["NORMAL/BACTERIA-1-1.jpeg", "PNEUMONIA/NORMAL-1-1.jpeg", "VIRUS/VIRUS-1-1.jpeg"])
def test_a_folder_that_contradicts_the_name_is_reported(tmp_path, place):
    write_lines(lay_out_later_release(tmp_path) / "train" / place, [])
    with pytest.raises(ValueError, match="that agrees with the name"):
        convert(tmp_path)


def test_a_subset_without_the_label_of_the_split(tmp_path):
    for number in range(20):
        write_lines(tmp_path / f"train/NORMAL/IM-{number:04}-0001.jpeg", [])
    write_lines(tmp_path / "test/PNEUMONIA/person1_virus_9.jpeg", [])
    datalist = convert(tmp_path)
    assert [len(datalist[section]) for section in ("training", "validation", "test")] == [17, 3, 1]
