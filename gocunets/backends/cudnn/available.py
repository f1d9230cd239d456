"""Whether this machine has a GPU that the backend can use."""

from __future__ import annotations

from gocudnn_py.driver import gpus
from gocudnn_py.errors import GocudnnError
from gocudnn_py.finding import check_driver


def obstacle() -> str | None:
    """What stands in the way of a GPU, None when nothing does."""
    try:
        check_driver()
        return None if gpus() else "the NVIDIA driver sees no GPU; use --device cpu"
    except GocudnnError as error:
        return str(error)
