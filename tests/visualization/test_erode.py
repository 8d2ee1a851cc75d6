import numpy as np
import pytest
from scipy.ndimage import binary_erosion

from mtmedformer_monai.visualization.erode import erode


@pytest.mark.parametrize("iterations", [1, 2, 5])
def test_it_agrees_with_scipy(iterations):
    mask = np.random.default_rng(0).random((40, 31)) < 0.97
    mask[5:35, 4:28] = True
    given = mask.copy()
    np.testing.assert_array_equal(erode(mask, iterations), binary_erosion(mask, iterations=iterations))
    np.testing.assert_array_equal(mask, given)
