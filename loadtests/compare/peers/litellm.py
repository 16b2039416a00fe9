"""LiteLLM's proxy, from PyPI: one worker, no database, no master key, telemetry off.

That is the cheapest it can be asked to do: it counts spend in memory and writes it nowhere.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from loadtests.compare.fetching import Fetched
from loadtests.compare.peers.peer import Running, Site
from loadtests.compare.processes import Command, listening, started
from loadtests.compare.scenarios import Scenario

_START_S: Final = 120.0
_ENVIRON: Final = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # the list of prices it has, not one from the network
    "LITELLM_LOG": "ERROR",
    "LITELLM_TELEMETRY": "False",
    "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",  # it listens on loopback only
    "LITELLM_MODE": "PRODUCTION",
    "NO_PROXY": "127.0.0.1",
}


class LiteLLM:
    """Reads every call and writes it anew."""

    name = "litellm"
    does = "translate, count spend"
    fetched = Fetched("litellm[proxy]", "litellm")

    def missing(self, cache: Path) -> str | None:
        """What pip would be told."""
        return self.fetched.missing(cache)

    def plays(self, scenario: Scenario) -> bool:
        """Where its ratio is asked for; it takes long to start."""
        return scenario.name in ("json", "sse")

    def version(self, cache: Path) -> str:
        """As the package says."""
        return f"LiteLLM {self.fetched.version(cache)}"

    @contextmanager
    def running(self, site: Site) -> Iterator[Running]:
        """It imports for long."""
        path = site.folder / "litellm.yaml"
        path.write_text(json.dumps(_configuration(site.upstream)))
        binary = self.fetched.binary(site.cache)
        options = ["--host", "127.0.0.1", "--port", str(site.port), "--num_workers", "1"]
        argv = [str(binary), "--config", str(path), *options, "--telemetry", "False"]
        command = Command(argv, site.folder, site.cores.proxy, _ENVIRON, "litellm")
        with started(command) as process:
            listening(process, site.port, site.folder / "litellm.log", _START_S)
            yield Running(site.port, [process.pid])


def _configuration(upstream: int) -> dict[str, object]:
    parameters = {
        "model": "openai/demo",
        "api_base": f"http://127.0.0.1:{upstream}/v1",
        "api_key": "sk-none",
    }
    return {
        "model_list": [{"model_name": "demo", "litellm_params": parameters}],
        "litellm_settings": {"telemetry": False, "num_retries": 0},
    }
