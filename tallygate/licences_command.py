"""`tallygate licences`: what became of licences, trying again, authorization codes, a key pair."""

import sys
from functools import partial
from pathlib import Path

import click

from tallygate.invocation import Misused, config_option, json_option, load_installation, run


@click.group()
def licences() -> None:
    """Licences that buyers asked for, and authorization codes.

    \b
    Example:
      tallygate licences list --state rejected -c tallygate.yaml
    """


@licences.command("list")
@config_option
@click.option("--customer", help="Only this customer's.")
@click.option("--instance", help="Of this instance only.")
@click.option(
    "--state",
    type=click.Choice(["making", "uploading", "delivered", "refused", "rejected"]),
    help="Only those in this state.",
)
@click.option("--json", "as_json", is_flag=True, help="For scripts: one JSON object a line.")
def list_(
    config_path: Path, customer: str | None, instance: str | None, state: str | None, as_json: bool
) -> None:
    """Every licence in the order in which they were asked for; never the licence itself.

    \b
    Example:
      tallygate licences list -c tallygate.yaml --json
    """
    from billing_sync.asking import Page
    from tallygate.licensing import MOST, run_list

    page = Page(customer, instance, state, None, MOST)
    run(partial(run_list, load_installation(config_path), page, as_json=as_json))


@licences.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="For scripts: one JSON object a line.")
def codes(config_path: Path, as_json: bool) -> None:
    """Every authorization code that is known here, by its beginning.

    \b
    Example:
      tallygate licences codes -c tallygate.yaml
    """
    from billing_sync.asking import Page
    from tallygate.licensing import MOST, run_codes

    page = Page(None, None, None, None, MOST)
    run(partial(run_codes, load_installation(config_path), page, as_json=as_json))


@licences.command()
@click.argument("licence_id", nargs=-1)
@config_option
@click.option("--rejected", is_flag=True, help="Everything that was refused or rejected.")
@json_option
def retry(licence_id: tuple[str, ...], config_path: Path, rejected: bool, as_json: bool) -> None:
    """Upload licences again that were made, make those that were not: what was wrong is mended.

    A licence that was made is never made anew. The control plane does it within a second or two.
    Exit code 1: with some there was nothing to do.

    \b
    Example:
      tallygate licences retry --rejected -c tallygate.yaml
    """
    from tallygate.licensing import run_retry

    if bool(licence_id) == rejected:
        raise click.UsageError("name licences by their id, or write --rejected")
    run(partial(run_retry, load_installation(config_path), licence_id, as_json=as_json))


@licences.command()
@click.argument("licence_id")
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False))
@config_option
def save(licence_id: str, path: Path, config_path: Path) -> None:
    """Write a licence that was made to PATH, readable by you only: to hand it to its buyer yourself.

    \b
    Example:
      tallygate licences save lic_71c8 designer.lic -c tallygate.yaml
    """
    from tallygate.licensing import run_save

    run(partial(run_save, load_installation(config_path), licence_id, path))


@licences.command()
@click.argument("code")
@config_option
@json_option
def activate(code: str, config_path: Path, as_json: bool) -> None:
    """Tell KooGallery that a buyer uses his authorization CODE; - reads it from standard input.

    Exit code 1: it was not activated, and why.

    \b
    Example:
      printf %s "$CODE" | tallygate licences activate - -c tallygate.yaml
    """
    from tallygate.licensing import run_activate

    run(partial(run_activate, load_installation(config_path), _read(code), as_json=as_json))


@licences.command()
@click.argument("code")
@config_option
@json_option
def heartbeat(code: str, config_path: Path, as_json: bool) -> None:
    """Ask KooGallery how an authorization CODE stands; - reads it from standard input.

    Exit code 1: it cannot be used, or there was no answer.

    \b
    Example:
      printf %s "$CODE" | tallygate licences heartbeat - -c tallygate.yaml
    """
    from tallygate.licensing import run_heartbeat

    run(partial(run_heartbeat, load_installation(config_path), _read(code), as_json=as_json))


@licences.command("make-key")
@click.argument("path", type=click.Path(path_type=Path))
def make_key(path: Path) -> None:
    """Write a key pair for the sample maker: PATH, to be kept secret, and PATH.pub.

    \b
    Example:
      tallygate licences make-key licence-key.pem
    """
    from tallygate import sample_licences

    try:
        public = sample_licences.make_key(path)
    except OSError as problem:
        raise Misused(str(problem)) from None
    click.echo(f"Wrote {path} and {public}. Next:")
    click.echo(f"  export {sample_licences.VARIABLE}={path.absolute()}")
    click.echo("  koogallery.licence.maker: tallygate.sample_licences:make")


def _read(code: str) -> str:
    """What is typed as an argument can be read by everybody on the machine."""
    if code != "-":
        return code
    return sys.stdin.read(4096).strip()
