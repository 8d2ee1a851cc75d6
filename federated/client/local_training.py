"""Handler that adds federated learning to MONAI's stock trainer.

Between the backward pass and the optimizer step, it estimates squared gradients, lets the strategy correct gradients,
and protects parameters for which the client has no labels; after the step, it passes the weights to the strategy.
Squared gradients cost a few passes over the gradients and none over the data; `benchmarks/squared_gradient_cost.py`
measures the cost.
"""

# B batch size

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from monai.engines import IterationEvents
from monai.utils import CommonKeys
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from mtmedformer_monai.engines.checkpointing.training_state import bare
from mtmedformer_monai.federated.pvi.squared_gradient import SquaredGradient
from mtmedformer_monai.federated.strategy import UNKNOWN_LOSS, ClientRule, LocalTraining
from mtmedformer_monai.losses.hybrid import HybridLoss

from .class_union import restricted_tasks
from .input_gram import measure_input_gram
from .ownership import Ownership, labels_of_batch


class LocalTrainingHandler:
    """Applies a client rule to the trainer's runs; each run is one round.

    - Squared gradients are computed before any clipping, once per step, from the batch's mean gradient: unscaled under
      mixed precision, and over all batches of an accumulated step.
    - The rule corrects gradients after clipping, in a hook of the optimizer: clipping applies to the gradients of the
      data, not to the correction. A rule may ask for it in steps with a label alone
      (`ClientRule.corrects_labeled_steps`), which are those with a gradient in any tensor of the same tasks.
    - Parameters without labeled images at the client get no gradient, so momentum and weight decay leave them unchanged
      bit for bit. Their buffers are restored at the end of the run.
    - Where a task has only some of the classes, rows of its tensors that got no gradient count as not learned.

    Args:
        rule: of the client.
        ownership: which images train each parameter.
        rate: decay rate of the running averages of gradients.
    """

    def __init__(self, rule: ClientRule, ownership: Ownership, rate: float = 0.98) -> None:
        self._rule, self._ownership, self._rate = rule, ownership, rate
        self._corrects = type(rule).correct is not ClientRule.correct
        self._observes_steps = type(rule).after_step is not ClientRule.after_step
        self._network: Any = None
        self._engine: Any = None
        self._owned: dict[str, Tensor] = {}
        self._untrained: dict[str, Tensor] = {}
        self._shared_rows: dict[str, Tensor] = {}
        self._loss: Any = None
        self._reset(0)

    def attach(self, engine: Engine) -> None:
        """Registers on a SupervisedTrainer, after its own handlers."""
        self._engine, self._network, self._loss = engine, bare(engine.network), engine.loss_function
        self.use(self._ownership)
        engine.add_event_handler(Events.STARTED, self._start)
        if self._rule.needs_squared_gradient:
            engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self._observe)
            handlers = engine._event_handlers[IterationEvents.BACKWARD_COMPLETED]
            handlers.insert(0, handlers.pop())  # Ignite calls handlers in registration order
        engine.optimizer.register_step_pre_hook(self._before_step)
        engine.optimizer.register_step_post_hook(self._after_step)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._add_loss)
        engine.add_event_handler(Events.COMPLETED, self._restore_buffers)

    def use(self, ownership: Ownership) -> None:
        """Replaces the ownership, before a run whose images have other labels."""
        self._ownership, self._owned, self._untrained = ownership, {}, {}
        for name, parameter in self._network.named_parameters():
            (self._owned if ownership.num_samples[name] > 0 else self._untrained)[name] = parameter
        self._live = {name: parameter.detach() for name, parameter in self._owned.items()}
        restricted = restricted_tasks(self._loss)
        self._shared_rows = {name: p for name, p in self._owned.items() if ownership.tasks_of[name] <= restricted}

    def finish(self) -> LocalTraining:
        """Returns the result of the last run; tensors are copies. Gram matrices, if any, cost a pass over images."""
        weights = {name: copy_to_cpu(value) for name, value in self._network.state_dict().items()}
        counts = {name: count for name, count in self._ownership.num_samples.items() if count > 0}
        squares = {name: value.cpu() for name, value in self._squares.estimate().items()}
        rate, tasks = self._rate_sum / max(self._step, 1), self._ownership.images_by_task
        loss, request = float(self._loss_sum) / max(self._num_batches, 1), self._rule.needs_input_gram
        grams = measure_input_gram(self._engine, self._ownership, request) if request else {}
        untouched = {name: ~rows.cpu() for name, rows in self._touched.items() if not bool(rows.all())}
        seen = float(self._relative[1])
        relative = float(self._relative[0]) / seen if seen > 0 else UNKNOWN_LOSS
        return LocalTraining(weights, counts, squares, self._step, rate, tasks, grams, loss, untouched, relative)

    def _reset(self, num_steps: int) -> None:
        self._num_steps, self._step, self._rate_sum = num_steps, 0, 0.0
        self._num_batches, self._loss_sum = 0, torch.zeros(())
        self._relative = torch.zeros(2)  # sum of relative losses, and number of batches with any
        self._touched = {
            name: torch.zeros(len(each), dtype=torch.bool, device=each.device)
            for name, each in self._shared_rows.items()
        }
        self._squares = SquaredGradient(self._rate)
        self._counts: Counter[frozenset[str]] = Counter()
        self._batches = 0
        self._buffers: dict[str, Tensor] = {}

    def _start(self, engine: Engine) -> None:
        state, every = engine.state, getattr(engine, "accumulation_steps", 1)
        self._reset((state.max_epochs - state.epoch) * -(-(state.epoch_length or 0) // every))
        parameters = {name for name, _ in self._network.named_parameters()}
        for name, value in self._network.state_dict().items():
            if name not in parameters and self._ownership.num_samples[name] == 0:
                self._buffers[name] = value.clone()

    def _observe(self, engine: Engine) -> None:
        """Counts the batch's images and, before a step, adds the gradient of all batches since the last step."""
        output = engine.state.output
        num_images = len(output[CommonKeys.IMAGE])
        labels = labels_of_batch(engine.loss_function, output[CommonKeys.LABEL], num_images)
        self._counts.update(self._ownership.batch_counts(labels))
        self._batches += 1
        if not steps_now(engine):
            return
        scale = engine.scaler.get_scale() if engine.amp and engine.scaler is not None else 1.0
        factor = getattr(engine, "accumulation_steps", 1) / (self._batches * scale)
        self._add_squares(factor, check=scale != 1.0)
        self._counts, self._batches = Counter(), 0

    @torch.no_grad()
    def _add_squares(self, factor: float, check: bool) -> None:
        """Adds each parameter's gradient with its number of labeled images; parameters without any are skipped."""
        gradients = {name: each.grad for name, each in self._owned.items() if each.grad is not None}
        if check and not all(bool(torch.isfinite(value).all()) for value in gradients.values()):
            return  # overflow in mixed precision: the scaler skips this step
        by_tasks: dict[frozenset[str], dict[str, Tensor]] = {}
        for name, value in gradients.items():
            by_tasks.setdefault(self._ownership.tasks_of[name], {})[name] = value if factor == 1.0 else value * factor
        for tasks, group in by_tasks.items():
            if self._counts[tasks] > 0:
                self._squares.update(group, self._counts[tasks] * idist.get_world_size())

    @torch.no_grad()
    def _before_step(self, optimizer: Optimizer, *_: Any) -> None:
        for parameter in self._untrained.values():
            parameter.grad = None
        for name, parameter in self._shared_rows.items():
            if parameter.grad is not None:
                self._touched[name] |= (parameter.grad != 0).reshape(len(parameter), -1).any(dim=1)
        if not self._corrects:
            return
        scale = getattr(optimizer, "grad_scale", None)  # set by fused optimizers, which unscale gradients themselves
        labeled = self._labeled() if self._rule.corrects_labeled_steps else {}
        for name, parameter in self._owned.items():
            if parameter.grad is not None:
                gradient = parameter.grad if scale is None else parameter.grad / scale
                count = self._ownership.num_samples[name]
                corrected = self._rule.correct(name, self._live[name], gradient, count)
                if labeled:
                    corrected = torch.where(labeled[self._ownership.tasks_of[name]], corrected, gradient)
                parameter.grad.copy_(corrected if scale is None else corrected * scale)

    def _labeled(self) -> dict[frozenset[str], Tensor]:
        """Returns {set of tasks: whether any of its tensors has a gradient other than 0}, on the device."""
        gradients: dict[frozenset[str], list[Tensor]] = {}
        for name, parameter in self._owned.items():
            if parameter.grad is not None:
                gradients.setdefault(self._ownership.tasks_of[name], []).append(parameter.grad)
        return {tasks: get_total_norm(each, norm_type=math.inf) != 0 for tasks, each in gradients.items()}

    @torch.no_grad()
    def _after_step(self, optimizer: Optimizer, *_: Any) -> None:
        self._step += 1
        self._rate_sum += float(optimizer.param_groups[0]["lr"])
        if self._observes_steps:
            self._rule.after_step(self._live, self._step, self._num_steps)

    def _add_loss(self, engine: Engine) -> None:
        """Adds the batch's loss by annotated task, without waiting for the device."""
        value = engine.state.output.get(CommonKeys.LOSS) if isinstance(engine.state.output, dict) else None
        if isinstance(value, Tensor):
            loss = value.detach().float()
            if isinstance(self._loss, HybridLoss):
                loss = loss / self._loss.last_present.sum().clamp(min=1)
                self._relative = self._relative.to(value.device) + self._loss.last_relative()
            self._loss_sum = self._loss_sum.to(value.device) + loss
            self._num_batches += 1

    def _restore_buffers(self) -> None:
        self._network.load_state_dict(self._buffers, strict=False)


def steps_now(engine: Engine) -> bool:
    """Returns whether the stock trainer steps in this iteration: every n-th of an epoch, and its last."""
    every, length = getattr(engine, "accumulation_steps", 1), engine.state.epoch_length
    done = engine.state.iteration if length is None else (engine.state.iteration - 1) % length + 1
    return bool(done % every == 0 or done == length)


def copy_to_cpu(value: Tensor) -> Tensor:
    """Returns a float32 copy on the CPU; integers (counters) keep their dtype."""
    value = value.detach()
    return value.to("cpu", torch.float32 if value.is_floating_point() else value.dtype, copy=True)
