import math

import pytest
from ignite.engine import Events

from mtmedformer_monai.engines import EarlyStop
from tests.engines.tiny_training import build_training


def epochs_until_stop(scores: list[float], patience: int, state=None) -> tuple[int, dict]:
    training = build_training(len(scores))

    @training.evaluator.on(Events.EPOCH_COMPLETED)
    def set_score(evaluator):
        evaluator.state.metrics["mean_score"] = scores[evaluator.state.epoch - 1]

    stop = EarlyStop(training.evaluator, patience)
    training.attach(stop)
    if state is not None:
        stop.load_state_dict(state)
    training.run()
    return training.trainer.state.epoch, stop.state_dict()


@pytest.mark.parametrize(
    ("scores", "stopped_after"),
    [
        ([0.1, 0.3, 0.2, 0.3, 0.9], 4),
        ([0.1, 0.3, 0.2, 0.4, 0.3], 5),
        ([math.nan, 0.1, 0.05, 0.2], 4),
        ([0.3, *[math.nan] * 3, 0.2, 0.1], 6),
    ],
    ids=["two without gain", "gain in between", "NaN is no gain and no record", "NaN does not count"],
)
def test_stops_after_patience(scores, stopped_after):
    assert epochs_until_stop(scores, patience=2)[0] == stopped_after


def test_the_counter_is_resumed():
    _, state = epochs_until_stop([0.5, 0.4], patience=2)
    assert state == {"counter": 1, "best_score": 0.5}
    assert epochs_until_stop([0.4, 0.9, 0.9], patience=2, state=state)[0] == 1


@pytest.mark.parametrize(("patience", "epochs"), [(2, 0), (3, 1)], ids=["the same patience", "more patience"])
def test_a_training_that_stopped_early_goes_on_only_with_more_patience(patience, epochs):
    training = build_training(5)
    stop = EarlyStop(training.evaluator, patience)
    training.attach(stop)
    saved = {"counter": 2, "best_score": 2.0}  # no score is above 1
    training.trainer.add_event_handler(Events.STARTED, lambda: stop.load_state_dict(saved))
    training.run()
    assert training.trainer.state.epoch == epochs


def test_misuse_is_refused():
    training = build_training(1)
    with pytest.raises(ValueError, match="patience expects 1 or more, got 0"):
        EarlyStop(training.evaluator, 0)
    with pytest.raises(RuntimeError, match="not attached; add it to the trainer's train_handlers"):
        EarlyStop(training.evaluator, 1).state_dict()
