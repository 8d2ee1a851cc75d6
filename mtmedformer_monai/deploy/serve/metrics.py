"""The worker's metrics for Prometheus; no label contains a UID or an attribute of a patient."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily

from .case import State
from .health import Health

_SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)


class WorkerMetrics:
    """Counters and gauges of one worker.

    Args:
        counts: returns {state: number of cases}; called at each scrape.
        health: the present problems.
        spool_bytes: returns the size of the spool.
    """

    def __init__(
        self, counts: Callable[[], Mapping[State, int]], health: Health, spool_bytes: Callable[[], int], model: str
    ) -> None:
        self._registry = CollectorRegistry()
        self._counts, self._health = counts, health
        self._steps = Counter(
            "mtmedformer_steps", "Steps by outcome: done, refused, retry, failed.", ["step", "outcome"],
            registry=self._registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "mtmedformer_step_seconds", "Duration of a step.", ["step"], buckets=_SECONDS, registry=self._registry
        )
        self._refused = Counter("mtmedformer_refused", "Refused images.", ["rule"], registry=self._registry)
        spool = Gauge("mtmedformer_spool_bytes", "Size of the spool.", registry=self._registry)
        spool.set_function(spool_bytes)
        Gauge("mtmedformer_model", "Hash of the model, as a label.", ["sha256"], registry=self._registry).labels(
            model
        ).set(1)
        self._registry.register(self)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yields the metrics that are read from the worker at each scrape."""
        cases = GaugeMetricFamily("mtmedformer_cases", "Cases by state.", labels=["state"])
        for state, count in self._counts().items():
            cases.add_metric([state], count)
        yield cases
        problems = GaugeMetricFamily("mtmedformer_problem", "1 for each present problem.", labels=["problem"])
        for name in self._health.problems:
            problems.add_metric([name], 1)
        yield problems
        yield GaugeMetricFamily(
            "mtmedformer_up", "1 unless no images are taken.", value=self._health.status != "paused"
        )

    def describe(self) -> list[GaugeMetricFamily]:
        """Returns nothing: the metrics are not known before a scrape."""
        return []

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Measures the duration of a step."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._seconds.labels(step).observe(time.perf_counter() - began)

    def count(self, step: str, outcome: str, rule: str = "") -> None:
        """Counts a step by its outcome, and a refusal by its rule."""
        self._steps.labels(step, outcome).inc()
        if rule:
            self._refused.labels(rule).inc()

    def text(self) -> bytes:
        """Returns all metrics in Prometheus' text format."""
        return generate_latest(self._registry)
