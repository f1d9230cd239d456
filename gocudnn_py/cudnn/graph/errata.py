"""Engines of cuDNN that make wrong numbers, as runs on a GPU have shown: no policy lets them run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from gocudnn_py._abi.cudnn import BackendNormMode as NormMode
from gocudnn_py._abi.cudnn import MoeGroupedMatmulMode
from gocudnn_py.cudnn.graph import convolutions, norms, products
from gocudnn_py.cudnn.graph.execution import WORKSPACE_ALIGNMENT
from gocudnn_py.cudnn.graph.operations import Row
from gocudnn_py.library import load

if TYPE_CHECKING:
    from gocudnn_py.cudnn.graph.builder import Builder
    from gocudnn_py.cudnn.graph.tensor import Tensor


class Erratum(NamedTuple):
    """Engines by their numbers, since which cuDNN and before which, what graphs they make wrong, and how."""

    engines: tuple[int, ...]
    since: tuple[int, int, int]
    concerns: Callable[[Builder], bool]
    what: str
    before: tuple[int, int, int] = (100, 0, 0)


def erratum(graph: Builder, engine: int) -> str | None:
    """What an engine, by its number, is known to make wrong of a graph, None where nothing is."""
    version = load("cudnn").version
    for each in ERRATA:
        if engine in each.engines and each.since <= version < each.before and each.concerns(graph):
            return each.what
    return None


def _has(*rows: Row, **settings: Any) -> Callable[[Builder], bool]:
    """Whether a graph has an operation of one of these rows, with these settings."""

    def concerns(graph: Builder) -> bool:
        found = (operation.settings for operation in graph.operations if operation.row in rows)
        return any(all(each[name] == value for name, value in settings.items()) for each in found)

    return concerns


def _channels_first(graph: Builder) -> list[Tensor]:
    return [tensor for tensor in graph.real if len(tensor.dims) > 3 and tensor.strides[1] != 1]


_convolves = _has(*convolutions.ROWS)


def _convolves_channels_first(graph: Builder) -> bool:
    return _convolves(graph) and bool(_channels_first(graph))


def _convolves_uneven_channels_first(graph: Builder) -> bool:
    return _convolves(graph) and any(tensor.nbytes % WORKSPACE_ALIGNMENT for tensor in _channels_first(graph))


ERRATA = (
    # Those of the scale are added up in a race: some samples count twice or not at all, and runs differ. The others,
    # and all of engine 2, are right.
    Erratum(
        (0,),
        (9, 19, 0),
        _has(norms.BACKWARD, mode=NormMode.INSTANCE_NORM),
        "it makes a wrong gradient of an instance normalization's scale (seen with cuDNN 9.19 on sm_90)",
    ),
    # They turn tensors to channels last in the workspace, and look for the second elsewhere than they have put it where
    # the first is no multiple of 128 bytes: 4 of the graph-only library is 70, 71 and 78 of the whole one.
    Erratum(
        (4, 70, 71, 78),
        (9, 19, 0),
        _convolves_uneven_channels_first,
        "it convolves wrongly where the channels do not lie last in a tensor of a size that is no multiple of "
        f"{WORKSPACE_ALIGNMENT} bytes (seen with cuDNN 9.19 and 9.28 on sm_90)",
    ),
    # What is read is taken as if its channels lay last, and only what is written is put in order.
    Erratum(
        (7,),
        (9, 27, 0),
        _convolves_channels_first,
        "it convolves wrongly where the channels do not lie last (seen with cuDNN 9.27 and 9.28 on sm_90)",
    ),
    # The rows that a thread holds are placed at fixed distances from where its first one goes.
    Erratum(
        (4, 7),
        (9, 28, 0),
        _has(products.GROUPED, mode=MoeGroupedMatmulMode.SCATTER),
        "it scatters rows to wrong places (seen with cuDNN 9.28 on sm_90)",
    ),
    Erratum(
        (7,),
        (9, 19, 0),
        _has(products.GROUPED, mode=MoeGroupedMatmulMode.GATHER),
        "it reads outside of its memory (seen with cuDNN 9.19 on sm_90, right with 9.28)",
        before=(9, 28, 0),
    ),
)
