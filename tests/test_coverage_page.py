"""docs/coverage.md is what the headers, the docstrings and the tests' marks make it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_page_is_up_to_date_and_complete() -> None:
    command = [sys.executable, "-m", "tests.coverage", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
