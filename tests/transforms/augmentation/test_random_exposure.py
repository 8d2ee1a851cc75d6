import numpy as np
import pytest
import torch

from mtmedformer_monai.transforms import Exposure, RandExposured, expose


def test_same_seed_same_exposure(make_item):
    item = make_item(16, 16)
    first, second = (RandExposured("image", prob=1.0).set_random_state(2) for _ in range(2))
    np.testing.assert_array_equal(first(item)["image"], second(item)["image"])
    assert not np.array_equal(first(item)["image"], item["image"])


def test_range_zeros_and_metadata_are_kept(make_item):
    item = make_item(16, 16)
    item["image"][:, :4] = 0.0
    transform = RandExposured("image", prob=1.0, max_brightness=0.9, max_noise=0.5).set_random_state(0)
    for _ in range(20):
        out = transform(item)["image"]
        assert out.min() >= 0.0
        assert out.max() <= 1.0
        assert out[:, :4].eq(0).all()
        np.testing.assert_array_equal(out.meta["to_source"], np.eye(3))


@pytest.mark.parametrize(
    ("exposure", "expected"),
    [
        pytest.param(Exposure(), 0.25, id="none"),
        pytest.param(Exposure(gamma=2.0), 0.0625, id="gamma"),
        pytest.param(Exposure(contrast=0.5), 0.375, id="contrast"),
        pytest.param(Exposure(brightness=0.1), 0.35, id="brightness"),
        pytest.param(Exposure(blur=1.0), 0.25, id="blur of a plain"),
    ],
)
def test_by_hand(exposure, expected):
    out = expose(torch.full((1, 32, 32), 0.25), exposure)
    torch.testing.assert_close(out[:, 8:-8, 8:-8], torch.full((1, 16, 16), expected), atol=1e-3, rtol=0)


def test_noise_is_stronger_in_denser_tissue():
    thin, dense = (expose(torch.full((1, 99, 99), y), Exposure(noise=0.02)).std() for y in (0.2, 0.8))
    assert dense / thin == pytest.approx(np.exp(0.6), rel=0.1)


def test_blur_smooths(make_item):
    image = make_item(32, 32)["image"]
    assert expose(image, Exposure(blur=1.0)).std() < 0.6 * image.std()


def test_prob_zero_and_errors(make_item):
    item = make_item(4, 4)
    assert RandExposured("image", prob=0.0)(item)["image"] is item["image"]
    with pytest.raises(ValueError, match="limits of 0 or more"):
        RandExposured("image", max_noise=-1)
