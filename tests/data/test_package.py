"""The package as a whole: what it exports, and what importing it does not do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import FunctionType

from gocunets import data

ROOT = Path(__file__).parents[2]
HEAVY = ["sklearn", "PIL", "urllib.request", "http.client", "ssl"]


def test_all_is_what_there_is() -> None:
    public = {
        name
        for name, value in vars(data).items()
        if not name.startswith("_") and name != "annotations" and type(value).__name__ != "module"
    }
    assert public == set(data.__all__)
    defined = [value for value in vars(data).values() if isinstance(value, type | FunctionType)]
    assert [value.__name__ for value in defined if not value.__doc__] == []


def test_importing_loads_numpy_and_little_else() -> None:
    code = f"import sys, gocunets.data; print([m for m in {HEAVY} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
