import json
import logging
from pathlib import Path

import pytest
import torch
from monai.data import DataLoader, MetaTensor
from monai.transforms import Compose

from mtmedformer_monai.data import RadiographDataset
from mtmedformer_monai.data.study_dataset import StudyDataset
from mtmedformer_monai.engines import PrepareStudyBatch
from mtmedformer_monai.tasks import ClassificationTask, SegmentationTask, StudyTask
from mtmedformer_monai.transforms import LoadRadiographd, LoadTargetsd

NAN = torch.nan


class Images:
    """Single images whose pixels and class are their index."""

    def __init__(self, items):
        self.data = items

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        facts = self.data[index].get("header", ("", ""))
        meta = {"filename_or_obj": f"folder/{index}.dcm", "laterality": facts[0], "view": facts[1]}
        image = MetaTensor(torch.full((1, 4, 3), float(index)), meta=meta)
        return {"image": image, "pathology": torch.tensor(float(index % 3)), "lesion": torch.ones(1, 4, 3)}


def item(study, laterality, view, **more):
    return {"study_id": study, "laterality": laterality, "view": view, **more}


def test_views_are_ordered_and_missing_ones_are_nan():
    images = Images([item("a", "L", "MLO"), item("b", "R", "CC"), item("a", "R", "CC")])
    studies = StudyDataset(images, ["pathology", "lesion"])
    assert [study["study_id"] for study in studies] == ["a", "b"]
    first = studies[0]
    assert first["image"].shape == (4, 4, 3)
    assert first["image"][:, 0, 0].nan_to_num(nan=-1).tolist() == [2, -1, -1, 0]
    assert first["pathology"].nan_to_num(nan=-1).tolist() == [2, -1, -1, 0]
    assert first["lesion"].shape == (4, 1, 4, 3)
    assert first["files"] == ["2.dcm", "", "", "0.dcm"]


def test_views_of_the_datalist_may_be_written_as_in_a_header():
    images = Images([item("a", "left", "mlo"), item("a", "R", "R-MLO"), item("a", "r", "Cranio-Caudal")])
    assert StudyDataset(images)[0]["files"] == ["2.dcm", "1.dcm", "", "0.dcm"]


def test_views_are_taken_from_the_header_and_other_views_are_substitutes():
    images = Images([{"study_id": "a", "header": ("L", "ML")}, {"study_id": "a", "header": ("L", "XCCL")}])
    assert StudyDataset(images)[0]["files"] == ["", "", "1.dcm", "0.dcm"]


def test_a_screening_view_replaces_a_substitute(caplog):
    images = Images([item("a", "L", "ML"), item("a", "L", "MLO"), item("a", "L", "LM")])
    with caplog.at_level(logging.WARNING):
        assert StudyDataset(images)[0]["files"] == ["", "", "", "1.dcm"]
    assert "2 images are not used" in caplog.text


def test_images_without_a_study_are_separate_studies():
    images = Images([{"laterality": "L", "view": "CC"}, {"laterality": "L", "view": "CC"}])
    assert len(StudyDataset(images)) == 2


def test_a_study_of_several_patients_is_refused():
    items = [item("1", "R", "CC", patient_id="a"), item("1", "L", "CC", patient_id="a", image="x.png")]
    assert len(StudyDataset(Images(items))) == 1
    items.append(item("1", "L", "MLO", patient_id="b", image="y.png"))
    with pytest.raises(ValueError, match=r"images of several patients(?s:.)*  y\.png$"):
        StudyDataset(Images(items))


def test_images_without_a_known_view_raise_an_error_with_the_remedy():
    with pytest.raises(ValueError, match="specify `laterality`"):
        StudyDataset(Images([{"study_id": "a"}]))


def test_batches_of_studies_yield_targets_per_image_breast_and_study():
    images = Images([item("a", "L", "MLO"), item("b", "R", "CC"), item("a", "R", "CC"), item("b", "R", "MLO")])
    tasks = [SegmentationTask("lesion", ["lesion"]), ClassificationTask("pathology", ["n", "b", "m"])]
    study_tasks = [
        StudyTask(ClassificationTask(f"{level}_p", ["n", "b", "m"]), "pathology", level)
        for level in ("breast", "study")
    ]
    batch = next(iter(DataLoader(StudyDataset(images, ["pathology", "lesion"]), batch_size=2)))
    image, targets = PrepareStudyBatch(tasks, study_tasks)(batch, "cpu")
    assert type(image) is torch.Tensor
    assert image.shape == (2, 4, 4, 3)
    assert targets["lesion"].shape == (8, 1, 4, 3)
    assert targets["pathology"].nan_to_num(nan=-1).tolist() == [2, -1, -1, 0, 1, 0, -1, -1]
    assert targets["breast_p"].nan_to_num(nan=-1).tolist() == [2, 0, 1, -1]
    assert targets["study_p"].tolist() == [2, 1]


def test_views_are_read_from_headers_and_an_unreadable_image_is_a_missing_view(make_dicom, tmp_path):
    views = {"L": ("CC", "MLO"), "R": ("CC",)}
    items = [
        {"image": str(make_dicom(modality="MG", name=f"{side}{view}.dcm", ImageLaterality=side, ViewPosition=view))}
        for side, names in views.items()
        for view in names
    ]
    for item in items:
        item["study_id"] = "a"
    cut = Path(items[1]["image"])
    cut.write_bytes(cut.read_bytes()[:-100])
    reads = []
    transform = Compose([LoadRadiographd("image"), LoadTargetsd([]), lambda item: reads.append(1) or item])
    studies = StudyDataset(RadiographDataset(items, transform, report=tmp_path / "skipped.json"))
    assert not reads  # at the start, headers alone
    (study,) = [studies[0]]
    assert study["files"] == ["RCC.dcm", "", "LCC.dcm", ""]
    assert torch.isnan(study["image"]).flatten(1).all(1).tolist() == [False, True, False, True]
    assert [Path(each["image"]).name for each in json.loads((tmp_path / "skipped.json").read_text())] == ["LMLO.dcm"]
