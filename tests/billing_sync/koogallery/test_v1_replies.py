"""Encrypted access data in V1.0 replies."""

from billing_sync.koogallery.answers import Answer
from billing_sync.koogallery.cipher import ValueCipher
from billing_sync.koogallery.codes import ResultCode
from billing_sync.koogallery.v1_replies import sealed
from tests.billing_sync.marketplace import ACCESS_KEY
from tests.billing_sync.v1_marketplace import decrypted
from tests.fakes import Ids

CIPHER = ValueCipher.of(ACCESS_KEY, 128)
APP = {"frontEndUrl": "https://api", "userName": "buyer", "password": "tg-key", "memo": "m"}


def seal(answer: Answer) -> Answer:
    numbers = Ids("")
    return sealed(answer, CIPHER, lambda: numbers().zfill(16))


def test_a_creation() -> None:
    """User name and password are encrypted, each under its own vector; the rest is as it was."""
    answer = seal(Answer(ResultCode.SUCCESS, instance_id="i", app_info=APP))
    shown = dict(answer.app_info or {})
    assert answer.encrypt_type == "2"
    assert [shown[name][:16] for name in ("userName", "password")] == [
        "0000000000000001",
        "0000000000000002",
    ]
    opened = {name: decrypted(shown[name], 128) for name in ("userName", "password")}
    assert shown | opened == APP


def test_a_query() -> None:
    """Each entry of a query too; those without access data stay as they are."""
    bare: dict[str, object] = {"instanceId": "j"}
    answer = seal(Answer(ResultCode.SUCCESS, info=({"instanceId": "i", "appInfo": APP}, bare)))
    first, second = answer.info or ()
    app_info = first["appInfo"]
    assert isinstance(app_info, dict)
    assert decrypted(app_info["password"], 128) == "tg-key"
    assert second == bare


def test_what_has_no_access_data() -> None:
    """Other replies say nothing of encryption."""
    for plain in (Answer(ResultCode.SUCCESS), Answer(ResultCode.UNKNOWN_INSTANCE, info=())):
        assert seal(plain) == plain


def test_what_would_be_too_long() -> None:
    """79 characters fit into the field's 128; more is left out, as half a value opens nothing."""
    for length, fits in ((79, True), (80, False)):
        app = APP | {"userName": "x" * length}
        shown = seal(Answer(ResultCode.SUCCESS, app_info=app)).app_info or {}
        assert ("userName" in shown) is fits
        assert all(len(value) <= 128 for name, value in shown.items() if name != "memo")
