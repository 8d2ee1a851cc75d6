"""Gram matrices of the inputs of a network's layers, from a pass over a client's images after training.

The output of a linear layer depends on its inputs x alone, so the mean of x x' is the Hessian of its squared output
error in each row of its weights (RegMean: Jin et al., ICLR 2023), and the factor A of its Fisher information in K-FAC
(Martens and Grosse, ICML 2015; for convolutions, whose inputs are patches: Grosse and Martens, ICML 2016).
"""

# B batch size, C channels, D inputs of a layer, with 1 for the bias, L positions (tokens or patches)

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtmedformer_monai.engines.checkpointing.training_state import bare
from mtmedformer_monai.federated.strategy import GramRequest

from .ownership import Ownership, labels_of_batch

MAX_POSITIONS: Final = 1024
"""Maximum number of a call's positions that are used per image; they are drawn at random."""

PASSES: Final = 4
"""The pass ends after this many times `max_images`, even if rare labels have fewer images by then."""

Layers = dict[str, nn.Module]
"""{name of the weight: layer}."""


def gram_layers(network: nn.Module, max_inputs: int) -> Layers:
    """Returns the linear layers and ungrouped 2D convolutions with at most `max_inputs` inputs.

    Layers that share their weight with another are left out. Layers whose weights the network uses without calling
    them never receive inputs, and thus have no matrix.

    Example:
        >>> sorted(gram_layers(nn.Sequential(nn.Linear(3, 2), nn.Conv2d(4, 4, 3, groups=4), nn.Linear(9, 1)), 8))
        ['0.weight']
    """
    kinds = (nn.Linear, nn.Conv2d)
    layers = {f"{path}.weight".lstrip("."): each for path, each in network.named_modules() if isinstance(each, kinds)}
    uses = Counter(id(each.weight) for each in layers.values())
    return {
        name: each
        for name, each in layers.items()
        if uses[id(each.weight)] == 1 and getattr(each, "groups", 1) == 1 and each.weight[0].numel() <= max_inputs
    }


def inputs_of(layer: nn.Module, image: Tensor) -> Tensor:
    """Returns the inputs (L, D) that a layer receives for one element of a batch; the last is 1 if it has a bias.

    Args:
        layer: a linear layer or an ungrouped 2D convolution.
        image: (..., D) for linear layers, (C, H, W) for convolutions, whose patches are flattened as their kernels.

    Example:
        >>> inputs_of(nn.Conv2d(1, 1, 2), torch.arange(6.0).reshape(1, 2, 3)).tolist()
        [[0.0, 1.0, 3.0, 4.0, 1.0], [1.0, 2.0, 4.0, 5.0, 1.0]]
    """
    if isinstance(layer, nn.Conv2d):
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        padded = F.pad(image[None], layer._reversed_padding_repeated_twice, mode=mode)
        rows = F.unfold(padded, layer.kernel_size, layer.dilation, 0, layer.stride)[0].T
    else:
        rows = image.reshape(-1, image.shape[-1])
    return rows if layer.bias is None else torch.cat([rows, rows.new_ones(len(rows), 1)], dim=1)


class InputGram:
    """Running sums of a network's Gram matrices. Memory: one matrix per layer, and the inputs of one image.

    Args:
        layers: of the network, by `gram_layers`.
        request: maximum number of images per layer.
        tasks_of: {weight: tasks that it serves}; a layer sees the images with a label of any of them.
    """

    def __init__(self, layers: Layers, request: GramRequest, tasks_of: Mapping[str, frozenset[str]]) -> None:
        self._layers, self._limit, self._tasks_of = layers, request.max_images, tasks_of
        self._total: dict[str, Tensor] = {}
        self._rows: Counter[str] = Counter()
        self._images: Counter[str] = Counter()
        self._labels: dict[str, Tensor] = {}
        self._batch = 0
        self._generator = torch.Generator().manual_seed(0)

    def observe(self, predict: Callable[[], object], labels: Mapping[str, Tensor]) -> None:
        """Adds the inputs of one batch.

        Args:
            predict: calls the network.
            labels: {task: bool (B,)}, which images have a label.
        """
        self._labels = {name: _any(labels, self._tasks_of[name]) for name in self._layers}
        self._batch = len(next(iter(labels.values())))
        hooks = [each.register_forward_pre_hook(self._hook(name)) for name, each in self._layers.items()]
        try:
            predict()
        finally:
            for hook in hooks:
                hook.remove()
        self._images.update({name: int(known.sum()) for name, known in self._labels.items() if not self._full(name)})

    def is_complete(self, images: Mapping[str, int]) -> bool:
        """Returns whether all layers have seen enough images.

        Args:
            images: {weight: number of images of the client that train it}.
        """
        return all(self._images[name] >= min(self._limit, images.get(name, 0)) for name in self._layers)

    def matrices(self) -> dict[str, Tensor]:
        """Returns {weight: mean of x x', float32 (D, D)} of the layers with any inputs."""
        return {name: (total / self._rows[name]).float().cpu() for name, total in self._total.items()}

    def _full(self, name: str) -> bool:
        return self._images[name] >= self._limit

    def _hook(self, name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def add(layer: nn.Module, arguments: tuple[Any, ...]) -> None:
            if not self._full(name):
                self._add(name, layer, arguments[0].detach().as_subclass(Tensor))

        return add

    def _add(self, name: str, layer: nn.Module, batch: Tensor) -> None:
        """Adds one call's inputs; several rows of one image, such as views of a study, follow one another."""
        known = self._labels[name]
        is_by_image = len(batch) % self._batch == 0
        chosen = known.repeat_interleave(len(batch) // self._batch) if is_by_image else known.any().expand(len(batch))
        for image in batch[chosen.to(batch.device)]:
            rows = inputs_of(layer, image.float())
            count = len(rows)
            if count > MAX_POSITIONS:
                rows = rows[torch.randperm(count, generator=self._generator)[:MAX_POSITIONS].to(rows.device)]
            gram = (rows.T @ rows).double() * (count / len(rows))
            self._total[name] = self._total[name] + gram if name in self._total else gram
            self._rows[name] += count


@torch.no_grad()
def measure_input_gram(trainer: Any, ownership: Ownership, request: GramRequest) -> dict[str, Tensor]:
    """Returns {weight: mean of x x' (D, D)} of a trainer's network, in evaluation mode, over its training images.

    Args:
        trainer: a SupervisedTrainer; its network does not change.
        ownership: which images train each parameter. Layers that no image trains, and layers whose images did not come
            up within the first `PASSES * max_images`, have no matrix.
        request: which matrices.
    """
    network = bare(trainer.network)
    counts = ownership.num_samples
    layers = {name: each for name, each in gram_layers(network, request.max_inputs).items() if counts.get(name, 0) > 0}
    grams, seen, was_training = InputGram(layers, request, ownership.tasks_of), 0, network.training
    network.eval()
    try:
        for batch in trainer.data_loader:
            image, targets = trainer.prepare_batch(batch, trainer.state.device, False)[:2]
            labels = labels_of_batch(trainer.loss_function, targets, len(image))
            grams.observe(partial(trainer.inferer, image, network), labels)
            seen += len(image)
            if seen >= PASSES * request.max_images or grams.is_complete(counts):
                break
    finally:
        network.train(was_training)
    return grams.matrices()


def _any(labels: Mapping[str, Tensor], tasks: frozenset[str]) -> Tensor:
    """Returns which images of a batch have a label of any of the tasks: bool (B,), on the CPU."""
    return torch.stack([labels[task].cpu() for task in sorted(tasks) if task in labels]).any(dim=0)
