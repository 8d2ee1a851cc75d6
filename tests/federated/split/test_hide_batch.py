import torch

from mtmedformer_monai.federated.split.hide_batch import hide_batch


def test_hides_the_share_of_patches_and_keeps_them_as_the_target():
    image = torch.rand(3, 1, 64, 64) + 0.01
    hidden, target = hide_batch(image, patch=16, ratio=0.5, generator=torch.Generator().manual_seed(0))
    where = ~target.isnan()
    assert where.sum(dim=(1, 2, 3)).tolist() == [8 * 16 * 16] * 3  # of 16 patches
    assert torch.equal(target[where], image[where])
    assert (hidden[where] == 0.5).all()
    assert torch.equal(hidden[~where], image[~where])
    assert not torch.equal(where[0], where[1])  # different patches for each image
