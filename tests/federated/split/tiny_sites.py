"""Networks, sites and batches small enough for calculations by hand."""

from __future__ import annotations

import functools

import torch

from mtmedformer_monai.federated.split.system import LocalSettings, Site
from mtmedformer_monai.losses.hybrid import HybridLoss
from mtmedformer_monai.networks import HierarchicalTransformer, MTMedFormer, PlainViT
from mtmedformer_monai.tasks import ClassificationTask, DetectionTask, SegmentationTask
from tests.networks.small import SMALL

SIDE = 64
TASKS = ("lung", "box", "finding")


def make_tasks():
    return [
        SegmentationTask("lung", ["lung"]),
        DetectionTask("box", ["mass"], max_boxes=2),
        ClassificationTask("finding", ["no", "yes"], "binary", dropout=0.0),
    ]


def hierarchical(detail=False, after_stem=False):
    torch.manual_seed(0)
    encoder = HierarchicalTransformer(SMALL, drop_path=0.0, after_stem=after_stem)
    return MTMedFormer(encoder, make_tasks(), 16, detail=detail)


def with_fine_maps():
    return hierarchical(detail=True)


def with_stem():
    return hierarchical(detail=True, after_stem=True)


def plain(depth=2):
    """Returns a network with 4 x 4 patches of width 32 for an image of 64 x 64."""
    torch.manual_seed(0)
    return MTMedFormer(PlainViT(32, depth=depth, heads=2, drop_path=0.0), make_tasks(), 16)


def make_batch(num_images, labeled=TASKS, seed=0):
    """Returns images of a bright square, with labels of some tasks."""
    generator = torch.Generator().manual_seed(seed)
    image = 0.3 * torch.rand(num_images, 1, SIDE, SIDE, generator=generator)
    image[:, :, 16:40, 8:40] += 0.6
    boxes = torch.full((num_images, 2, 5), -1.0)
    boxes[:, 0] = torch.tensor([8.0, 16.0, 40.0, 40.0, 0.0])
    targets = {
        "lung": (image > 0.5).float(),
        "box": boxes,
        "finding": (torch.arange(num_images) % 2).float(),
    }
    return {"image": image} | {
        name: each if name in labeled else torch.full_like(each, torch.nan) for name, each in targets.items()
    }


def make_site(name="a", batches=((2, TASKS),), seed=0):
    """Returns a site with batches, each given by a number of images and its labeled tasks."""
    return Site(name, [make_batch(count, labeled, seed + index) for index, (count, labeled) in enumerate(batches)])


def settings(rate=0.1, epochs=1, optimizer=torch.optim.SGD):
    loss = HybridLoss(make_tasks(), normalize=False)
    return LocalSettings(loss, functools.partial(optimizer, lr=rate), epochs)


def plain_step(network, batch, rate=0.1):
    """Returns the network after one step of SGD on a batch."""
    optimizer = torch.optim.SGD(network.parameters(), lr=rate)
    targets = {name: each for name, each in batch.items() if name != "image"}
    HybridLoss(make_tasks(), normalize=False)(network.train()(batch["image"]), targets).backward()
    optimizer.step()
    return network


def largest_change(one, other):
    """Returns the largest difference between the parameters of two networks or states."""
    one, other = ({**each} if isinstance(each, dict) else each.state_dict() for each in (one, other))
    assert set(one) == set(other)
    return max((one[name] - other[name]).abs().max().item() for name in one)


def num_weights(network, *prefixes):
    return sum(each.numel() for name, each in network.state_dict().items() if name.startswith(prefixes))


class Listener:
    """Records all transmitted tensors."""

    def __init__(self):
        self.received = []

    def __call__(self, crossing, tensor):
        self.received.append((crossing, tensor))

    def of(self, direction, kind):
        return [each for crossing, each in self.received if (crossing.direction, crossing.kind) == (direction, kind)]
