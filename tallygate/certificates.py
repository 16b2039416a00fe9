"""The certificate of a TLS listener, and its successors: new files are served without a restart.

Each pair gets a context of its own, and the listener's context hands every handshake to the newest.
To load a pair into a context in use would keep the old certificate beside it where the kind of key
differs, and leave half a pair where the two files do not fit.
"""

import logging
import os
import ssl
from typing import Any, Final

import anyio
from anyio import to_thread

log = logging.getLogger("tallygate")

_LOOK_S: Final = 2.0
_ALPN: Final = ["http/1.1"]

_Stamp = tuple[tuple[int, ...], ...]


class Certificate:
    """A pair of PEM files. Raises OSError naming them where they cannot be used."""

    def __init__(self, cert: str, key: str) -> None:
        self._files = (cert, key)
        self._seen = self._stamp()
        self._newest = self._loaded()
        self._listening = self._loaded()
        self._listening.sni_callback = self._choose

    def options(self) -> dict[str, Any]:
        """For uvicorn.Config."""
        return {"ssl_context_factory": lambda *_: self._listening}

    async def keep_up(self) -> None:
        """Take over new files for ever, once they have stayed the same from one look to the next.

        Those who write them write one after the other.
        """
        tried = self._seen
        while True:
            await anyio.sleep(_LOOK_S)
            before, self._seen = self._seen, await to_thread.run_sync(self._stamp)
            if self._seen == before and self._seen != tried:
                tried = self._seen
                await self.reload()

    async def reload(self) -> None:
        """Serve what the files hold now; if it cannot be used, say so and go on as before."""
        try:
            self._newest = await to_thread.run_sync(self._loaded)
        except OSError as problem:
            log.error("%s; the old certificate is still served", problem)  # noqa: TRY400
        else:
            log.info("serving the certificate that %s holds now", self._files[0])

    def _choose(self, handshake: ssl.SSLObject, *_: object) -> None:
        handshake.context = self._newest

    def _stamp(self) -> _Stamp:
        """What changes when a file is written or replaced."""
        found: list[tuple[int, ...]] = []
        for file in self._files:
            try:
                said = os.stat(file)
                found.append((said.st_mtime_ns, said.st_size, said.st_ino))
            except OSError:
                found.append(())
        return tuple(found)

    def _loaded(self) -> ssl.SSLContext:
        cert, key = self._files
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(_ALPN)
        try:
            context.load_cert_chain(cert, key, password=_nobody_types_it)
        except (OSError, ValueError) as problem:  # ssl's own errors are OSErrors
            reason = getattr(problem, "strerror", None) or problem
            raise OSError(f"tls: {cert} and {key} cannot be used: {reason}") from problem
        return context


def certificate_of(tls: Any) -> Certificate | None:
    """What an encrypted listener shows; None for a plain one. Raises OSError naming the files."""
    return None if tls is None else Certificate(tls.cert, tls.key)


def _nobody_types_it() -> str:
    """Without this OpenSSL would ask for a passphrase at the terminal, and wait."""
    raise ValueError("the key is protected by a passphrase")
