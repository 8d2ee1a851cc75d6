import torch

from mtmedformer_monai.federated.strategies.layer_matrix import Layer


def test_a_convolution_as_a_matrix_and_back():
    tensors = {"c.weight": torch.arange(16.0).reshape(2, 2, 2, 2), "c.bias": torch.tensor([-1.0, -2.0]).half()}
    layer = Layer.of("c.weight", tensors)
    matrix = layer.matrix(tensors)
    assert matrix[1].tolist() == [8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0, -2.0]
    back = layer.tensors(matrix.double(), tensors)
    assert all(torch.equal(back[name], value) and back[name].dtype == value.dtype for name, value in tensors.items())


def test_a_layer_without_bias():
    tensors = {"weight": torch.ones(2, 3), "norm.bias": torch.ones(2)}
    layer = Layer.of("weight", tensors)
    assert layer.bias == ""
    assert layer.matrix(tensors).shape == (2, 3)
    assert set(layer.tensors(layer.matrix(tensors), tensors)) == {"weight"}


def test_the_bias_at_the_root_of_a_network():
    assert Layer.of("weight", {"weight", "bias"}).bias == "bias"
