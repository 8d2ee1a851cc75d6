import numpy as np
import pytest

from mtmedformer_monai.data.synthetic.mammography.appearance import PADDING_LIMIT, take_image
from mtmedformer_monai.data.synthetic.mammography.scanner import MAMMOGRAPHY_SCANNERS
from mtmedformer_monai.data.synthetic.mammography.varied_appearance import take_varied_image

NAMES = [scanner.name for scanner in MAMMOGRAPHY_SCANNERS]
RAW = next(scanner for scanner in MAMMOGRAPHY_SCANNERS if scanner.is_raw)
PADDED = [scanner for scanner in MAMMOGRAPHY_SCANNERS if scanner.display.has_padding]


def test_raw_images_are_not_processed(tissue):
    images = [take(*tissue, RAW, np.random.default_rng(0)) for take in (take_image, take_varied_image)]
    np.testing.assert_array_equal(*(image.values for image in images))
    assert not images[1].windows


def shown_by(take, tissue, scanner, seed):
    """Returns the values inside the breast through the device's first window."""
    image = take(*tissue, scanner, np.random.default_rng(seed))
    assert 0.0 <= image.values.min() <= image.values.max() <= 1.0
    window = image.windows[0]
    return np.clip((image.values - window.center) / window.width + 0.5, 0.0, 1.0)[tissue[0].mask]


@pytest.mark.parametrize(
    ("scanner", "measure"),
    [(each, np.mean if each.is_film else np.std) for each in MAMMOGRAPHY_SCANNERS if not each.is_raw],
)
def test_films_vary_in_brightness_and_digital_images_in_contrast(tissue, scanner, measure):
    plain, varied = (
        np.std([measure(shown_by(take, tissue, scanner, seed)) for seed in range(16)])
        for take in (take_image, take_varied_image)
    )
    assert varied > 1.5 * plain


@pytest.mark.parametrize("scanner", PADDED, ids=[each.name for each in PADDED])
def test_padding_stays_padding(tissue, scanner):
    view = tissue[0]
    for seed in range(6):
        values = take_varied_image(*tissue, scanner, np.random.default_rng(seed)).values
        stored = np.rint(values * (2**scanner.display.bits_stored - 1))
        assert (stored[view.mask] > PADDING_LIMIT).all()
        assert (stored[view.depth < -2.0] == 0).all()
