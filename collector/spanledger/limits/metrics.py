"""What Prometheus hears of limits: answers, holds, leaks."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from spanledger.limits.check import Verdict
from spanledger.limits.counters.counters import CountersAway

if TYPE_CHECKING:
    from spanledger.limits.limits import Limits


class Metrics(Collector):
    """Counts answers as they are given; the rest is read when Prometheus asks."""

    def __init__(self, limits: "Limits", registry: CollectorRegistry | None) -> None:
        self._limits = limits
        # Plain numbers: a Prometheus counter takes a lock and a microsecond for each.
        self._answers = {"allow": 0, "warn": 0, "refuse": 0}
        self._without = 0
        if registry is not None:
            registry.register(self)

    def answered(self, verdict: Verdict) -> None:
        """Count one answer."""
        self._answers[verdict.verdict] += 1
        if verdict.counters_away:
            self._without += 1

    def collect(self) -> Iterable[GaugeMetricFamily | CounterMetricFamily]:
        """How things stand now."""
        answers = CounterMetricFamily("spanledger_checks", "Checks answered", labels=["verdict"])
        for verdict, count in self._answers.items():
            answers.add_metric([verdict], count)
        yield answers
        yield CounterMetricFamily(
            "spanledger_checks_without_counters", "Checks answered while counters were away", value=self._without
        )
        try:
            counts = self._limits.counts()
        except CountersAway:
            yield GaugeMetricFamily("spanledger_counters_up", "Whether the counters can be reached", value=0)
            return
        yield GaugeMetricFamily("spanledger_counters_up", "Whether the counters can be reached", value=1)
        yield GaugeMetricFamily("spanledger_limits", "Limits", value=counts["limits"])
        yield GaugeMetricFamily("spanledger_buckets", "Buckets that hold or have counted something", value=counts["buckets"])
        yield GaugeMetricFamily("spanledger_holds", "Holds of calls in flight", value=counts["holds"])
        yield CounterMetricFamily("spanledger_holds_leaked", "Holds that outlived their lease", value=counts["leaked"])

    def describe(self) -> Iterable[Any]:
        """Nothing ahead of time: the counters may be away while the collector starts."""
        return ()
