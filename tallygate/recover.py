"""`tallygate recover`: after the ledger was restored from a backup, so that nothing is billed twice."""

from functools import partial
from pathlib import Path

import click

from tallygate.invocation import config_option, load_installation, run


@click.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@click.option(
    "--pass-over-damage",
    is_flag=True,
    help="Go on although lines of the push log cannot be read; their batches may be billed again.",
)
def recover(config_path: Path, as_json: bool, pass_over_damage: bool) -> None:
    """After the ledger was restored from a backup: take in what was pushed since, then bill again.

    Tallygate finds by itself that the ledger was set back, and records and pushes nothing until
    this was run. It may run beside the control plane, and twice. Exit code 1: nothing was set back.

    \b
    Example:
      tallygate recover -c tallygate.yaml
    """
    from tallygate.recovering import run_recover

    installation = load_installation(config_path)
    run(partial(run_recover, installation, as_json=as_json, pass_over_damage=pass_over_damage))
