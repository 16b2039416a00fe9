"""The open API of licences without a wire (spec §4): uploads, and authorization codes.

The specification shows neither the reply of a heartbeat nor the refusals of codes; numbers and names are
those of the vendor's pages for them.
"""

import json
import re
from collections.abc import Callable
from typing import Final
from urllib.parse import unquote

from .aksk import SignedRequest, refusal, signs_host
from .batches import PushRefused
from .fault_sources import Fault
from .faults import Faults
from .findings import Finding, FindingLog
from .intake import Answer
from .license_book import Code, CodeState, LicenseBook
from .said import Said, failed, said_of, unreachable
from .settings import SimulatorSettings
from .times import format_compact_time
from .uploads import read_upload

PREFIX: Final = "/api/mkp-openapi-public/global/v1"
UPLOAD_PATH: Final = f"{PREFIX}/market-event/{{event_id}}/file"
ACTIVATE_PATH: Final = f"{PREFIX}/license/activate"
HEARTBEAT_PATH: Final = f"{PREFIX}/license/heartbeat"
_UPLOAD = re.compile(re.escape(PREFIX) + r"/market-event/([^/]+)/file")
_DONE: Final = "92020000"
_BAD: Final = "92020002"
_NOT_NOW: Final = "92020003"
_NO_SUCH: Final = "92020005"
_NOT_ACTIVATED: Final = "92020011"
MAX_LICENSE: Final = 64
_CodeCall = Callable[[Code, int], str]


class LicenseDesk:
    """Answers one seller's calls about licences. Every refusal is also a finding."""

    def __init__(
        self, settings: SimulatorSettings, book: LicenseBook, findings: FindingLog, faults: Faults
    ) -> None:
        self._settings = settings
        self._book = book
        self._findings = findings
        self._faults = faults

    def answer(self, request: SignedRequest, now_ms: int) -> Said | None:
        """None when the call is about something else."""
        if request.method != "POST":
            return None
        if upload := _UPLOAD.fullmatch(request.path):
            return self._upload(request, unquote(upload[1]), now_ms)
        calls = {ACTIVATE_PATH: self._activate, HEARTBEAT_PATH: self._heartbeat}
        call = calls.get(request.path)
        return None if call is None else self._about_code(request, now_ms, call)

    # Uploads...

    def _upload(self, request: SignedRequest, event_id: str, now_ms: int) -> Said:
        fault = self._faults.next("license", now_ms)
        if fault is not None and not fault.taken:
            return _spoilt(fault)
        try:
            self._authenticate(request, now_ms)
            self._take(request, event_id)
        except PushRefused as refused:
            return self._refused("license-refused", refused)
        return _spoilt(fault) if fault else said_of(Answer(200, "MKT.0000", "success"))

    def _take(self, request: SignedRequest, event_id: str) -> None:
        upload = read_upload(request.headers.get("content-type", ""), request.body)
        wish = self._book.wishes.get(event_id) if len(event_id) <= MAX_LICENSE else None
        if wish is None:
            raise PushRefused(400, "MKT.0199", "nobody asked for a licence with this event_id")
        if changed := self._book.deliver(wish, upload):
            self._findings.add(changed)

    def _authenticate(self, request: SignedRequest, now_ms: int) -> None:
        """AK/SK, or what looks the same by APP authentication; the body need not be signed."""
        if reason := refusal(request, self._settings.ak, self._settings.sk, now_ms):
            raise PushRefused(401, "MKT.0154", f"illegal token: {reason}")
        if not signs_host(request):
            self._findings.add(Finding("push-auth", "host is not among the signed headers"))

    # Authorization codes...

    def _about_code(self, request: SignedRequest, now_ms: int, call: _CodeCall) -> Said:
        try:
            self._authenticate_app(request, now_ms)
            code = self._code_in(request.body)
            return said_of_code(call(code, now_ms))
        except PushRefused as refused:
            return self._refused("code-refused", refused)

    def _authenticate_app(self, request: SignedRequest, now_ms: int) -> None:
        """With `x-stage: RELEASE` the key may be that of an app, which signs in the same way."""
        app_key, secret = self._settings.app_key, self._settings.app_secret
        by_app = app_key and request.headers.get("x-stage") == "RELEASE"
        if not by_app or refusal(request, app_key, secret, now_ms) is not None:
            self._authenticate(request, now_ms)

    def _code_in(self, body: bytes) -> Code:
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            value = None
        license_id = value.get("license") if isinstance(value, dict) else None
        if not isinstance(license_id, str) or not 1 <= len(license_id) <= MAX_LICENSE:
            raise PushRefused(400, _BAD, "license must be text of 1 to 64 characters")
        code = self._book.codes.get(license_id)
        if code is None:
            raise PushRefused(400, _NO_SUCH, "there is no such authorization code")
        return code

    def _activate(self, code: Code, now_ms: int) -> str:
        if code.state is not CodeState.NORMAL or code.activated_ms is not None:
            raise PushRefused(400, _NOT_NOW, "its state does not allow it")
        code.activated_ms = now_ms
        return _shown(code)

    def _heartbeat(self, code: Code, _now_ms: int) -> str:
        if code.activated_ms is None:
            raise PushRefused(400, _NOT_ACTIVATED, "the code is not activated")
        code.heartbeats += 1
        return _shown(code)

    def _refused(self, check: str, refused: PushRefused) -> Said:
        answer = Answer(refused.status, refused.code, str(refused))
        self._findings.add(Finding(check, f"{answer.code} {answer.message}"))
        return said_of(answer)


def said_of_code(info: str) -> Said:
    """Success of a call about a code."""
    told = {"license_code_info": info}
    return Said(200, {"error_code": _DONE, "error_msg": "success", "data": told})


def _shown(code: Code) -> str:
    """JSON within a string, as the page prints it."""
    status = "ALIVE" if code.state is CodeState.NORMAL else code.state.value
    return json.dumps({"status": status, "expire_time": format_compact_time(code.expires_ms)})


def _spoilt(fault: Fault) -> Said:
    if fault.kind == "unreachable":
        return unreachable()
    if fault.kind == "timeout_after_accept":
        return Said(504, delay_s=fault.seconds, lost=True)
    return failed(fault)
