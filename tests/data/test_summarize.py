from mtmedformer_monai.data import save_datalist, summarize_datalist


def test_counts_are_those_of_the_datalist(tmp_path):
    training = [
        {"image": "a", "patient_id": "1", "site": "x", "labels": {"finding": "normal"}, "boxes": {"opacity": []}},
        {"image": "b", "patient_id": "1", "site": "y", "boxes": {"opacity": [[0, 0, 1, 1], [1, 1, 2, 2]]}},
        {"image": "c", "masks": {"lung": "m", "heart": None}, "labels": {"signs": ["edema", "mass"], "finding": None}},
    ]
    test = [{"image": "d", "patient_id": "2", "site": "y", "labels": {"signs": ["mass"]}, "boxes": None}]
    path = save_datalist({"training": training, "test": test}, tmp_path / "datalist.json")
    header, *lines = [line.split() for line in summarize_datalist(path).splitlines()]
    assert header == ["training", "validation", "test", "all"]
    assert [(" ".join(line[:-4]), *map(int, line[-4:])) for line in lines] == [
        ("images", 3, 0, 1, 4),
        ("patients", 1, 0, 1, 2),
        ("site unknown", 1, 0, 0, 1),
        ("site x", 1, 0, 0, 1),
        ("site y", 1, 0, 1, 2),
        ("mask lung", 1, 0, 0, 1),
        ("boxes opacity", 2, 0, 0, 2),
        ("without a box", 1, 0, 0, 1),
        ("boxes in all", 2, 0, 0, 2),
        ("label finding", 1, 0, 0, 1),
        ("normal", 1, 0, 0, 1),
        ("label signs", 1, 0, 1, 2),
        ("edema", 1, 0, 0, 1),
        ("mass", 1, 0, 1, 2),
    ]


def test_studies_are_counted_where_there_are_any(tmp_path):
    items = [{"image": str(number), "study_id": f"s{number // 2}"} for number in range(4)]
    path = save_datalist({"training": items, "test": [{"image": "x"}]}, tmp_path / "datalist.json")
    assert "studies 2 0 0 2" in [" ".join(line.split()) for line in summarize_datalist(path).splitlines()]


def test_a_patient_in_two_sections_is_one_patient_in_all(tmp_path):
    item = {"image": "x", "patient_id": 1, "study_id": "s"}
    path = save_datalist({"training": [item], "test": [item | {"patient_id": "1.0"}]}, tmp_path / "datalist.json")
    lines = [" ".join(line.split()) for line in summarize_datalist(path).splitlines()]
    assert lines[1:4] == ["images 1 0 1 2", "patients 1 0 1 1", "studies 1 0 1 1"]


def test_columns_are_aligned(tmp_path):
    items = [{"image": str(number), "site": "a hospital with a long name"} for number in range(1234)]
    lines = summarize_datalist(save_datalist({"test": items}, tmp_path / "d.json")).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert "1,234" in lines[1]
