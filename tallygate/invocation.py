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


def load_installation(config_path: Path, given: int | None = None) -> "Installation":
    """The installation of a configuration file, or of one that was handed on.

    Raises Misused where it is wrong.
    """
    from tallygate.config import ConfigInvalid, load
    from tallygate.handing_on import get
    from tallygate.installation import Installation, set_up_logging

    set_up_logging()
    if given is not None:
        return Installation(get(given))
    try:
        return Installation(load(config_path, os.environ))
    except ConfigInvalid as invalid:
        raise Misused(str(invalid)) from None


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
