"""`tallygate init`: writes the commented configuration, with a fresh customer key in it."""

import os
import secrets
import shlex
from importlib import resources
from pathlib import Path
from typing import Final

import click

from metering.keys import make_key

# The one value of the template that must not be the same everywhere.
PLACEHOLDER_KEY: Final = "sk-test"
_NEXT = """\
Wrote {path}. The key of its customer cust-1 is {key}
Next:
  tallygate serve -c {path}
  curl http://127.0.0.1:8080/v1/chat/completions -H 'Authorization: Bearer {key}' \\
    -H 'Content-Type: application/json' -d '{{"model": "demo", "messages": [{{"role": "user", "content": "Hello"}}]}}'
"""


class NotWritten(click.ClickException):
    """The file was not written; nothing was changed."""

    exit_code = 2


def template() -> str:
    """The commented configuration as shipped."""
    return resources.files("tallygate").joinpath("tallygate.yaml").read_text("utf-8")


def render(random_bytes: bytes) -> tuple[str, str]:
    """The configuration to write and the customer key in it, made from 32 random bytes."""
    key = make_key(random_bytes)
    return template().replace(PLACEHOLDER_KEY, key), key


@click.command()
@click.argument("path", type=click.Path(path_type=Path), default=Path("tallygate.yaml"))
@click.option("--force", is_flag=True, help="Write over a file that exists.")
def init(path: Path, force: bool) -> None:
    """Write a commented configuration that works as it is.

    \b
    Example:
      tallygate init shop.yaml
    """
    text, key = render(secrets.token_bytes(32))
    _write(path, text, force=force)
    click.echo(_NEXT.format(path=shlex.quote(str(path)), key=key), nl=False)


def _write(path: Path, text: str, *, force: bool) -> None:
    """Readable by its owner only: the file holds a key."""
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
    try:
        with open(os.open(path, flags, 0o600), "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o600)  # a file that is written over keeps its mode otherwise
            file.write(text)
    except FileExistsError:
        raise NotWritten(f"{path} exists; name another file, or --force to write over it") from None
    except OSError as error:
        raise NotWritten(f"{path} cannot be written: {error.strerror}") from None
