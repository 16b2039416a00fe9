"""`tallygate simulate`: the marketplace as a server, and single callbacks from the shell."""

import json
from collections.abc import Mapping
from typing import cast

import anyio
import click

from .callbacks import Callbacks, check_url
from .clock import WallClock
from .conversation import Answered, Conversation
from .debugging import ACTIVITIES, Case, Subject, backwards, body_of, play_case
from .errors import BadRequest
from .faults import Faults
from .findings import FindingLog
from .schedule import BEIJING, zone_named
from .server import run
from .settings import PUSH_AUTHS, PushAuth, SimulatorSettings
from .wire import an_object


def _listen(_ctx: click.Context, _param: click.Parameter, value: str) -> tuple[str, int]:
    """`host:port`, an IPv6 host in brackets."""
    host, colon, port = value.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise click.BadParameter(f"{value!r} must be host:port, as 127.0.0.1:9800")
    return host.strip("[]"), int(port)


def _url(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """An http:// or https:// address."""
    try:
        return None if value is None else check_url(value)
    except BadRequest as error:
        raise click.BadParameter(str(error)) from None


def _zone(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    """A zone of the IANA database."""
    try:
        zone_named(value)
    except BadRequest as error:
        raise click.BadParameter(str(error)) from None
    return value


def _faults(
    _ctx: click.Context, _param: click.Parameter, value: str | None
) -> Mapping[str, object]:
    """A JSON object that `Faults.set` takes."""
    try:
        read = json.loads(value or "{}")
        Faults().set(an_object(read))
    except (ValueError, RecursionError, BadRequest) as error:
        raise click.BadParameter(str(error)) from None
    return an_object(read)


_access_key = click.option(
    "--access-key",
    required=True,
    envvar="KOO_ACCESS_KEY",
    show_envvar=True,
    help="Key bound to the base interface.",
)


@click.group()
def simulate() -> None:
    """A KooGallery marketplace on this machine, for demonstrations and tests."""


@simulate.command()
@click.option("--listen", callback=_listen, default="127.0.0.1:9800", show_default=True)
@click.option("--production-url", callback=_url, help="Where callbacks go; may be set later.")
@_access_key
@click.option("--ak", required=True, envvar="KOO_AK", show_envvar=True, help="Access key id.")
@click.option("--sk", required=True, envvar="KOO_SK", show_envvar=True, help="Secret key.")
@click.option(
    "--push-auth",
    type=click.Choice(PUSH_AUTHS),
    default="both",
    show_default=True,
    help="What a usage push must carry.",
)
@click.option(
    "--collect-every",
    type=click.FloatRange(min=0.05),
    help="Seconds between collections, in place of minute 15 of every hour.",
)
@click.option(
    "--validation-delay",
    type=click.FloatRange(min=0, max=86_400),
    default=30.0,
    show_default=True,
    help="Seconds from the arrival of a record to its background validation.",
)
@click.option(
    "--zone",
    callback=_zone,
    default=BEIJING,
    show_default=True,
    help="Time zone of the daily collection at 01:00.",
)
@click.option("--faults", callback=_faults, help="What goes wrong, as JSON for POST /_sim/faults.")
def serve(  # noqa: PLR0913 -- one parameter per option
    *,
    listen: tuple[str, int],
    production_url: str | None,
    access_key: str,
    ak: str,
    sk: str,
    push_auth: str,
    collect_every: float | None,
    validation_delay: float,
    zone: str,
    faults: Mapping[str, object],
) -> None:
    """Serve the marketplace until a signal ends it.

    \b
    Example:
      KOO_ACCESS_KEY=key KOO_AK=ak KOO_SK=sk \\
        tallygate simulate serve --production-url http://127.0.0.1:8081/koogallery
    """
    settings = SimulatorSettings(
        access_key=access_key,
        ak=ak,
        sk=sk,
        production_url=production_url,
        push_auth=cast(PushAuth, push_auth),
        collect_every=collect_every,
        collect_at_minute=15 if collect_every is None else None,
        validation_delay=validation_delay,
        zone=zone,
        faults=faults,
    )
    try:
        run(settings, *listen)
    except OSError as error:
        raise click.UsageError(f"cannot listen on {listen[0]}:{listen[1]}: {error}") from None


@simulate.command()
@click.option("--url", callback=_url, required=True, help="The production address.")
@_access_key
@click.option(
    "--activity", type=click.Choice(list(ACTIVITIES)), default="newInstance", show_default=True
)
@click.option("--order", help="Order id; default is the mock order of the activity.")
@click.option("--instance", help="Instance id, or several with commas.")
@click.option("--status", type=click.Choice(["FREEZE", "UNFREEZE"]), default="FREEZE")
@click.option("--test-flag/--no-test-flag", default=True, help="Debug call, or a real one.")
@click.option("--duplicate", is_flag=True, help="Send it twice; both must agree.")
@click.option("--out-of-order", is_flag=True, help="Send all later activities first, backwards.")
@click.option("--bad-signature", is_flag=True, help="Sign wrongly; 000001 is the right answer.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def lifecycle(  # noqa: PLR0913 -- one parameter per option
    *,
    url: str,
    access_key: str,
    activity: str,
    order: str | None,
    instance: str | None,
    status: str,
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
    """
    if not instance and not test_flag and (out_of_order or activity != "newInstance"):
        raise click.UsageError("a real call needs --instance; --test-flag makes it a debug call")
    subject = Subject(instance or "debug-instance", order, status, test_flag)
    now_ms = WallClock().now_ms()
    cases = backwards(subject, now_ms) if out_of_order else []
    tamper = "signature" if bad_signature else "none"
    cases.append(Case(body_of(activity, subject, now_ms), tamper, 2 if duplicate else 1))
    played = anyio.run(_play, url, access_key, cases)
    (_print_json if as_json else _print)(played)
    found = any(answered.findings for _, answered in played)
    raise SystemExit(1 if found else 0)


Played = list[tuple[str, Answered]]


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
