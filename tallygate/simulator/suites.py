"""Which debug cases there are, how each is signed and its reply judged: one suite for each guide."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol
from uuid import uuid4

from . import license_cases, v1_cases, v1_refusals, v2_cases, v2_refusals
from .callbacks import Call, new_nonce
from .canonical import canonical
from .checks import Reply
from .clock import Clock
from .debug_case import DebugCase, Ids, Version
from .findings import Finding
from .tampering import signed_callback
from .v1_calls import signed_call
from .v1_checks import check_v1
from .v1_cipher import encrypted

_IV = "0123456789abcdef"  # of made-up phone numbers only


class Suite(Protocol):
    """`creations` come first, and once more at the very end; `unknown` are real calls."""

    @property
    def version(self) -> Version: ...

    def creations(self) -> Iterable[DebugCase]: ...

    def others(self, ids: Ids) -> Iterable[DebugCase]: ...

    def refused(self) -> Iterable[DebugCase]: ...

    def unknown(self, instance_id: str) -> Iterable[DebugCase]: ...

    def signed(self, case: DebugCase) -> Call: ...

    def check(self, case: DebugCase, reply: Reply) -> Iterable[Finding]: ...


@dataclass(frozen=True)
class _OfTheBase:
    """What the guides have in common whose calls are signed by the key of the base interface."""

    key: str
    clock: Clock

    def check(self, _case: DebugCase, _reply: Reply) -> Iterable[Finding]:
        """Nothing that is not checked of every reply."""
        return ()

    @cached_property
    def _began_ms(self) -> int:
        """Parameters that stay unchanged."""
        return self.clock.now_ms()


class BaseV2(_OfTheBase):
    """V2.0: POST and JSON (§2)."""

    version = Version.V2

    def creations(self) -> Iterator[DebugCase]:
        return v2_cases.creations()

    def others(self, ids: Ids) -> Iterator[DebugCase]:
        return v2_cases.others(ids, self._began_ms)

    def refused(self) -> Iterator[DebugCase]:
        return v2_refusals.refused(self._began_ms)

    def unknown(self, instance_id: str) -> Iterator[DebugCase]:
        return v2_refusals.unknown(instance_id, self._began_ms)

    def signed(self, case: DebugCase) -> Call:
        body = {"activity": case.activity, **_fresh(case)}
        content = case.raw if case.raw is not None else canonical(body).encode()
        return signed_callback(self.key, content, new_nonce(), self.clock.now_ms(), case.tamper)


class License(BaseV2):
    """getLicenseAsync, called as V2.0 is (§4.1)."""

    version = Version.LICENSE

    def creations(self) -> Iterator[DebugCase]:
        return license_cases.creations(self._began_ms)

    def others(self, ids: Ids) -> Iterator[DebugCase]:
        return license_cases.others(ids, self._began_ms)

    def refused(self) -> Iterator[DebugCase]:
        return license_cases.refused(self._began_ms)

    def unknown(self, instance_id: str) -> Iterator[DebugCase]:
        return license_cases.unknown(instance_id, self._began_ms)


@dataclass(frozen=True)
class BaseV1(_OfTheBase):
    """V1.0: GET and Body-Sign (§3). `licenses`: getLicense besides (§4.3)."""

    bits: int = 256
    licenses: bool = False
    version = Version.V1

    def creations(self) -> Iterator[DebugCase]:
        return v1_cases.creations(self._began_ms, self._sealed)

    def others(self, ids: Ids) -> Iterator[DebugCase]:
        yield from v1_cases.others(ids, self._began_ms)
        if self.licenses:
            yield from license_cases.in_v1(self._began_ms)

    def refused(self) -> Iterator[DebugCase]:
        return v1_refusals.refused(self._began_ms)

    def unknown(self, instance_id: str) -> Iterator[DebugCase]:
        return v1_refusals.unknown(instance_id, self._began_ms)

    def signed(self, case: DebugCase) -> Call:
        fields = {name: str(value) for name, value in _fresh(case).items()}
        parameters = {"activity": case.activity, **fields}
        return signed_call(self.key, parameters, self.clock.now_ms(), case.tamper)

    def check(self, case: DebugCase, reply: Reply) -> Iterable[Finding]:
        return check_v1(case.activity, reply, self.key)

    def _sealed(self, text: str) -> str:
        return encrypted(self.key, self.bits, text, _IV)


def _fresh(case: DebugCase) -> Mapping[str, object]:
    """A businessId differs on every request (§2.6)."""
    renewed = (case.line or case.tamper != "none") and "businessId" in case.fields
    return {**case.fields, "businessId": str(uuid4())} if renewed else case.fields
