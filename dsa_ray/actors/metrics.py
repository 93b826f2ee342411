"""A run's metrics for Prometheus, through the metrics agent of the node that publishes them (`ray.util.metrics`)."""

from __future__ import annotations

from collections.abc import Sequence

from ray.util.metrics import Gauge

from dsa_ray.report.metrics import METRICS, RUN, Sample


class MetricsPublisher:
    """Gauges of one run. Call it from a process that is connected to Ray.

    A series that is no longer sampled, such as a retired replica's, goes to 0: Ray cannot take one back.

    Args:
        run: the run's name, the value of every series' `run` label.
    """

    def __init__(self, run: str) -> None:
        self._run = run
        self._gauges = {
            metric.name: Gauge(metric.name, description=metric.help, tag_keys=(RUN, *metric.labels))
            for metric in METRICS
        }
        self._shown: set[tuple[str, tuple[tuple[str, str], ...]]] = set()

    def publish(self, samples: Sequence[Sample]) -> None:
        """Let these be the values until the next call."""
        shown = {(sample.name, sample.labels) for sample in samples}
        for name, labels in self._shown - shown:
            self._gauges[name].set(0.0, tags={RUN: self._run, **dict(labels)})
        for sample in samples:
            self._gauges[sample.name].set(float(sample.value), tags={RUN: self._run, **dict(sample.labels)})
        self._shown = shown
