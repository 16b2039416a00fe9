"""Looks at the certificates that the listeners are to serve."""

from collections.abc import Iterator

from tallygate.certificates import Certificate
from tallygate.config_schema import Config
from tallygate.doctor.diagnosis import Diagnosis, finding, ok


def look_at_tls(config: Config) -> Iterator[Diagnosis]:
    """One line for each listener with TLS: its files must be a pair that can be loaded."""
    for name, tls in (("control", config.control.tls), ("gateway", config.gateway.tls)):
        if tls is None:
            continue
        try:
            Certificate(tls.cert, tls.key)
        except OSError as unusable:
            yield finding(f"{name}.tls", str(unusable))
        else:
            yield ok(f"{name}.tls", tls.cert)
