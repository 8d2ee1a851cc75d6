import numpy as np

from mtmedformer_monai.data.synthetic.detector import DARKEST, detect

FLAT = np.full((40, 40), 0.25)


def test_without_scatter_noise_and_blur_the_signal_is_the_dose():
    dose = np.random.default_rng(0).uniform(0.1, 1.0, (8, 8))
    np.testing.assert_allclose(detect(dose, 0.0, 0.0, 0.0, np.random.default_rng(0)), dose)


def test_scatter_comes_from_all_around():
    np.testing.assert_allclose(detect(FLAT, 0.1, 0.0, 0.0, np.random.default_rng(0)), 1.1 * FLAT)


def test_noise_goes_with_the_root_of_the_dose():
    spread = [detect(scale * FLAT, 0.0, 0.01, 0.0, np.random.default_rng(0)).std() for scale in (1.0, 4.0)]
    np.testing.assert_allclose(spread[1] / spread[0], 2.0, rtol=1e-6)


def test_the_signal_has_a_floor():
    assert (detect(0.0 * FLAT, 0.0, 0.1, 0.0, np.random.default_rng(0)) >= DARKEST).all()
