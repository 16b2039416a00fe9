"""The Kit's debug cases as a suite of the examination, for either version (spec §5)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from . import kit_cases, kit_refusals
from .callbacks import Call, new_nonce
from .checks import Reply
from .clock import Clock
from .debug_case import DebugCase, Ids, Version
from .findings import Finding
from .kit_calls import Sync, signed_v1, signed_v2
from .kit_cases import Debugged
from .kit_cipher import PADDINGS, sealed, wrongly_sealed
from .v1_checks import check_v1

_SECRET = "secret-of-the-debug-app"  # noqa: S105  (nobody's)


@dataclass(frozen=True)
class KitSuite:
    """`key` is the one bound to the Kit's interfaces. Without the merchant's public key there is no
    applicationSync."""

    version: Version
    key: str = field(repr=False)
    clock: Clock
    public_key: RSAPublicKey | None = None

    def creations(self) -> Iterator[DebugCase]:
        return kit_cases.creations(self._debugged)

    def others(self, ids: Ids) -> Iterator[DebugCase]:
        return kit_cases.others(self._debugged, ids)

    def refused(self) -> Iterator[DebugCase]:
        key = self.public_key
        spoilt = {} if key is None else wrongly_sealed(_SECRET, key)
        return kit_refusals.refused(self._debugged, spoilt)

    def unknown(self, instance_id: str) -> Iterator[DebugCase]:
        return kit_refusals.unknown(self._debugged, instance_id)

    def signed(self, case: DebugCase) -> Call:
        sync = Sync(case.activity, case.fields, case.raw, case.style)
        now_ms = self.clock.now_ms()
        if self.version is Version.KIT_V1:
            return signed_v1(self.key, sync, now_ms, case.tamper)
        return signed_v2(self.key, sync, new_nonce(), now_ms, case.tamper)

    def check(self, case: DebugCase, reply: Reply) -> Iterable[Finding]:
        """V1's replies are signed."""
        if self.version is Version.KIT_V1:
            return check_v1(case.activity, reply, self.key)
        return ()

    @cached_property
    def _debugged(self) -> Debugged:
        """Made once: debug calls come again with unchanged parameters."""
        key = self.public_key
        secrets = {} if key is None else {each: sealed(_SECRET, key, each) for each in PADDINGS}
        return Debugged(self.version, self.clock.now_ms(), secrets)
