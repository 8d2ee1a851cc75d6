import re
from pathlib import Path
from shutil import copy

import pytest

from mtmedformer_monai.data import Problem, check_datalist, save_datalist
from tests.data.little_images import write_image

CLASSES = {"finding": ["normal", "pneumonia"], "signs": ["edema", "mass"]}


@pytest.fixture
def check(tmp_path):
    """Returns a function that checks training and test items; 0.png to 3.png and two masks exist."""
    for name in range(4):
        write_image(tmp_path / f"{name}.png", width=12, height=8)
    write_image(tmp_path / "mask.png", width=12, height=8)
    write_image(tmp_path / "small.png", width=6, height=4)

    def run(training, test=()):
        path = save_datalist({"training": list(training), "test": list(test)}, tmp_path / "datalist.json")
        return check_datalist(path, CLASSES, ["lung"], ["opacity"])

    return run


def sound(name=0, **more):
    return {"image": f"{name}.png", "patient_id": str(name)} | more


def test_a_valid_datalist_has_no_problems(check):
    labels = {"finding": "pneumonia", "signs": ["edema", "mass"]}
    full = sound(masks={"lung": "mask.png"}, boxes={"opacity": [[0, 0, 12, 8]]}, labels=labels)
    nothing = sound(1, masks={"lung": None}, boxes={"opacity": None}, labels={"finding": None})
    assert check([full, nothing, sound(2, masks=None, boxes=None, labels=None)], [sound(3)]) == []


@pytest.mark.parametrize(
    ("item", "text"),
    [
        ({"labels": {}}, "it has no 'image'"),
        (sound("none"), "none.png is missing"),
        (sound(masks={"lung": "none.png"}), "mask of 'lung' .*none.png is missing"),
        (sound(masks={"lung": "small.png"}), "mask of 'lung' has 4 x 6 .*its image 8 x 12"),
        (sound(masks={"heart": "mask.png"}), r"mask 'heart' is none of the structures \['lung'\]"),
        (sound(boxes={"opacity": [[0, 0, 13, 8]]}), "exceeds the image"),
        (sound(labels={"finding": "tumor"}), "label 'finding' expects one of .*'tumor'"),
        (sound(labels={"signs": ["edema", "tumor"]}), "label 'signs' expects one of .*'tumor'"),
        (sound(labels={"density": "a"}), "label 'density' is none of the tasks"),
    ],
)
def test_a_problem_is_reported_with_its_place(check, item, text):
    (problem,) = check([sound(3)], [item])
    assert (problem.section, problem.index, problem.image) == ("test", 0, item.get("image", ""))
    assert re.search(text, problem.text)


@pytest.mark.parametrize(("key", "meant"), [("mask", "masks"), ("Labels", "labels"), ("box", "boxes")])
def test_a_mistyped_key_is_reported_and_keys_of_the_users_own_are_not(check, key, meant):
    own = {"age": 60, "size": "large", "completed": ["lung"]}
    (problem,) = check([sound(3, **{key: {}}, **own)])
    assert f"its key {key!r} is not read; did you mean {meant!r}?" in problem.text
    assert check([sound(3, **{meant: {}, key: {}})]) == []  # both are there


def test_unreadable_files_are_reported(check, tmp_path):
    (tmp_path / "0.png").write_text("no picture")
    (problem,) = check([sound()])
    assert "the image cannot be read" in problem.text


def test_all_problems_are_listed(check):
    bad = sound(masks={"lung": "small.png", "heart": "none.png"}, boxes={"nodule": [[1]]}, labels={"finding": 2})
    problems = check([bad, sound("none")])
    assert [problem.index for problem in problems] == [0] * 6 + [1]


def test_a_patient_in_two_sections_is_reported_without_the_id(check):
    secret = {"patient_id": "MRN-4711"}
    problems = check([sound(0) | secret, sound(1) | secret], [sound(2) | secret])
    assert [(problem.section, problem.index) for problem in problems] == [("test", 0)]
    assert "its patient is also in training[0]" in problems[0].text
    assert "4711" not in problems[0].text


def test_an_unknown_task_is_reported_once(check):
    problems = check(
        [sound(0, labels={"finding": "normal"}), sound(1, labels={"density": "a"})], [sound(2, labels={"density": "b"})]
    )
    assert [(problem.section, problem.index) for problem in problems] == [("training", 1)]
    assert "(2 images have it)" in problems[0].text


def test_studies_and_sides_of_mammograms(check):
    study = {"study_id": "accession 4711", "patient_id": "w", "laterality": "L", "view": "CC"}
    problems = check(
        [sound(0) | study, sound(1) | study | {"laterality": "left"}], [sound(2) | study | {"patient_id": "v"}]
    )
    assert [(problem.section, problem.index, problem.text.split(";")[0]) for problem in problems] == [
        ("training", 1, "laterality expects 'L' or 'R', got 'left'"),
        ("test", 0, "its study is also in training[0]"),
        ("test", 0, "its study has another patient at training[0]"),
    ]
    assert "4711" not in "".join(map(str, problems))


def test_images_without_a_patient_are_not_one_patient(check):
    assert check([{"image": "0.png"}, {"image": "1.png", "patient_id": ""}], [{"image": "2.png"}]) == []


def test_a_duplicate_image_is_reported(check, tmp_path):
    copy(tmp_path / "1.png", tmp_path / "copy.png")
    problems = check([sound(0), sound(1)], [sound("copy"), sound(0)])
    assert [p.text for p in problems if "same image" in p.text] == [
        "it is the same image as training[1]; keep one of them.",
        "it is the same image as training[0]; keep one of them.",
    ]


def test_without_a_vocabulary_any_name_is_accepted(tmp_path):
    write_image(tmp_path / "0.png")
    path = save_datalist({"test": [sound(labels={"x": 1}, boxes={"y": []})]}, tmp_path / "datalist.json")
    assert check_datalist(path) == []


def test_dicom_images_are_measured(tmp_path, make_dicom):
    write_image(tmp_path / "mask.png", width=12, height=8)
    item = {"image": make_dicom(rows=16, columns=12).name, "masks": {"lung": "mask.png"}}
    (problem,) = check_datalist(save_datalist({"test": [item]}, tmp_path / "datalist.json"))
    assert "has 8 x 12 rows x columns, its image 16 x 12" in problem.text


def test_a_problem_is_formatted_as_one_line():
    assert str(Problem("test", 3, Path("a.png").name, "it is bad.")) == "test[3] a.png: it is bad."
