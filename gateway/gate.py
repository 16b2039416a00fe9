"""Lets requests in: from a request head to an Exchange, or to a refusal. Pure."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Final, NamedTuple

from gateway import headers as fields
from gateway.admission import Directory, admit_key, admit_proved, admit_trusted
from gateway.admitted import Admitted
from gateway.agent_errors import AgentUnproved
from gateway.agents import Agents, Proof, Verdict
from gateway.credentials import CREDENTIAL_HEADERS, Networks, presented_key, trusted_identity
from gateway.errors import BadIdentity, EntitlementsStale, Headers, KeyExpired, Unauthenticated
from gateway.exchange import Exchange
from gateway.limit_settings import NO_LIMITS, Limits
from gateway.limits import Braking, Caller
from gateway.passage import Passage, RequestHead, passage_of
from gateway.recent_ids import RecentIds
from gateway.routing import RouteTable, ServedRoute, decoded_path
from gateway.strictness import check_request

_UUID_BYTES: Final = 16
_TOGETHER: Final = 256  # ids made from 4 KiB of random bytes at a time
_VERSION: Final = bytes((byte & 0x0F) | 0x40 for byte in range(256))  # RFC 9562 §5.4
_VARIANT: Final = bytes((byte & 0x3F) | 0x80 for byte in range(256))
_FORM: Final = "########-####-####-####-############"
_DASHES: Final = b"-" * (len(_FORM) * _TOGETHER)
_DIGITS: Final = tuple(at for at, sign in enumerate(_FORM) if sign == "#")


class RequestIds:
    """UUID version 4 from random bytes that are drawn 4 KiB at a time."""

    def __init__(self, draw: Callable[[int], bytes]) -> None:
        """`draw` returns that many random bytes, as `os.urandom` does."""
        self._draw = draw
        self._made: list[str] = []

    def __call__(self) -> str:
        if not self._made:
            self._made = _ids(self._draw(_TOGETHER * _UUID_BYTES))
        return self._made.pop()


def _ids(random: bytes) -> list[str]:
    raw = bytearray(random)
    raw[6::_UUID_BYTES] = raw[6::_UUID_BYTES].translate(_VERSION)
    raw[8::_UUID_BYTES] = raw[8::_UUID_BYTES].translate(_VARIANT)
    digits, written = raw.hex().encode(), bytearray(_DASHES)
    for number, at in enumerate(_DIGITS):  # the same digit of all of them at once
        written[at :: len(_FORM)] = digits[number :: len(_DIGITS)]
    text = written.decode()
    return [text[at : at + len(_FORM)] for at in range(0, len(text), len(_FORM))]


class Served(NamedTuple):
    """Whom a worker serves, and where to: replaced whole when its configuration changes."""

    table: RouteTable
    directory: Directory
    trusted_proxies: Networks
    trusted_peers: Networks
    limits: Limits = NO_LIMITS
    agents: Agents | None = None

    @property
    def credentials(self) -> frozenset[bytes]:
        """The header fields that say who calls, and are nobody else's business."""
        return CREDENTIAL_HEADERS | self.agents.headers if self.agents else CREDENTIAL_HEADERS


class Gate:
    """Lets requests in, as `served` has it at the moment. `now_ms` tells the time (UTC).

    `proofs` counts those of the Agents gateway; `recent` are the ids of the calls of whoever is
    believed.
    """

    def __init__(
        self, served: Served, now_ms: Callable[[], int], braking: Braking | None = None
    ) -> None:
        """`braking` finds the limits of each caller; without it there are none."""
        self.served = served
        self.shut = False  # whether nobody can say who may pass
        self.proofs: Counter[Verdict] = Counter()
        self.recent = RecentIds()
        self._now_ms = now_ms
        self._braking = braking

    def open(self, head: RequestHead, request_id: str) -> Exchange:
        """The exchange of a request that may pass. Raises GatewayError for any other."""
        passage = self.passage(head)
        return Exchange(
            passage.way, passage.admitted, passage.request_id or request_id, passage.recent
        )

    def passage(self, head: RequestHead) -> Passage:
        """The verdict on a request that may pass. Raises GatewayError for any other."""
        served = self.served
        if not head.checked:
            check_request(head.headers, head.http_version)
        path = decoded_path(head.target)
        route = served.table.match(path)
        if self.shut:
            raise EntitlementsStale
        admitted, believed_id = self._admit(served, head, route)
        admitted = self._braked(admitted, route)
        about_caller = fields.forwarded(
            head.headers,
            peer=head.peer,
            scheme=head.scheme,
            trusted=head.peer in served.trusted_proxies,
        )
        passage = passage_of(
            head,
            route,
            path.decode("utf-8", "replace"),
            admitted,
            about_caller=about_caller,
            credentials=served.credentials,
        )
        if believed_id is None:
            return passage
        return passage._replace(request_id=believed_id, recent=self.recent)

    def believed(self, route: ServedRoute, headers: Headers) -> tuple[Admitted, str | None] | None:
        """The verdict where these fields of a head prove that the Agents gateway calls.

        With the id of its request. None where they do not; as `passage` in all else.
        """
        agents, now_ms = self.served.agents, self._now_ms()
        if agents is None or "koogallery" not in route.identity or self.shut:
            return None
        proof = agents.prove(headers, now_ms)
        if proof is None or not proof.holds:
            return None
        self.proofs[proof.verdict] += 1
        admitted, request_id = _admit_proved(self.served, headers, route, proof, now_ms)
        return self._braked(admitted, route), request_id

    def _braked(self, admitted: Admitted, route: ServedRoute) -> Admitted:
        """With the limits of the caller, if there are any."""
        if self._braking is None:
            return admitted
        served = self.served
        caller = _caller_of(admitted)
        brakes = self._braking.of(served.limits, served.table.packages, route.name, caller)
        return admitted if brakes is None else replace(admitted, brakes=brakes)

    def _admit(
        self, served: Served, head: RequestHead, route: ServedRoute
    ) -> tuple[Admitted, str | None]:
        proof = self._proof(served, head, route)
        if proof is not None and proof.holds:
            return _admit_proved(served, head.headers, route, proof, self._now_ms())
        if "trusted" in route.identity and head.peer in served.trusted_peers:
            who = trusted_identity(head.headers)
            if who is not None:
                admitted = admit_trusted(served.directory, route, who, self._now_ms())
                return admitted, who.request_id
        try:
            key = presented_key(head.headers)
            return admit_key(served.directory, route, key, self._now_ms()), None
        except KeyExpired:
            raise
        except Unauthenticated:
            if proof is None:
                raise
            raise AgentUnproved(proof.verdict) from None

    def _proof(self, served: Served, head: RequestHead, route: ServedRoute) -> Proof | None:
        """That of the Agents gateway, whatever it amounts to; None where none is asked for."""
        if served.agents is None or "koogallery" not in route.identity:
            return None
        proof = served.agents.prove(head.headers, self._now_ms())
        if proof is not None:
            self.proofs[proof.verdict] += 1
        return proof


def _admit_proved(
    served: Served, headers: Headers, route: ServedRoute, proof: Proof, now_ms: int
) -> tuple[Admitted, str | None]:
    """Only now do the identity headers count."""
    who = trusted_identity(headers)
    if who is None:
        raise BadIdentity
    admitted = admit_proved(served.directory, route, who, now_ms, until_ms=proof.until_ms)
    return admitted, who.request_id


def _caller_of(admitted: Admitted) -> Caller:
    grounds = admitted.grounds
    instances = grounds.instances if grounds is not None else ()
    return Caller(admitted.customer_id, admitted.key_id, admitted.charges, instances)
