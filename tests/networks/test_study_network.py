import pytest
import torch

from mtmedformer_monai.networks import HierarchicalTransformer, MTMedFormer, StudyNetwork
from mtmedformer_monai.tasks import ClassificationTask, SegmentationTask, StudyTask

CLASSES = ["normal", "benign", "malignant"]


def make_network(weights="", **arguments) -> StudyNetwork:
    tasks = [SegmentationTask("lesion", ["lesion"]), ClassificationTask("pathology", CLASSES)]
    study_tasks = [
        StudyTask(ClassificationTask(f"{level}_pathology", CLASSES), "pathology", level)
        for level in ("breast", "study")
    ]
    network = MTMedFormer(HierarchicalTransformer("tiny"), tasks, **arguments)
    return StudyNetwork(network, study_tasks, weights).eval()


def make_study(batch=2) -> torch.Tensor:
    return torch.rand(batch, 4, 64, 48, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shared", [True, False], ids=["shared pyramid", "one pyramid per task"])
def test_outputs_of_images_breasts_and_studies(shared):
    network = make_network(shared_pyramid=shared)
    image = make_study()
    outputs = network(image)
    assert {name: tuple(output.shape) for name, output in outputs.items()} == {
        "lesion": (8, 1, 64, 48),
        "pathology": (8, 3),
        "breast_pathology": (4, 3),
        "study_pathology": (2, 3),
    }
    alone = network.image_network(image.reshape(8, 1, 64, 48))
    torch.testing.assert_close(outputs["pathology"], alone["pathology"])


def test_one_view_alone_starts_as_the_image_decoder():
    network = make_network()
    image = make_study(1)
    image[:, 1:] = torch.nan  # R_CC alone
    outputs = network(image)
    for name in ("breast_pathology", "study_pathology"):
        torch.testing.assert_close(outputs[name][0], outputs["pathology"][0])


def test_a_missing_view_has_no_influence():
    network = make_network()
    torch.nn.init.normal_(network.fusions["breast_pathology"].view)
    image = make_study(1)
    whole = network(image)
    image[:, 1] = torch.nan  # R_MLO
    less = network(image)
    assert torch.isfinite(less["breast_pathology"]).all()
    torch.testing.assert_close(less["breast_pathology"][1], whole["breast_pathology"][1])  # the left breast is complete
    assert not torch.allclose(less["breast_pathology"][0], whole["breast_pathology"][0])


def test_a_missing_view_contributes_no_gradient():
    network = make_network()
    image = make_study(1)
    image[:, 2:] = torch.nan
    network(image)["study_pathology"].sum().backward()
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    assert gradients
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_scripts_with_equal_outputs():
    network, image = make_network(), make_study()
    expected, scripted = network(image), torch.jit.script(network)(image)
    for name, output in expected.items():
        torch.testing.assert_close(scripted[name], output)


def test_starts_from_the_weights_of_the_image_network(tmp_path):
    trained = make_network().image_network
    torch.save(trained.state_dict(), tmp_path / "model.pt")
    network = make_network(tmp_path / "model.pt")
    for name, parameter in trained.decoders["pathology"].named_parameters():
        torch.testing.assert_close(dict(network.fusions["study_pathology"].pooling.named_parameters())[name], parameter)


def test_a_source_that_is_not_a_classification_is_refused():
    network = MTMedFormer(HierarchicalTransformer("tiny"), [SegmentationTask("lesion", ["lesion"])])
    with pytest.raises(ValueError, match=r"'breast_pathology' expects source to be a classification.*got 'lesion'"):
        StudyNetwork(network, [StudyTask(ClassificationTask("breast_pathology", CLASSES), "lesion", "breast")])
