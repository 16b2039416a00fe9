"""The Lua scripts beside this module, run on whichever server holds their keys."""

import hashlib
from collections.abc import Sequence
from importlib import resources
from typing import Any, TypeAlias

from redis.exceptions import NoScriptError

from metering.cluster import Cluster
from metering.connection import Store, translated

Call: TypeAlias = tuple[list[str], Sequence[str | bytes]]  # keys, arguments


class Scripts:
    """Some scripts by name. Each is sent whole only to a server that does not know it."""

    def __init__(self, store: Store, *names: str) -> None:
        self._store = store
        folder = resources.files("metering") / "lua"
        self._source = {name: (folder / f"{name}.lua").read_text() for name in names}
        self._sha: dict[str, str] = {}

    async def run(self, name: str, keys: Sequence[str], arguments: Sequence[str | bytes]) -> Any:
        """The answer. Raises MeteringError."""
        # EVALSHA first, EVAL where the server does not know the script: SCRIPT LOAD is forbidden at
        # some managed services, and each node of a cluster learns the script at its first call.
        with translated():
            sha = self._sha.get(name)
            if sha is not None:
                try:
                    return await self._store.evalsha(sha, len(keys), *keys, *arguments)
                except NoScriptError:
                    pass
            answer = await self._store.eval(self._source[name], len(keys), *keys, *arguments)
            self._sha[name] = _sha1(self._source[name])
            return answer

    async def run_each(self, name: str, calls: Sequence[Call]) -> list[Any]:
        """The answer to each of these calls, in one go.

        None at all where that cannot be: on a cluster, before the script was run for the first time,
        or when one of them was refused: the others may be done. Raises MeteringError.
        """
        sha = self._sha.get(name)
        if sha is None or isinstance(self._store, Cluster):
            return []
        with translated():
            async with self._store.pipeline(transaction=False) as line:
                for keys, arguments in calls:
                    line.evalsha(sha, len(keys), *keys, *arguments)
                answers = await line.execute(raise_on_error=False)
        return [] if any(isinstance(each, Exception) for each in answers) else answers


def _sha1(source: str) -> str:
    return hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
