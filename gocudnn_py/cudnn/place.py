"""Memory as cuDNN takes it where no descriptor says its size: checked against what is known of the buffer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gocudnn_py.cudnn.descriptor import address, span

if TYPE_CHECKING:
    from gocudnn_py.cuda import Stream


def checked(what: str, place: Any, nbytes: int, *, align: int = 1) -> int:
    """The address of a buffer, or an address itself, from which `nbytes` are used.

    Raises ValueError for none, for a buffer that holds fewer bytes and for an address at no multiple of `align`.
    """
    if hasattr(place, "pointer") and place.nbytes < nbytes:
        raise ValueError(f"{what} takes {nbytes} bytes, the buffer holds {place.nbytes}")
    found = address(place)
    if not found:
        raise ValueError(f"{what} is missing, it takes {nbytes} bytes")
    if found % align:
        raise ValueError(f"{what} is at {found:#x}, which is no multiple of {align} bytes")
    return found


def optional(what: str, place: Any, nbytes: int) -> int:
    """The same for what may have no bytes: then it has to be None, and the address is 0."""
    if nbytes:
        return checked(what, place, nbytes)
    if place is not None:
        raise ValueError(f"{what} was given, and takes 0 bytes")
    return 0


def sized(place: Any) -> tuple[int, int]:
    """Size and address of a buffer, in the order that some functions take a workspace in; zeros for None."""
    pointer, nbytes = span(place)
    return nbytes, pointer


def entered(stream: Stream) -> int:
    """The pointer of a stream whose device is made current, as functions without a cuDNN handle need it."""
    stream.device.enter()
    return stream.handle
