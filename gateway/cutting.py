"""Open calls whose customer may not go on: cut under `streams_on_stop: cut`, else left to finish.

A call is asked about again as if it came now. One that is cut is recorded with what it used so far.
"""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.admission import admit_again
from gateway.errors import GatewayError
from gateway.gate import Gate
from gateway.passage import Passage
from gateway.workings import OpenCall

log = logging.getLogger("tallygate.gateway")


class Cutting(Collector):
    """Of one worker. `calls` are those that are open at any time; `now_ms` is UTC."""

    def __init__(
        self,
        gate: Gate,
        now_ms: Callable[[], int],
        calls: Iterable[Collection[OpenCall]],
        *,
        cuts: bool,
    ) -> None:
        self._gate = gate
        self._now_ms = now_ms
        self._calls = tuple(calls)
        self._cuts = cuts
        self.cut: Counter[str] = Counter()  # by the code of the refusal

    def look(self) -> None:
        """Something changed, or some time has passed. Never raises."""
        if not self._cuts:
            return
        now_ms = self._now_ms()
        for call in [each for some in self._calls for each in some]:
            try:
                refusal = self._refusal(call.passage, now_ms)
                if refusal is not None:
                    self.cut[refusal.code] += 1
                    call.stop(refusal)
            except Exception:
                log.exception("a call of a customer who may not go on could not be ended")

    def _refusal(self, passage: Passage, now_ms: int) -> GatewayError | None:
        directory, admitted = self._gate.served.directory, passage.admitted
        if directory.stands(admitted) and not admitted.over(now_ms):
            return None
        try:
            admit_again(directory, passage.route, admitted, now_ms)
        except GatewayError as refusal:
            return refusal
        return None

    def collect(self) -> Iterable[Metric]:
        family = CounterMetricFamily(
            "gateway_calls_cut", "Open calls ended by streams_on_stop.", labels=("code",)
        )
        for code, count in list(self.cut.items()):
            family.add_metric((code,), count)
        yield family
