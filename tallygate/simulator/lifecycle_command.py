"""`tallygate simulate lifecycle`: single callbacks from the shell, and what was answered."""

import json
from typing import Final

import anyio
import click
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from .callbacks import Callbacks
from .clock import WallClock
from .conversation import Answered, Conversation
from .debug_case import Version
from .debugging import ACTIVITIES, LICENSES, Case, Subject, backwards, body_of, play_case
from .errors import BadRequest
from .findings import FindingLog
from .options import access_key_option, kit_key_option, public_key_option, read_url
from .settings import SimulatorSettings
from .single_calls import OTHERS, Keys, SingleCall, play_single

_ALL: Final = [*ACTIVITIES, *LICENSES, *OTHERS]
Played = list[tuple[str, Answered]]


@click.command()
@click.option("--url", callback=read_url, required=True, help="The production address.")
@access_key_option
@kit_key_option
@public_key_option
@click.option("--activity", type=click.Choice(_ALL), default="newInstance", show_default=True)
@click.option("--order", help="Order id; default is the mock order of the activity.")
@click.option("--instance", help="Instance id, or several with commas.")
@click.option("--status", type=click.Choice(["FREEZE", "UNFREEZE"]), default="FREEZE")
@click.option("--flag", type=click.IntRange(0, 3), help="Kit: 0 delete, 1 add, 2 modify, 3 cancel.")
@click.option("--kit-v1", is_flag=True, help="Kit: with authToken, under /produceAPI/.")
@click.option("--test-flag/--no-test-flag", default=True, help="Debug call, or a real one.")
@click.option("--duplicate", is_flag=True, help="Send it twice; both must agree.")
@click.option("--out-of-order", is_flag=True, help="Send all later activities first, backwards.")
@click.option("--bad-signature", is_flag=True, help="Sign wrongly; 000001 is the right answer.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def lifecycle(  # noqa: PLR0913 -- one parameter per option
    *,
    url: str,
    access_key: str,
    kit_key: str,
    public_key: RSAPublicKey | None,
    activity: str,
    order: str | None,
    instance: str | None,
    status: str,
    flag: int | None,
    kit_v1: bool,
    test_flag: bool,
    duplicate: bool,
    out_of_order: bool,
    bad_signature: bool,
    as_json: bool,
) -> None:
    """Send single callbacks and check the replies; exit 1 when something is found.

    \b
    Example:
      KOO_ACCESS_KEY=key tallygate simulate lifecycle \\
        --url http://127.0.0.1:8081/koogallery --activity newInstance --duplicate
      KOO_ACCESS_KEY=key KOO_KIT_KEY=kit tallygate simulate lifecycle \\
        --url http://127.0.0.1:8081/koogallery --activity tenantSync --flag 0
    """
    if not instance and not test_flag and (out_of_order or activity != "newInstance"):
        raise click.UsageError("a real call needs --instance; --test-flag makes it a debug call")
    keys = Keys(access_key, kit_key, public_key)
    tamper, repeat = ("signature" if bad_signature else "none"), (2 if duplicate else 1)
    about = instance or "debug-instance"
    if activity in OTHERS:
        version = Version.KIT_V1 if kit_v1 else Version.KIT_V2
        call = SingleCall(activity, about, version, flag, test_flag, tamper, repeat)
        played = anyio.run(_play_single, url, keys, call)
    else:
        subject = Subject(about, order, status, test_flag)
        now_ms = WallClock().now_ms()
        cases = backwards(subject, now_ms) if out_of_order else []
        cases.append(Case(body_of(activity, subject, now_ms), tamper, repeat))
        played = anyio.run(_play, url, access_key, cases)
    (_print_json if as_json else _print)(played)
    found = any(answered.findings for _, answered in played)
    raise SystemExit(1 if found else 0)


async def _play(url: str, access_key: str, cases: list[Case]) -> Played:
    clock = WallClock()
    callbacks = Callbacks(access_key, clock, SimulatorSettings.callback_timeout)
    conversation = Conversation(callbacks, FindingLog(), url)
    try:
        return [
            (str(case.body["activity"]), answered)
            for case in cases
            for answered in await play_case(case, conversation, clock)
        ]
    finally:
        await callbacks.close()


async def _play_single(url: str, keys: Keys, call: SingleCall) -> Played:
    clock = WallClock()
    callbacks = Callbacks(keys.access_key, clock, SimulatorSettings.callback_timeout)
    try:
        answers = await play_single(call, url, keys, callbacks, clock)
    except BadRequest as wrong:
        raise click.UsageError(str(wrong)) from None
    finally:
        await callbacks.close()
    return [(call.activity, answered) for answered in answers]


def _print(played: Played) -> None:
    for activity, answered in played:
        shown = answered.as_json()
        reply = json.dumps(shown["reply"], ensure_ascii=False)
        click.echo(f"{activity}  HTTP {shown['http_status']}  {shown['elapsed_ms']} ms  {reply}")
        for finding in answered.findings:
            click.echo(f"  finding: {finding.message} [{finding.check}]")


def _print_json(played: Played) -> None:
    replies = [{"activity": activity, **answered.as_json()} for activity, answered in played]
    findings = [finding.as_json() for _, answered in played for finding in answered.findings]
    click.echo(json.dumps({"replies": replies, "findings": findings}, ensure_ascii=False))
