"""Local training at one site of an in-process federation.

It follows the package's client (`federated/client`): squared gradients before clipping, the strategy's correction after
it, a learning rate schedule over all rounds, moments that are kept between rounds, and one scale of the losses for all
sites. It leaves out engines, files and metrics during training, so that a run costs little more than its gradients.

Axes: B batch, N images, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from federation_data import Data
from federation_teaching import Taught, prepare, with_outputs
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from mtmedformer_monai.engines import make_warmup_cosine
from mtmedformer_monai.federated.client.extra_rate import extra_factor
from mtmedformer_monai.federated.client.input_gram import InputGram, gram_layers
from mtmedformer_monai.federated.client.ownership import Ownership
from mtmedformer_monai.federated.pvi.squared_gradient import SquaredGradient
from mtmedformer_monai.federated.strategy import ClientRule, LocalTraining
from mtmedformer_monai.keys import BoxRow
from mtmedformer_monai.losses import HybridLoss
from mtmedformer_monai.networks import MTMedFormer
from mtmedformer_monai.networks.mtmedformer import DETAIL, SHARED
from mtmedformer_monai.tasks.base import Task

SHIFT = 1 / 16
"""Largest shift of the augmentation, as a share of the image side."""


@dataclass(frozen=True)
class Plan:
    """How every site trains; equal for all methods of a comparison.

    Attributes:
        rounds: number of rounds.
        local_epochs: number of epochs per round.
        lr: peak learning rate.
        optimizer: 'adamw' or 'sgd', the latter without momentum.
        batch_size: number of images per step.
        weight_decay: 0 by default, because a prior must be counted once.
        max_norm: of the gradient.
        seed: of shuffling and augmentation.
        fine_maps: whether the network has the fine maps and the stem of the bundles', or neither, as their earlier one.
    """

    rounds: int
    local_epochs: int
    lr: float
    optimizer: str = "adamw"
    batch_size: int = 8
    weight_decay: float = 0.0
    max_norm: float = 5.0
    seed: int = 0
    fine_maps: bool = False


class Site:
    """A site of the federation. All sites share one network, whose weights are loaded before each round.

    Args:
        network: of all sites.
        tasks: of the network.
        data: of the site.
        rule: of the strategy.
        tasks_of: {parameter or buffer: its tasks}.
        scales: {task: initial loss}, common to all sites.
        plan: of the training.
        number: of the site, for its random numbers.
    """

    def __init__(
        self,
        network: MTMedFormer,
        tasks: Sequence[Task],
        data: Data,
        rule: ClientRule,
        tasks_of: Mapping[str, frozenset[str]],
        scales: Mapping[str, float],
        plan: Plan,
        number: int,
    ) -> None:
        self.rule, self.data = rule, data
        self._network, self._plan, self._tasks_of, self._scales = network, plan, tasks_of, scales
        self._known = [task for task in tasks if task.name in scales]
        self.tasks = list(data.labels(tasks))
        self._use(prepare(network, self._known, data, None))
        self._optimizer = _make_optimizer(list(network.parameters()), plan)
        steps = plan.local_epochs * -(-len(data) // plan.batch_size)
        self._schedule = make_warmup_cosine(self._optimizer, plan.rounds * steps // 10, plan.rounds * steps)
        self._generator = torch.Generator().manual_seed(1_000_003 * plan.seed + number)
        self._num_steps = steps
        self._corrects = type(rule).correct is not ClientRule.correct
        self._observes = type(rule).after_step is not ClientRule.after_step

    def _use(self, taught: Taught) -> None:
        """Takes the targets of a round; parameters without any keep their values, as they get no gradient."""
        self._taught, self.ownership = taught, Ownership(self._tasks_of, taught.labels)
        trained = [task for task in self._known if task.name in taught.labels]
        self._names = [task.name for task in trained]
        self._loss = HybridLoss(trained, initial={name: self._scales[name] for name in self._names})
        self._loss.task_loss = taught.loss
        counts = self.ownership.num_samples
        self._owned = {name: each for name, each in self._network.named_parameters() if counts[name] > 0}

    def train(self) -> LocalTraining:
        """Trains one round from the weights in the network."""
        if self.rule.is_extra:
            self._schedule = LambdaLR(self._optimizer, partial(extra_factor, num_steps=self._num_steps))
        teaching = self.rule.teaching()
        if teaching is not None or self._names != self.tasks:
            self._use(prepare(self._network, self._known, self.data, teaching))
        self._network.train()
        squares, step, rates, losses, relative = SquaredGradient(), 0, 0.0, 0.0, torch.zeros(2)
        live = {name: each.detach() for name, each in self._owned.items()}
        for _ in range(self._plan.local_epochs):
            order = torch.randperm(len(self.data), generator=self._generator)
            for rows in order.split(self._plan.batch_size):
                losses += self._backward(rows)
                relative += self._loss.last_relative()
                if self.rule.needs_squared_gradient:
                    self._add_squares(squares, rows)
                rates += float(self._optimizer.param_groups[0]["lr"])
                self._step(live)
                step += 1
                if self._observes:
                    self.rule.after_step(live, step, self._num_steps)
        weights = {name: value.detach().clone() for name, value in self._network.state_dict().items()}
        counts = {name: count for name, count in self.ownership.num_samples.items() if count > 0}
        return LocalTraining(
            weights, counts, squares.estimate(), step, rates / max(step, 1), self.ownership.images_by_task,
            self._input_gram(), losses / max(step, 1), relative_loss=float(relative[0] / relative[1].clamp(min=1.0)),
        )  # fmt: skip

    def _backward(self, rows: Tensor) -> float:
        """Computes the gradient of a batch's loss, and returns the loss per task."""
        given = {name: self._taught.targets[name][rows] for name in self._names}
        image, targets = augment(self.data.image[rows], given, self._generator)
        self._optimizer.zero_grad(set_to_none=True)
        loss = self._loss(predict(self._network, image, self._names), with_outputs(targets, self._taught, image))
        loss.backward()
        return float(loss.detach()) / len(self._names)

    def _input_gram(self) -> dict[str, Tensor]:
        """Returns the Gram matrices that the strategy asks for; see `federated/client/input_gram.py`."""
        request = self.rule.needs_input_gram
        if not request:
            return {}
        counts = self.ownership.num_samples
        layers = {name: each for name, each in gram_layers(self._network, request.max_inputs).items() if counts[name]}
        grams = InputGram(layers, request, self.ownership.tasks_of)
        self._network.eval()
        for rows in torch.arange(len(self.data)).split(8):
            labels = {name: each[rows] for name, each in self._taught.labels.items()}
            grams.observe(partial(predict, self._network, self.data.image[rows], self._names), labels)
            if grams.is_complete(counts):
                break
        return grams.matrices()

    def _add_squares(self, squares: SquaredGradient, rows: Tensor) -> None:
        """Adds each parameter's gradient with its number of annotated images in the batch."""
        counts = self.ownership.batch_counts({name: each[rows] for name, each in self._taught.labels.items()})
        for tasks, count in counts.items():
            if count > 0:
                tasks_of = self.ownership.tasks_of
                group = {name: each.grad for name, each in self._owned.items() if tasks_of[name] == tasks}
                squares.update({name: grad for name, grad in group.items() if grad is not None}, count)

    @torch.no_grad()
    def _step(self, live: Mapping[str, Tensor]) -> None:
        """Clips, corrects and applies the gradient."""
        nn.utils.clip_grad_norm_(self._owned.values(), self._plan.max_norm)
        if self._corrects:
            for name, parameter in self._owned.items():
                if parameter.grad is not None:
                    count = self.ownership.num_samples[name]
                    parameter.grad.copy_(self.rule.correct(name, live[name], parameter.grad, count))
        self._optimizer.step()
        self._schedule.step()


def predict(network: MTMedFormer, image: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
    """Returns the network's outputs of some tasks; the other decoders do not run."""
    features, pyramids = network.encode(image)
    size, fine = (int(image.shape[2]), int(image.shape[3])), pyramids.get(DETAIL, [])
    return {name: network.decoders[name](features, pyramids.get(name, pyramids[SHARED]) + fine, size) for name in tasks}


def augment(
    image: Tensor, targets: Mapping[str, Tensor], generator: torch.Generator
) -> tuple[Tensor, dict[str, Tensor]]:
    """Shifts each image with its targets by whole pixels, repeating the edge, and changes exposure and contrast.

    Args:
        image: (B, 1, H, W) in [0, 1].
        targets: masks (B, C, H, W), boxes (B, M, 5) and classes (B,) or (B, K), which do not change.
        generator: of the random numbers.
    """
    batch, side = len(image), max(1, round(SHIFT * min(image.shape[-2:])))
    shift = torch.randint(-side, side + 1, (batch, 2), generator=generator)
    gain, power = 0.3 * torch.rand(2, batch, 1, 1, 1, generator=generator) - 0.15
    exposed = (image.clamp(0, 1) ** torch.exp(1.6 * power) * (1 + gain)).clamp(0, 1)
    return _shift_map(exposed, shift), {name: _shift_target(each, shift, image) for name, each in targets.items()}


def _shift_target(target: Tensor, shift: Tensor, image: Tensor) -> Tensor:
    if target.dim() == image.dim():
        return _shift_map(target, shift)
    return _shift_boxes(target, shift, image.shape[-2:]) if target.dim() == 3 else target


def _shift_map(values: Tensor, shift: Tensor) -> Tensor:
    """Moves (B, C, H, W) down and right by `shift` (B, 2)."""
    height, width = values.shape[-2:]
    rows = (torch.arange(height) - shift[:, :1]).clamp(0, height - 1)
    columns = (torch.arange(width) - shift[:, 1:]).clamp(0, width - 1)
    images = torch.arange(len(values))[:, None, None, None]
    channels = torch.arange(values.shape[1])[None, :, None, None]
    return values[images, channels, rows[:, None, :, None], columns[:, None, None, :]]


def _shift_boxes(boxes: Tensor, shift: Tensor, size: Sequence[int]) -> Tensor:
    """Moves boxes (B, M, 5), clips them, and removes those of which less than a pixel remains; keeps NaN."""
    offset = shift[:, [1, 0, 1, 0]][:, None].to(boxes.dtype)
    limit = torch.tensor([size[1], size[0], size[1], size[0]], dtype=boxes.dtype)
    moved = torch.minimum((boxes[..., BoxRow.BOX] + offset).clamp(min=0), limit)
    inside = ((moved[..., 2:] - moved[..., :2]) >= 1).all(dim=-1, keepdim=True)
    real = boxes[..., BoxRow.CLASS, None] >= 0
    new = torch.cat([moved, boxes[..., BoxRow.CLASS, None]], dim=-1)
    return torch.where(real, torch.where(inside, new, -torch.ones_like(new)), boxes)


def _make_optimizer(parameters: Sequence[nn.Parameter], plan: Plan) -> Optimizer:
    if plan.optimizer == "sgd":
        return SGD(parameters, lr=plan.lr, weight_decay=plan.weight_decay)
    return AdamW(parameters, lr=plan.lr, weight_decay=plan.weight_decay, fused=True)
