"""Memory as cuDNN takes it where no descriptor says its size: checked against what is known of the buffer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gocudnn_py.cudnn.descriptor import Operand, address, span

if TYPE_CHECKING:
    from gocudnn_py.cuda import Stream

FLOAT_SIZE = INT_SIZE = 4  # bytes


def within(what: str, place: Any, nbytes: int) -> int:
    """The address of a buffer, an array on the GPU, or an address itself, from which `nbytes` are used; 0 of None.

    Raises ValueError for one that holds fewer bytes, TypeError for memory of the host.
    """
    found, room = address(place), getattr(place, "nbytes", None)
    if isinstance(room, int) and room < nbytes:
        raise ValueError(f"{what} takes {nbytes} bytes, the buffer holds {room}")
    return found


def extent(operand: Operand) -> int:
    """The bytes that an operand's descriptor describes."""
    nbytes: int = getattr(operand.descriptor, "size_in_bytes", 0)
    return nbytes


def checked(what: str, place: Any, nbytes: int, *, align: int = 1) -> int:
    """The same of what has to be there.

    Raises ValueError for none, for a buffer that holds fewer bytes and for an address at no multiple of `align`.
    """
    found = within(what, place, nbytes)
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
