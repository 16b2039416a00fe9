"""The way of a call in machine code, for whoever asks for it: `TALLYGATE_COMPILE=1 pip install .`

mypyc compiles these modules, which are ordinary Python and run as such everywhere else. It needs a C
compiler and Python's headers. What else is wanted of a package stands in pyproject.toml.

What mypyc asks of a module here: no class in it is decoded by msgspec (mypyc forgets what is in a
`dict[int, int]`), and none is inherited from outside of the list.
"""

import os
import sys
import tomllib
from pathlib import Path

from setuptools import setup

COMPILED = [
    "gateway/answering.py",
    "gateway/asking.py",
    "gateway/balancing.py",
    "gateway/connections.py",
    "gateway/crossing.py",
    "gateway/exchange.py",
    "gateway/express.py",
    "gateway/known_heads.py",
    "gateway/pool.py",
    "gateway/recorder.py",
    "gateway/recording.py",
    "gateway/tap.py",
    "gateway/telemetry.py",
    "gateway/traced.py",
    "gateway/write_queue.py",
    "metering/board.py",
    "metering/clock.py",
    "metering/deltas.py",
    "metering/journal.py",
    "metering/records_on_disk.py",
    "metering/segments.py",
    "metering/tail.py",
]


def compiled() -> dict[str, object]:
    """What setuptools must know. pip asks first for what is needed, without having any of it."""
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    # mypyc reads the types of what the modules import.
    told: dict[str, object] = {"setup_requires": ["mypy>=1.19", *project["dependencies"]]}
    try:
        from mypyc.build import mypycify  # noqa: PLC0415  (there only when it is wanted)
    except ImportError:
        return told
    options = ["--config-file=", "--follow-imports=silent", *COMPILED]
    return told | {"ext_modules": mypycify(options, opt_level="3", group_name="tallygate")}


if os.environ.get("TALLYGATE_COMPILE") != "1":
    setup()
elif "editable_wheel" in sys.argv:
    sys.exit(
        "TALLYGATE_COMPILE=1 is not for editable installations: what is edited would not run. "
        "Leave out -e, or TALLYGATE_COMPILE."
    )
else:
    setup(**compiled())
