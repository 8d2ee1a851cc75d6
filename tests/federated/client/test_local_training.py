from __future__ import annotations

import copy

import pytest
import torch
from ignite.engine import Events
from monai.engines import IterationEvents

from mtmedformer_monai.engines import ClipGradients
from mtmedformer_monai.federated.client.local_training import LocalTrainingHandler
from mtmedformer_monai.federated.client.ownership import own
from mtmedformer_monai.federated.pvi.squared_gradient import SquaredGradient
from mtmedformer_monai.federated.strategies.fedavg import AveragingClient
from mtmedformer_monai.federated.strategy import UNKNOWN_LOSS
from tests.federated.tiny_client import make_trainer

BOTH, LEFT, NONE = {"left": "yes", "right": "no"}, {"left": "yes"}, {}


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.1)


class Looking(AveragingClient):
    """Needs squared gradients; records the weights after each step."""

    needs_squared_gradient = True

    def __init__(self):
        self.steps, self.seen = [], []

    def after_step(self, weights, step, num_steps):
        self.steps.append((step, num_steps))
        self.seen.append({name: value.clone() for name, value in weights.items()})


class Correcting(AveragingClient):
    """Replaces the gradient by the weight, so that a step of SGD scales the weight."""

    def correct(self, name, weight, gradient, num_samples):
        return weight * num_samples


def run(trainer, rule):
    training = LocalTrainingHandler(rule, own(trainer))
    training.attach(trainer)
    trainer.run()
    return training.finish()


def test_a_plain_rule_changes_nothing_of_the_training():
    plain, federated = make_trainer([BOTH] * 8), make_trainer([BOTH] * 8)
    plain.run()
    result = run(federated, AveragingClient())
    for name, value in plain.network.state_dict().items():
        torch.testing.assert_close(result.weights[name], value, rtol=0, atol=0)
    assert result.num_steps == 2
    assert result.learning_rate == pytest.approx(0.01)
    assert result.squared_gradient == {}


def test_the_relative_loss_is_the_mean_over_batches_of_shares_of_the_initial_losses():
    """Both tasks have labels in the first batch, one in the second."""
    trainer, shares = make_trainer([BOTH, BOTH, LEFT, LEFT], batch_size=2), []
    loss = trainer.loss_function
    loss.initial.copy_(torch.tensor([0.5, 2.0]))

    def record(engine):
        parts = [value / (0.5 if name == "left" else 2.0) for name, value in loss.last.items()]
        shares.append(float(sum(parts) / len(parts)))

    trainer.add_event_handler(Events.ITERATION_COMPLETED, record)
    result = run(trainer, AveragingClient())
    assert [len(shares), shares[0] == shares[1]] == [2, False]
    assert result.relative_loss == pytest.approx(sum(shares) / 2)


def test_the_relative_loss_is_unknown_without_initial_losses():
    assert run(make_trainer([BOTH] * 4), AveragingClient()).relative_loss == UNKNOWN_LOSS


def test_results_are_copies():
    trainer = make_trainer([BOTH] * 4)
    result = run(trainer, AveragingClient())
    before = result.weights["encoder.weight"].clone()
    with torch.no_grad():
        trainer.network.encoder.weight.add_(1.0)
    torch.testing.assert_close(result.weights["encoder.weight"], before, rtol=0, atol=0)


def test_a_task_without_label_stays_bit_for_bit_under_weight_decay():
    trainer = make_trainer([LEFT] * 7)
    before = {name: value.clone() for name, value in trainer.network.state_dict().items()}
    result = run(trainer, Looking())
    for name, value in trainer.network.state_dict().items():
        if name.startswith("decoders.right"):
            assert torch.equal(value, before[name]), name
            assert name not in result.num_samples
            assert name not in result.squared_gradient
        elif not name.endswith("num_batches_tracked"):
            assert not torch.equal(value, before[name]), name


def test_the_rule_corrects_each_gradient_with_its_images():
    trainer = make_trainer([BOTH, LEFT, NONE], optimizer=sgd)
    before = copy.deepcopy(trainer.network.state_dict())
    run(trainer, Correcting())
    after = trainer.network.state_dict()
    torch.testing.assert_close(after["encoder.weight"], before["encoder.weight"] * (1 - 0.1 * 2))
    torch.testing.assert_close(after["decoders.right.1.weight"], before["decoders.right.1.weight"] * (1 - 0.1 * 1))


@pytest.mark.parametrize("accumulation_steps", [1, 2])
def test_a_rule_may_correct_in_labeled_steps_alone(accumulation_steps):
    """Of four batches, the last one has labels of the right task; half-way, two are accumulated to a step."""
    rule = Correcting()
    rule.corrects_labeled_steps = True
    labels = [LEFT, LEFT, LEFT, BOTH]
    trainer = make_trainer(labels, 1, optimizer=sgd, accumulation_steps=accumulation_steps)
    for norm in (trainer.network.norm, *(decoder[0] for decoder in trainer.network.decoders.values())):
        norm.train = lambda mode=True, norm=norm: norm
        norm.training = False
    before = copy.deepcopy(trainer.network.state_dict())
    run(trainer, rule)
    after, steps = trainer.network.state_dict(), 4 // accumulation_steps
    torch.testing.assert_close(after["decoders.right.1.weight"], before["decoders.right.1.weight"] * 0.9)
    torch.testing.assert_close(after["decoders.left.1.weight"], before["decoders.left.1.weight"] * 0.6**steps)


def test_corrections_are_not_clipped():
    trainer = make_trainer([BOTH] * 4, optimizer=sgd, handlers=[ClipGradients(1e-6)])
    before = trainer.network.encoder.weight.detach().clone()
    run(trainer, Correcting())
    torch.testing.assert_close(trainer.network.encoder.weight.detach(), before * (1 - 0.1 * 4))


def test_the_rule_sees_the_weights_after_each_step():
    trainer, rule = make_trainer([BOTH] * 8), Looking()
    result = run(trainer, rule)
    assert rule.steps == [(1, 2), (2, 2)]
    assert not torch.equal(rule.seen[0]["encoder.weight"], rule.seen[1]["encoder.weight"])
    assert torch.equal(rule.seen[1]["encoder.weight"], result.weights["encoder.weight"])


def expected_squares(labels, batch_size, name, counts):
    """Returns the estimate computed from each batch's gradients at the weights of that step."""
    trainer = make_trainer(labels, batch_size, optimizer=sgd)
    squares, steps = SquaredGradient(), iter(counts)

    def look(engine):
        gradient = trainer.network.get_parameter(name).grad
        count = next(steps)
        if count:
            squares.update({name: gradient.clone()}, count)

    trainer.add_event_handler(IterationEvents.BACKWARD_COMPLETED, look)
    trainer.run()
    return squares.estimate()[name]


@pytest.mark.parametrize(
    ("name", "counts"),
    [("encoder.weight", (4, 3, 4)), ("decoders.right.1.weight", (4, 0, 2))],
    ids=["shared by all", "of one task"],
)
def test_squared_gradient_counts_the_images_that_a_gradient_comes_from(name, counts):
    labels = [BOTH] * 4 + [LEFT] * 3 + [NONE] + [BOTH, LEFT] * 2
    result = run(make_trainer(labels, 4, optimizer=sgd), Looking())
    torch.testing.assert_close(result.squared_gradient[name], expected_squares(labels, 4, name, counts))


def test_squared_gradient_is_taken_before_clipping():
    labels = [BOTH] * 4
    clipped = run(make_trainer(labels, optimizer=sgd, handlers=[ClipGradients(1e-6)]), Looking())
    plain = run(make_trainer(labels, optimizer=sgd), Looking())
    torch.testing.assert_close(clipped.squared_gradient, plain.squared_gradient)


def test_squared_gradient_of_accumulated_batches_is_that_of_their_mean():
    """Without batch statistics, two batches of two equal a batch of four; the last step has one batch."""
    trainers = [
        make_trainer([BOTH] * 6, 2, optimizer=sgd, accumulation_steps=2),
        make_trainer([BOTH] * 6, 4, optimizer=sgd),
    ]
    for trainer in trainers:
        for norm in (trainer.network.norm, *(decoder[0] for decoder in trainer.network.decoders.values())):
            norm.train = lambda mode=True, norm=norm: norm
            norm.training = False
    accumulated, whole = (run(trainer, Looking()) for trainer in trainers)
    assert accumulated.num_steps == whole.num_steps == 2
    torch.testing.assert_close(accumulated.squared_gradient, whole.squared_gradient)


class Scaler:
    """Minimal interface of a gradient scaler, with a scale of 8."""

    def get_scale(self):
        return 8.0


@pytest.mark.parametrize("overflows", [False, True], ids=["finite", "overflows"])
def test_squared_gradient_is_unscaled_under_mixed_precision(overflows):
    trainer, rule = make_trainer([BOTH] * 4, optimizer=sgd), Looking()
    training = LocalTrainingHandler(rule, own(trainer))
    training.attach(trainer)
    gradients = {}

    def scale(engine):
        for name, parameter in engine.network.named_parameters():
            gradients[name] = parameter.grad.clone()
            parameter.grad.mul_(float("inf") if overflows else 8.0)
        engine.amp, engine.scaler = True, Scaler()
        training._observe(engine)
        engine.amp, engine.scaler = False, None
        engine.terminate()

    handlers = trainer._event_handlers
    handlers[IterationEvents.BACKWARD_COMPLETED].clear()
    trainer.add_event_handler(IterationEvents.BACKWARD_COMPLETED, scale)
    trainer.run()
    found = training.finish().squared_gradient
    assert set(found) == (set() if overflows else set(gradients))
    for name, value in found.items():
        torch.testing.assert_close(value, gradients[name] ** 2)


def test_each_run_is_a_round_of_its_own():
    trainer, rule = make_trainer([BOTH] * 8), Looking()
    training = LocalTrainingHandler(rule, own(trainer))
    training.attach(trainer)
    trainer.run()
    trainer.state.max_epochs = 3
    trainer.add_event_handler(Events.STARTED, lambda: rule.steps.clear())
    trainer.run()
    assert rule.steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert training.finish().num_steps == 4
