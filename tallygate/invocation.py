"""What every command with a configuration does alike: reads it, runs, and says what to mend.

Exit codes: 0 fine, 1 a finding or failure, 2 wrong usage.
"""

import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import click

if TYPE_CHECKING:
    from tallygate.installation import Installation

config_option = click.option(
    "-c",
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    default="tallygate.yaml",
    show_default=True,
    help="The configuration; `tallygate init` writes one.",
)


json_option = click.option("--json", "as_json", is_flag=True, help="For scripts.")
limit_option = click.option(
    "--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="Rows at most."
)


class Misused(click.ClickException):
    """The user has something to mend before the command can do anything."""

    exit_code = 2


def load_installation(
    config_path: Path, given: int | None = None, process: str | None = None
) -> "Installation":
    """The installation of a configuration file, or of one that was handed on; its log is set up.

    `process` is the name that stands in the log; without it the command's own. Raises Misused
    where the configuration is wrong.
    """
    from tallygate.config import ConfigInvalid, load
    from tallygate.handing_on import get
    from tallygate.installation import Installation
    from tallygate.logs import secrets_of, set_up_logging

    try:
        config = load(config_path, os.environ) if given is None else get(given)
    except ConfigInvalid as invalid:
        raise Misused(str(invalid)) from None
    set_up_logging(process or _command(), config.log, secrets_of(config))
    return Installation(config)


def _command() -> str:
    """As it was typed: `serve`, `sync once`."""
    context = click.get_current_context(silent=True)
    return "tallygate" if context is None else context.command_path.partition(" ")[2] or "tallygate"


def run(main_task: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run on uvloop; what a user can mend is one line, not a stack trace."""
    try:
        anyio.run(main_task, backend_options={"use_uvloop": True})
    except Exception as failure:
        from tallygate.failures import mendable

        reason = mendable(failure)
        if reason is None:
            raise
        raise click.ClickException(reason) from None
