"""`python -m gocunets` is the command `gocunets`."""

from __future__ import annotations

import sys

from .cli import main

sys.exit(main())
