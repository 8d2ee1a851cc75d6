import pytest
import torch

from mtmedformer_monai.networks import FeaturePyramid

CHANNELS = (4, 6, 10)


def features():
    return [torch.rand(1, count, 8 // 2**level, 12 // 2**level) for level, count in enumerate(CHANNELS)]


def test_maps_of_one_width():
    maps = FeaturePyramid(CHANNELS, 16)(features())
    assert [tuple(each.shape) for each in maps] == [(1, 16, 8, 12), (1, 16, 4, 6), (1, 16, 2, 3)]


def test_information_flows_from_coarse_to_fine_only():
    pyramid, inputs = FeaturePyramid(CHANNELS, 16), features()
    before = pyramid(inputs)
    coarser = [*inputs[:2], inputs[2] + 1]
    assert not torch.equal(pyramid(coarser)[0], before[0])
    finer = [inputs[0] + 1, *inputs[1:]]
    assert torch.equal(pyramid(finer)[2], before[2])


def test_unused_levels_have_no_parameters_and_no_effect():
    whole, part, inputs = FeaturePyramid(CHANNELS, 16), FeaturePyramid(CHANNELS, 16, levels=[1]), features()
    names = {name for name, _ in part.named_parameters()}
    assert {name.split(".")[0] + name.split(".")[1] for name in names} == {"laterals1", "laterals2", "smooths1"}
    part.load_state_dict({name: value for name, value in whole.state_dict().items() if name in names})
    maps = part(inputs)
    assert torch.equal(maps[1], whole(inputs)[1])
    assert torch.equal(maps[0], inputs[0])


def test_invalid_arguments_are_refused():
    with pytest.raises(ValueError, match=r"multiple of 8 .* got 12"):
        FeaturePyramid(CHANNELS, 12)
    with pytest.raises(ValueError, match=r"indices in 0\.\.2, got \[1, 3\]"):
        FeaturePyramid(CHANNELS, 16, levels=[1, 3])
