import pytest
import torch

from mtmedformer_monai.federated.gaussian import Gaussian
from mtmedformer_monai.federated.pvi.factor_sums import from_lists, precision_of, sums_of, terms_of, to_lists


def factor(name, summed, precision):
    return {name: Gaussian(torch.tensor(summed), torch.tensor(precision))}


def test_sums_of_weights_and_of_their_mean_precision():
    sums = sums_of(terms_of(factor("w", [1.0, 2.0], [3.0, 5.0])))
    sums.add(terms_of(factor("w", [4.0, 4.0], [1.0, 1.0]) | factor("v", [7.0], [2.0])))
    assert sums.whole("w").precision_mean.tolist() == [5.0, 6.0]
    assert sums.whole("w").precision.tolist() == [4.0, 6.0]
    assert sums.gaussian("u") is None
    with pytest.raises(KeyError, match="'u' has no sum"):
        sums.whole("u")
    assert precision_of(terms_of(sums.factor())) == 5.0 + 2.0
    again = from_lists({**to_lists(sums.factor()), "u": []})
    assert sorted(again) == ["v", "w"]
    assert again["v"].precision_mean.tolist() == [7.0]
