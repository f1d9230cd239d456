"""What can go wrong with data.

DataError (a ValueError)     the file or the arrays are there, and wrong
  DataNotFound               there is nothing to read: no such path, no mirror, no package
"""

from __future__ import annotations

from gocunets.errors import GocunetsError


class DataError(GocunetsError, ValueError):
    """Data that cannot be used; the message names the file or set and carries the numbers."""


class DataNotFound(DataError):
    """Data that is not there; the message says where it was looked for and what to do."""
