"""Calls of many customers at a steady rate: `loadtests.compare.pace`, the customers taking turns.

python -m loadtests.callbacks.traffic --port 8080 --rate 3000 --seconds 20 --customers 500
"""

import gc
import json
from itertools import cycle
from random import Random
from typing import Final

import click

from loadtests.compare.load import request
from loadtests.compare.pace import Pacer, percentile
from loadtests.compare.scenarios import Scenario, customers

SCENARIO: Final = Scenario("json", "JSON")


class Turns(Pacer):
    """Each call is the next customer's."""

    def __init__(self, port: int, rate: float, count: int) -> None:
        [(_, first), *_] = keys = customers(count)
        sample = request(SCENARIO, port)
        super().__init__(port, sample, rate, Random(port))
        made = [sample.replace(first.encode(), key.encode()) for _, key in keys]
        self._requests = cycle(made)

    def _send(self) -> None:
        while self._waiting and self._free:
            self._request = next(self._requests)
            connection = self._free.pop()
            connection.due = self._waiting.popleft()
            connection.sock.send(self._request)


@click.command()
@click.option("--port", type=int, required=True)
@click.option("--rate", type=float, required=True)
@click.option("--seconds", type=float, required=True)
@click.option("--customers", "count", type=int, required=True)
def main(port: int, rate: float, seconds: float, count: int) -> None:
    """Print one line of JSON, times in seconds."""
    gc.disable()  # a collection would be somebody's latency
    pacer = Turns(port, rate, count)
    pacer.run(seconds)
    latencies = sorted(pacer.latencies)
    said = {
        "rate": len(latencies) / seconds,
        "errors": pacer.errors,
        "p50": percentile(latencies, 0.5),
        "p99": percentile(latencies, 0.99),
    }
    click.echo(json.dumps(said))


if __name__ == "__main__":
    main()
