"""`tallygate records`: usage records on their way to the marketplace, and what a person decides."""

from functools import partial
from pathlib import Path

import click

from tallygate.invocation import config_option, json_option, load_installation, run

author_option = click.option("--author", required=True, help="Who decides; kept for good.")
reason_option = click.option("--reason", required=True, help="Why; kept for good.")
serials_argument = click.argument("metering_sn", nargs=-1, required=True)


@click.group()
def records() -> None:
    """Usage records: list them, push dead letters again, decide about held ones.

    \b
    Example:
      tallygate records list --state held -c tallygate.yaml
    """


@records.command("list")
@config_option
@click.option("--state", help="pending held sending sent collected confirmed rejected expired")
@click.option("--instance", help="Of this instance only.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 100_000))
@json_option
def list_(
    config_path: Path, state: str | None, instance: str | None, limit: int, as_json: bool
) -> None:
    """The oldest first, with the marketplace's words on dead letters.

    \b
    Example:
      tallygate records list --state rejected -c tallygate.yaml
    """
    from tallygate.records import Wanted, run_list

    wanted = Wanted(state, instance, limit)
    run(partial(run_list, load_installation(config_path), wanted, as_json=as_json))


def _deciding(act: str, text: str) -> None:
    """One command of four that differ in nothing but their name."""

    def decide(
        metering_sn: tuple[str, ...], config_path: Path, author: str, reason: str, as_json: bool
    ) -> None:
        from tallygate.records import run_decide

        installation = load_installation(config_path)
        run(partial(run_decide, installation, act, metering_sn, (author, reason), as_json=as_json))

    example = (
        f"  tallygate records {act} 5b1e… --author ann --reason 'price mended' -c tallygate.yaml"
    )
    decide.__doc__ = (
        f"{text}\n\nExit code 1: with some it could not be done.\n\n\b\nExample:\n{example}"
    )
    for option in (json_option, reason_option, author_option, config_option, serials_argument):
        decide = option(decide)
    records.command(act)(decide)


_deciding("retry", "Push dead letters again, as they were: the cause is mended.")
_deciding("release", "Push held records now: they are right.")
_deciding(
    "hold", "Keep records that were not pushed yet from being pushed, until somebody decides."
)
_deciding("reject", "Never push held records; their usage stays named `withheld`.")
