import copy
from itertools import pairwise

import pytest
import torch
from monai.data import MetaTensor
from torch.nn import functional

from mtmedformer_monai.losses.hybrid import HybridLoss
from mtmedformer_monai.networks import HierarchicalTransformer, MTMedFormer, SelectOutput
from mtmedformer_monai.tasks import ClassificationTask, DetectionTask, SegmentationTask
from tests.networks.small import SMALL, STEMS, every_kind, largest_difference, small_network, without_gradient

ALONE = [
    SegmentationTask("alone", ["lung"]),
    DetectionTask("alone", ["mass"]),
    DetectionTask("alone", ["mass"], levels=[2, 3]),
    ClassificationTask("alone", ["no", "yes"], "binary"),
]


@pytest.fixture(scope="module", params=list(STEMS.values()), ids=list(STEMS))
def network(request):
    detail, after_stem = request.param
    return small_network(detail=detail, after_stem=after_stem).eval()


@pytest.mark.parametrize("size", [(64, 64), (100, 70), (33, 200), (1, 1)], ids=str)
@torch.no_grad()
def test_shapes_at_any_size(network, size):
    outputs = network(torch.rand(2, 1, *size))
    rows, columns = (-(-side // 32) for side in size)
    points = rows * columns * (16 + 4 + 1)  # strides 8, 16, 32
    assert {name: tuple(output.shape) for name, output in outputs.items()} == {
        "mask": (2, 2, *size),
        "box": (2, points, 9),
        "binary": (2, 1),
        "multiclass": (2, 3),
        "multilabel": (2, 3),
        "ordinal": (2, 3),
    }


@torch.no_grad()
def test_padding_is_background_at_the_right_and_the_bottom(network):
    image = torch.rand(1, 1, 100, 70)
    padded = network(functional.pad(image, (0, 26, 0, 28)))
    padded["mask"] = padded["mask"][:, :, :100, :70]
    assert largest_difference(network(image), padded) == 0.0


@torch.no_grad()
def test_detail_changes_masks_within_the_cells_of_the_encoder():
    image = torch.rand(1, 1, 64, 64)
    bends = {}
    for detail in (False, True):
        mask = small_network(detail=detail).eval()(image)["mask"]
        columns = [mask[..., column : column + 57 : 4] for column in range(2, 6)]  # from one cell to the next
        between = torch.stack(columns, dim=-1)
        bends[detail] = float(between.diff(n=2, dim=-1).abs().max())
    assert bends[False] < 1e-5 < 1e-3 < bends[True]


@torch.no_grad()
def test_a_batch_equals_its_images(network):
    images = torch.rand(3, 1, 64, 96)
    alone = [network(image[None]) for image in images]
    joined = {name: torch.cat([outputs[name] for outputs in alone]) for name in alone[0]}
    assert largest_difference(network(images), joined) < 1e-4  # sums in another order; boxes are in pixels


@torch.no_grad()
def test_metadata_and_memory_format_change_nothing(network):
    image = torch.rand(2, 1, 64, 96)
    expected = network(image)
    from_meta = network(MetaTensor(image))
    assert all(type(output) is torch.Tensor for output in from_meta.values())
    assert largest_difference(expected, from_meta) == 0.0
    channels_last = copy.deepcopy(network).to(memory_format=torch.channels_last)
    assert largest_difference(expected, channels_last(image.to(memory_format=torch.channels_last))) < 1e-4


def test_bfloat16_trains_close_to_float32():
    network, image = small_network().train(), torch.rand(2, 1, 64, 64)
    mask = {"mask": (torch.rand(2, 2, 64, 64) > 0.5).float()}
    loss = HybridLoss(every_kind()[:1], normalize=False)
    full = loss(network(image), mask)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = network(image)
    half = loss(outputs, mask)
    half.backward()
    assert outputs["mask"].dtype == torch.bfloat16
    assert half.item() == pytest.approx(full.item(), rel=0.01)  # bfloat16 keeps 8 bits
    assert all(p.grad.isfinite().all() for p in network.encoder.parameters())


@pytest.mark.parametrize(("detail", "after_stem"), list(STEMS.values()), ids=list(STEMS))
@pytest.mark.parametrize("shared", [True, False], ids=["shared", "apart"])
def test_every_parameter_gets_a_gradient(shared, detail, after_stem):
    network = small_network(shared_pyramid=shared, detail=detail, after_stem=after_stem)
    sum(output.square().mean() for output in network(torch.rand(2, 1, 64, 64)).values()).backward()
    assert without_gradient(network) == []


@pytest.mark.parametrize("task", ALONE, ids=["segmentation", "detection", "detection_coarse", "classification"])
def test_a_task_alone_has_no_unused_parameter(task):
    network = small_network([task])
    network(torch.rand(1, 1, 64, 64))["alone"].square().mean().backward()
    assert without_gradient(network) == []


def test_a_batch_without_any_label_gives_exact_zeros_to_every_parameter():
    tasks, network = every_kind(), small_network()
    outputs = network(torch.rand(1, 1, 64, 64))
    missing = {task.name: task.encode_target({}, (64, 64))[None] for task in tasks}
    loss = HybridLoss(tasks)(outputs, missing)
    loss.backward()
    assert loss.item() == 0.0
    assert without_gradient(network) == []
    assert all((parameter.grad == 0).all() for parameter in network.parameters())


def test_separate_pyramids_do_not_share_weights():
    apart = small_network(shared_pyramid=False)
    assert set(apart.pyramids) == {task.name for task in every_kind()}
    identities = [{id(parameter) for parameter in pyramid.parameters()} for pyramid in apart.pyramids.values()]
    assert all(one and other and not one & other for one, other in pairwise(identities))


def test_detail_adds_nothing_without_segmentation():
    tasks = [ClassificationTask("alone", ["no", "yes"], "binary")]
    assert {*small_network(tasks, detail=True).state_dict()} == {*small_network(tasks).state_dict()}


@pytest.mark.parametrize("detail", [False, True])
def test_an_encoder_after_the_stem_sees_the_image_through_it_alone(detail):
    network = small_network(detail=detail, after_stem=True).eval()
    image = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        before = network(image)
        network.stem.down.convolution.weight.zero_()
        blind = [network(each) for each in (image, torch.rand(1, 1, 64, 64))]
    assert not torch.equal(before["binary"], blind[0]["binary"])
    assert torch.equal(blind[0]["binary"], blind[1]["binary"])
    assert torch.equal(blind[0]["mask"], blind[1]["mask"]) is not detail  # masks see its map at stride 1


@pytest.mark.parametrize("shared", [True, False], ids=["shared pyramid", "pyramids of their own"])
@torch.no_grad()
def test_kept_tasks_do_not_change_without_the_others(shared):
    whole = small_network(shared_pyramid=shared).eval()
    kept, image = copy.deepcopy(whole), torch.rand(2, 1, 70, 100)
    kept.keep_tasks(["mask", "ordinal"])
    expected, found = whole(image), kept(image)
    assert set(found) == {"mask", "ordinal"}
    assert all(torch.equal(output, expected[name]) for name, output in found.items())
    assert set(kept.pyramids) == ({"shared"} if shared else {"mask", "ordinal"})
    with pytest.raises(KeyError, match=r"\['mask', 'ordinal'\], got \['box'\]"):
        kept.keep_tasks(["box", "mask"])


def test_two_tasks_of_one_name_are_refused(network):
    with pytest.raises(ValueError, match=r"different names, none 'shared' or 'detail', got \['alone', 'alone'\]"):
        MTMedFormer(network.encoder, ALONE[:2])
    with pytest.raises(ValueError, match="got \\['shared'\\]"):
        MTMedFormer(network.encoder, [SegmentationTask("shared", ["lung"])])


@torch.no_grad()
def test_select_output_gives_a_label_map(network):
    image = torch.rand(1, 1, 64, 64)
    chosen = SelectOutput(network, ["mask"], background=True)(image)
    assert chosen.shape == (1, 3, 64, 64)
    is_background = chosen.argmax(1) == 0
    assert torch.equal(is_background, (network(image)["mask"] <= 0).all(1))
    assert torch.equal(SelectOutput(network, ["multiclass", "ordinal"])(image)[:, :3], network(image)["multiclass"])


def test_the_small_network_is_small():
    assert small_network().encoder.channels == SMALL.widths


def test_a_network_with_detail_refuses_a_decoder_depth_that_it_would_ignore():
    tasks = [SegmentationTask("lung", ["lung"], decoder_depth=3)]
    with pytest.raises(ValueError, match=r"'lung' expects decoder_depth 1 in a network with detail, got 3"):
        MTMedFormer(HierarchicalTransformer("tiny"), tasks, detail=True)
