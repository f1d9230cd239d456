"""A measurement in a process of its own, which prints its result as JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from ..errors import GocunetsError


def measured(what: str, module: str, *arguments: object, environment: Mapping[str, str] | None = None) -> Any:
    """The last line that `python -m module arguments...` prints. Raises GocunetsError with its last words."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        words = (done.stderr.strip() or done.stdout.strip()).splitlines() or [f"exit code {done.returncode}"]
        raise GocunetsError(f"{what} could not be measured: {words[-1]}")
    return json.loads(done.stdout.splitlines()[-1])
