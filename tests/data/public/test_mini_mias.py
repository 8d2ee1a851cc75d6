import json

import numpy as np
import pytest
from PIL import Image

from mtmedformer_monai.data import check_datalist, convert_dataset, read_datalist
from mtmedformer_monai.data.public.mias_tables import read_info
from mtmedformer_monai.data.public.mini_mias import convert
from mtmedformer_monai.transforms.read_mask import read_mask
from mtmedformer_monai.transforms.reading import read_radiograph
from tests.data.little_images import find_item, write_image, write_lines

INFO = """THE MINI-MIAS DATABASE OF MAMMOGRAMS

mdb001 G CIRC B 535 425 197
mdb002 G CIRC B 522 280 69
mdb003 D NORM
mdb005 F CIRC B 477 133 30
mdb005 F CIRC M 500 168 26
mdb059 F CIRC B
mdb212 G CALC B 687 882 3
mdb216 D CALC M *NOTE 3*
"""


def write_release(folder):
    """Creates the films of `INFO`, except the second, and ten normal films."""
    extra = [f"mdb{number:03} F NORM" for number in range(101, 111)]
    write_lines(folder / "Info.txt", [INFO, *extra])
    films = [*(line.split()[0] for line in [*INFO.splitlines()[2:], *extra])]
    for name in set(films) - {"mdb002"}:
        Image.fromarray(np.full((1024, 1024), int(name[3:]) % 200, dtype=np.uint8)).save(folder / f"{name}.pgm")
    return folder


@pytest.fixture(scope="module")
def datalist(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mias")
    return convert(write_release(folder / "set"), folder / "masks", folder / "copies")


def test_films_are_converted_to_a_supported_format(datalist):
    item = find_item(datalist, "mdb001.png")
    assert item["image"].endswith("/copies/mdb001.png")
    image, _ = read_radiograph(item["image"])
    assert image.shape == (1024, 1024)
    assert np.allclose(image, 1 / 255)


def test_rows_of_circles_are_counted_from_the_bottom(datalist):
    item = find_item(datalist, "mdb001.png")
    mask = read_mask(item["masks"]["lesion"])
    row, column = 1023 - 425, 535
    assert mask[row, column]
    assert (mask[row, column - 197], mask[row, column - 198]) == (True, False)
    assert (mask[row + 197, column], mask[row + 198, column]) == (True, False)
    assert item["boxes"] == {"lesion": [[column - 197, row - 197, column + 198, row + 198]]}


def test_labels_and_facts(datalist):
    item = find_item(datalist, "mdb001.png")
    assert item["labels"] == {"pathology": "benign", "mias_density": "glandular"}
    assert (item["patient_id"], item["study_id"], item["laterality"], item["view"]) == (
        "mias001",
        "mias001",
        "R",
        "MLO",
    )
    assert find_item(datalist, "mdb212.png")["laterality"] == "L"
    assert find_item(datalist, "mdb216.png")["labels"] == {"pathology": "malignant", "mias_density": "dense"}


def test_the_most_severe_abnormality_determines_the_pathology(datalist):
    item = find_item(datalist, "mdb005.png")
    assert item["labels"]["pathology"] == "malignant"
    assert len(item["boxes"]["lesion"]) == 2


def test_a_normal_film_has_no_lesion(datalist):
    item = find_item(datalist, "mdb003.png")
    assert item["boxes"] == {"lesion": []}
    assert not read_mask(item["masks"]["lesion"]).any()


@pytest.mark.parametrize("name", ["mdb059", "mdb212", "mdb216"], ids=["no circle", "beside the breast", "widespread"])
def test_films_without_a_circle_are_not_annotated(datalist, name):
    assert not {"masks", "boxes"} & set(find_item(datalist, f"{name}.png"))


def test_both_breasts_of_a_patient_are_in_the_same_section(datalist):
    patients = [{item["patient_id"] for item in datalist[section]} for section in ("training", "validation", "test")]
    assert all(patients)
    assert sum(map(len, patients)) == len(set().union(*patients))


def test_the_folder_may_contain_the_archive_and_copies_are_written_next_to_the_datalist(tmp_path):
    write_release(tmp_path / "all-mias")
    path = convert_dataset("mini_mias", tmp_path, tmp_path / "lists")
    item = find_item(read_datalist(path), "mdb003.png")
    assert item["image"] == "images_mini_mias/mdb003.png"
    assert item["masks"] == {"lesion": "masks_mini_mias/mdb003.png"}
    assert check_datalist(path) == []


def test_another_info_file_is_rejected(tmp_path):
    write_lines(tmp_path / "Info.txt", ["read me"])
    with pytest.raises(ValueError, match="expects lines such as 'mdb001"):
        convert(tmp_path, tmp_path / "m", tmp_path / "i")


FLAT = "image,label,density_mias,rois_json,patient_id,laterality_from_number,split"


def test_the_flat_layout(tmp_path):
    circle = json.dumps([{"cx": 5.5, "cy": 3.5, "r": 2.1}]).replace('"', '""')
    nothing = json.dumps([{"cx": None, "cy": None, "r": None}]).replace('"', '""')
    rows = [
        f'images/mdb001.png,BENIGN,G,"{circle}",mias001,R,train',
        "images/mdb003.png,NORMAL,D,,mias002,R,val",
        f'images/mdb059.png,MALIGNANT,F,"{nothing}",mias030,R,test',
    ]
    write_lines(tmp_path / "labels.csv", [FLAT, *rows])
    for name in ("mdb001", "mdb003", "mdb059"):
        write_image(tmp_path / "images" / f"{name}.png")
    datalist = convert(tmp_path, tmp_path / "masks", tmp_path / "unused")
    (benign,), (normal,), (other,) = (datalist[section] for section in ("training", "validation", "test"))
    assert benign["image"] == "images/mdb001.png"
    assert benign["boxes"] == {"lesion": [[3, 1, 8, 6]]}
    assert read_mask(benign["masks"]["lesion"]).sum() == 13
    assert normal["boxes"] == {"lesion": []}
    assert other["labels"] == {"pathology": "malignant", "mias_density": "fatty"}
    assert "masks" not in other
    assert not (tmp_path / "unused").exists()


def info_of(folder, *lines):
    write_lines(folder / "Info.txt", lines)
    return {film.name: film for film in read_info(folder / "Info.txt")}


def test_an_abnormality_without_a_severity_is_not_normal(tmp_path):
    films = info_of(tmp_path, "mdb001 G CIRC 535 425 197", "mdb002 G CIRC", "mdb002 G SPIC M 5 5 5", "mdb003 D NORM")
    assert [film.pathology for film in films.values()] == [None, "malignant", "normal"]
    assert [film.lacks_circle for film in films.values()] == [False, True, False]


def test_a_truncated_line_is_reported_or_lacks_a_circle(tmp_path):
    assert info_of(tmp_path, "mdb001 G CIRC B 535 425")["mdb001"].lacks_circle
    with pytest.raises(ValueError, match="expects lines such as 'mdb001 G CIRC B 535 425 197', got 'mdb001 G CI'"):
        info_of(tmp_path, "mdb001 G CI")


def test_circles_are_scaled_to_png_copies_and_ignored_outside_the_image(tmp_path):
    lines = ["MDB001 g circ b 535 425 197", "mdb004 D CIRC M 2000 2000 20"]
    write_lines(tmp_path / "tables" / "info.txt", [*lines, *(f"mdb{number:03} F NORM" for number in range(101, 111))])
    for name in ("mdb001", "mdb004", *(f"mdb{number:03}" for number in range(101, 111))):
        write_image(tmp_path / "png" / f"{name}.png", 256, 256)
    datalist = convert(tmp_path, tmp_path / "masks", tmp_path / "copies")
    (box,) = find_item(datalist, "mdb001.png")["boxes"]["lesion"]
    assert np.allclose(box, np.array([535 - 197, 1023 - 425 - 197, 535 + 198, 1023 - 425 + 198]) / 4, atol=1)
    assert not {"masks", "boxes"} & set(find_item(datalist, "mdb004.png"))
    assert find_item(datalist, "mdb001.png")["image"] == "png/mdb001.png"


def test_a_second_conversion_into_the_folder_gives_the_same_datalist(tmp_path):
    write_lines(tmp_path / "Info.txt", [f"mdb{number:03} F NORM" for number in range(101, 121)])
    for number in range(101, 121):
        write_image(tmp_path / "png" / f"mdb{number}.png")
    first = read_datalist(convert_dataset("mini_mias", tmp_path, tmp_path))
    assert find_item(first, "mdb101.png")["image"] == "png/mdb101.png"
    assert read_datalist(convert_dataset("mini_mias", tmp_path, tmp_path)) == first
