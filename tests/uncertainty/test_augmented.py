import pytest
import torch
from monai.bundle import ConfigParser
from torch import nn

from mtmedformer_monai.keys import BoxRow
from mtmedformer_monai.networks import HierarchicalTransformer, MTMedFormer
from mtmedformer_monai.tasks import ClassificationTask, DetectionTask, SegmentationTask
from mtmedformer_monai.uncertainty.augmented import AugmentedInferer, View, default_views, mirrored_order, shift_map
from mtmedformer_monai.uncertainty.posterior_file import WeightPosterior, fingerprint_of, save_posterior
from mtmedformer_monai.uncertainty.predictive import UncertaintyInferer, predict_with_uncertainty
from tests.bundles.conftest import BUNDLES

MASK = SegmentationTask("mask", ["left_lung", "right_lung"])
BOX = DetectionTask("box", ["mass"])
SIDE = ClassificationTask("side", ["left", "right"], "binary")
LABELS = ClassificationTask("labels", ["mass left", "mass right", "device"], "multilabel")
TASKS = [MASK, BOX, SIDE, LABELS]


class Halves(nn.Module):
    """Equivariant by construction: masks are the halves of the image, classes their means, one box per 8 x 8 cell."""

    stride = 8

    def forward(self, image):
        height, width = image.shape[-2:]
        right = (torch.arange(width) >= width // 2).float()
        masks = torch.cat([image * right, image * (1 - right)], dim=1)  # the patient's left is on the right
        sides = masks.mean(dim=(2, 3))
        y, x = torch.meshgrid(torch.arange(4, height, 8.0), torch.arange(4, width, 8.0), indexing="ij")
        points = torch.stack([x, y, torch.full_like(x, 8.0)], dim=-1).reshape(1, -1, 3)
        corners = points[..., [0, 1, 0, 1]] + torch.tensor([-3.0, -2.0, 3.0, 2.0])
        logits = nn.functional.avg_pool2d(image, 8).flatten(2).transpose(1, 2)
        rows = torch.cat([corners, points, torch.zeros(1, points.shape[1], 0)], dim=-1).expand(len(image), -1, -1)
        labels = torch.cat([sides, image.mean(dim=(2, 3))], dim=1)
        return {
            "mask": masks,
            "box": torch.cat([rows, logits], dim=-1),
            "side": sides[:, 1:] - sides[:, :1],
            "labels": labels,
        }


@pytest.fixture
def image():
    return torch.rand(2, 1, 32, 48, generator=torch.Generator().manual_seed(0))


def test_a_flip_is_undone_exactly(image):
    """Sides change places: the flipped network sees the left lung where the right one lies."""
    network, view = Halves(), View(flip=True)
    plain, flipped = network(image), network(view.apply(image))
    for task in TASKS:
        torch.testing.assert_close(view.undo(task, flipped[task.name], 48), plain[task.name], msg=task.name)


def test_disagreement_of_an_equivariant_network_under_flips_is_zero(image):
    outputs = AugmentedInferer(TASKS, [View(), View(flip=True)])(image, Halves())
    for name in ("mask.std", "box.std", "box.box_std", "side.std", "labels.std"):
        assert outputs[name].abs().max() < 1e-6, name


def test_a_shift_is_undone_within_the_image():
    values = torch.arange(24.0).reshape(1, 1, 4, 6)
    moved = shift_map(values, (2, -1), "constant")
    assert moved[0, 0, 0].tolist() == [0, 0, 6, 7, 8, 9]  # two columns to the right, one row up
    assert moved[0, 0, 3].tolist() == [0] * 6
    back = shift_map(moved, (-2, 1), "replicate")
    assert torch.equal(back[..., 1:, :4], values[..., 1:, :4])
    assert back[0, 0, 0].tolist() == back[0, 0, 1].tolist()


def test_boxes_of_a_shifted_image_return():
    rows = torch.tensor([[[10.0, 20.0, 30.0, 40.0, 16.0, 24.0, 8.0, 0.3]]])
    back = View(shift=(2, -1)).undo(BOX, rows, 64)
    assert back[0, 0, BoxRow.BOX].tolist() == [8, 21, 28, 41]
    assert back[0, 0, BoxRow.POINT].tolist() == [16, 24, 8]
    assert rows[0, 0, 0] == 10


def test_gamma_brightens():
    assert View(gamma=0.5).apply(torch.full((1, 1, 1, 1), 0.25)).item() == 0.5


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a", "b"], [0, 1]),
        (["left lung", "right lung", "heart"], [1, 0, 2]),
        (["LUNG_L", "LUNG_R"], [1, 0]),
        (["LeftLung", "RightLung", "lungL", "lungR"], [1, 0, 3, 2]),
        (["copyright", "bright"], [0, 1]),
    ],
)
def test_names_with_sides_change_places(names, expected):
    assert mirrored_order(names) == expected


def test_a_side_without_counterpart_is_refused():
    with pytest.raises(ValueError, match="'left lung' to have a counterpart"):
        mirrored_order(["left lung"])


def test_flips_are_off_by_default_since_the_bundles_train_without():
    assert not any(view.flip for view in default_views())
    assert any(view.flip for view in default_views(flip=True))


@pytest.mark.parametrize("views", [[], [View()], [View(flip=True), View()]], ids=["none", "one", "changed first"])
def test_wrong_views_are_refused(views):
    with pytest.raises(ValueError, match="views expects View"):
        AugmentedInferer(TASKS, views)


def test_outputs_stay_those_of_the_plain_network_unless_averaged(image):
    views, network = [View(), View(gamma=2.0)], Halves()
    plain, dark = network(image), network(image**2)
    outputs = AugmentedInferer([LABELS], views)(image, network)
    assert torch.equal(outputs["labels"], plain["labels"])
    probs = torch.stack([plain["labels"].sigmoid(), dark["labels"].sigmoid()])
    torch.testing.assert_close(outputs["labels.std"], probs.std(dim=0))
    mean = AugmentedInferer([LABELS], views, average=True)(image, network)["labels"]
    torch.testing.assert_close(mean.sigmoid(), probs.mean(dim=0))


def test_one_call_gives_uncertainty_of_every_task_at_any_size():
    torch.manual_seed(0)
    network = MTMedFormer(HierarchicalTransformer("tiny"), TASKS, pyramid_width=16).eval()
    image = torch.rand(2, 1, 50, 70)
    found = predict_with_uncertainty(network, image, TASKS, flip=True)
    assert found.method == "augmentation"
    assert found.probs["mask"].shape == found.std["mask"].shape == (2, 2, 50, 70)
    assert found.std["side"].shape == (2, 2)
    rows = found.probs["box"].shape[1]
    assert found.std["box"].shape == (2, rows, 1)
    assert found.box_std["box"].shape == (2, rows, 4)
    assert all((values >= 0).all() and values.max() > 0 for values in found.std.values())
    with torch.no_grad():
        torch.testing.assert_close(found.probs["side"], SIDE.activate(network(image)["side"]), rtol=1e-4, atol=1e-5)


@pytest.fixture
def saved(tmp_path):
    """A network, and its posterior, which is saved in `tmp_path`."""
    network = MTMedFormer(HierarchicalTransformer("tiny"), [SIDE], pyramid_width=16).eval()
    weights = dict(network.named_parameters())
    precision = {name: torch.full_like(value, 1e6) for name, value in weights.items()}
    posterior = WeightPosterior(precision, {n: torch.tensor(1.0) for n in precision}, 1.0,
                                fingerprint=fingerprint_of(weights, precision))  # fmt: skip
    save_posterior(posterior, tmp_path / "posterior.pt")
    return network, posterior


@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)
def test_a_bundle_takes_the_posterior_beside_the_weights_it_is_given(bundle, saved, tmp_path):
    methods = []
    for folder in (tmp_path, tmp_path / "elsewhere"):
        parser = ConfigParser()
        parser.read_config([str(bundle / f"configs/{name}.json") for name in ("inference", "uncertainty")])
        parser.update({"bundle_root": str(bundle), "ckpt_path": str(folder / "model.pt")})
        methods.append(parser.get_parsed_content("plain_inferer").method)
    assert methods == ["posterior", "augmentation"]


def test_a_posterior_is_preferred(saved, tmp_path):
    network, posterior = saved
    assert UncertaintyInferer([SIDE], tmp_path / "posterior.pt").method == "posterior"
    assert UncertaintyInferer([SIDE], tmp_path / "missing.pt").method == "augmentation"
    beside, elsewhere = tmp_path / "model.pt", tmp_path / "elsewhere/model.pt"
    assert UncertaintyInferer([SIDE], weights=beside).method == "posterior"
    assert UncertaintyInferer([SIDE], weights=elsewhere).method == "augmentation"
    assert UncertaintyInferer([SIDE], tmp_path / "posterior.pt", weights=elsewhere).method == "posterior"
    found = predict_with_uncertainty(network, torch.rand(1, 1, 32, 32), [SIDE], posterior, num_samples=3)
    assert found.method == "posterior"
    assert 0 < found.std["side"].max() < 0.2
