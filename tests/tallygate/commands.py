"""Commands as they are typed, over a ledger in a file and a Redis that is away."""

from pathlib import Path
from typing import Final

from click import Command
from click.testing import CliRunner, Result

CONFIG: Final = """
data_dir: {var}
redis: redis://127.0.0.1:1
partitions: 1
routes: [{{name: chat, path: /v1, upstream: ["http://127.0.0.1:9"]}}]
products: [{{product_id: TOKENS, routes: [chat], meter: tokens_total, unit: 1000}}]
customers:
  - {{id: cust-1, keys: [sk-plain-0, {{key: sk-laptop-1, name: laptop, expires: 2040-01-31, routes: [chat]}}]}}
"""


def typed(command: Command, place: Path, *words: str) -> Result:
    """What it said; `place` is the file of the configuration."""
    return CliRunner().invoke(command, [*words, "-c", str(place)])
