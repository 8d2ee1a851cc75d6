from collections import Counter

import pytest

from mtmedformer_monai.data.sites import partition_across_sites


def make_datalist(num_patients=60):
    """Creates a datalist with two images per patient, three scanners, two classes and all annotations."""
    items = [
        {
            "image": f"{patient}-{number}.png",
            "patient_id": f"p{patient:03d}",
            "site": f"scanner {patient % 3}",
            "masks": {"lung": "m.png"},
            "boxes": {"opacity": []},
            "labels": {"finding": "pneumonia" if patient % 4 == 0 else "normal"},
        }
        for patient in range(num_patients)
        for number in range(2)
    ]
    cut, end = num_patients, num_patients + num_patients // 2
    return {"name": "made", "training": items[:cut], "validation": items[cut:end], "test": items[end:]}


def images(datalist):
    return [item["image"] for section in ("training", "validation", "test") for item in datalist[section]]


@pytest.mark.parametrize("partition", ["iid", "site", "labels", "tasks"])
def test_every_image_is_assigned_to_one_site_by_patient_and_keeps_its_section(partition):
    whole = make_datalist()
    sites = partition_across_sites(whole, 3, partition, seed=4, stratify_on="finding")
    assert sorted(name for site in sites for name in images(site)) == sorted(images(whole))
    for section in ("training", "validation", "test"):
        kept = {item["image"] for site in sites for item in site[section]}
        assert kept == {item["image"] for item in whole[section]}
    patients = [{item["patient_id"] for part in ("training", "test") for item in site[part]} for site in sites]
    assert len(set.union(*patients)) == sum(map(len, patients))
    assert sites == partition_across_sites(whole, 3, partition, seed=4, stratify_on="finding")


def test_iid_sites_have_equal_sizes():
    assert [len(images(site)) for site in partition_across_sites(make_datalist(), 3)] == [40, 40, 40]


def test_partition_by_site_separates_scanners():
    sites = partition_across_sites(make_datalist(), 3, "site")
    assert [{item["site"] for item in site["training"]} for site in sites] == [
        {"scanner 0"},
        {"scanner 1"},
        {"scanner 2"},
    ]
    with pytest.raises(ValueError, match="expects items with 4 or more values of 'site'"):
        partition_across_sites(make_datalist(), 4, "site")


def test_sites_are_compared_as_identifiers():
    """pandas writes a missing site as NaN, and 1 as 1.0 in a column that lacks one."""
    whole, sections = make_datalist(), ("training", "validation", "test")
    items = [item for section in sections for item in whole[section]]
    for index, item in enumerate(items):
        item["site"] = [0, "1", 1.0][index // 2 % 3]
    first, second = partition_across_sites(whole, 2, "site")
    assert {item["site"] for item in first["training"]} == {0}
    assert {item["site"] for item in second["training"]} == {"1", 1.0}
    items[0]["site"] = float("nan")
    with pytest.raises(ValueError, match=r"got \['', '0', '1'\]"):
        partition_across_sites(whole, 2, "site")


def test_partition_by_labels_yields_different_class_frequencies():
    sites = partition_across_sites(make_datalist(200), 3, "labels", seed=1, stratify_on="finding")
    counts = [Counter(item["labels"]["finding"] for item in site["training"]) for site in sites]
    shares = [count["pneumonia"] / count.total() for count in counts]
    assert max(shares) - min(shares) > 0.2


def test_partition_by_tasks_keeps_one_kind_of_annotation_except_in_the_test_section():
    sites = partition_across_sites(make_datalist(), 3, "tasks")
    for site, kind in zip(sites, ("masks", "boxes", "labels"), strict=True):
        kinds = {key for item in site["training"] + site["validation"] for key in item}
        assert kinds & {"masks", "boxes", "labels"} == {kind}
        assert all({"masks", "boxes", "labels"} <= set(item) for item in site["test"])
    two = partition_across_sites(make_datalist(), 2, "tasks")
    assert {"masks", "labels"} <= set(two[0]["training"][0])
    assert "boxes" in two[1]["training"][0]


def test_invalid_partitions_are_reported():
    with pytest.raises(ValueError, match="partition expects one of"):
        partition_across_sites(make_datalist(), 3, "weather")
    with pytest.raises(ValueError, match="of 6 has no training images"):
        partition_across_sites(make_datalist(4), 6)


def test_the_command_line_offers_every_partition():
    from mtmedformer_monai.data.sites import _PARTITIONS
    from mtmedformer_monai.federated.choices import PARTITIONS

    assert set(PARTITIONS) == set(_PARTITIONS)
