from ignite.engine import Engine, Events

from mtmedformer_monai.engines.handlers.order import after_all


def test_the_handler_runs_after_later_registered_ones_in_every_run():
    calls = []
    engine = Engine(lambda engine, batch: None)
    after_all(engine, Events.EPOCH_COMPLETED, lambda: calls.append("last"))
    after_all(engine, Events.EPOCH_COMPLETED, lambda: calls.append("very last"))
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda: calls.append("first"))
    engine.run([0], max_epochs=1)
    engine.run([0], max_epochs=1)
    assert calls == ["first", "last", "very last"] * 2
