"""The driver's enumerations by name, from cuda.bindings, which is imported when the first name is looked up."""

from __future__ import annotations

import difflib
import functools


@functools.cache
def members(enumeration: str, prefix: str) -> dict[str, int]:
    """Each name of an enumeration of cuda.h, without its prefix, and its value."""
    from cuda.bindings import driver

    names = getattr(driver, enumeration).__members__
    end = prefix + "MAX"  # the count of them, which is none
    return {name.removeprefix(prefix): int(names[name]) for name in names if name != end}


def value_of(enumeration: str, prefix: str, name: str) -> int:
    """The value of a name, in any case and with or without the prefix. Raises ValueError, naming what is like it."""
    known, wanted = members(enumeration, prefix), name.upper().removeprefix(prefix)
    if wanted in known:
        return known[wanted]
    close = difflib.get_close_matches(wanted, known, n=3)
    hint = f"; did you mean {' or '.join(close)}?" if close else f"; there are {', '.join(known)}"
    raise ValueError(f"{enumeration} has no {name!r}{hint}")
