"""Engines of cuDNN that make wrong numbers, as runs on a GPU have shown: no policy lets them run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from gocudnn_py._abi.cudnn import BackendNormMode as NormMode
from gocudnn_py.cudnn.graph import convolutions, norms
from gocudnn_py.cudnn.graph.operations import Operation, flat
from gocudnn_py.library import load

if TYPE_CHECKING:
    from gocudnn_py.cudnn.graph.builder import Builder


class Erratum(NamedTuple):
    """Engines by their numbers, of which cuDNN and newer, what of a graph they make wrong, and how that is said."""

    engines: tuple[int, ...]
    since: tuple[int, int, int]
    concerns: Callable[[Operation], bool]
    what: str


def erratum(graph: Builder, engine: int) -> str | None:
    """What an engine, by its number, is known to make wrong of a graph, None where nothing is."""
    version = load("cudnn").version
    for each in ERRATA:
        if engine in each.engines and version >= each.since and any(map(each.concerns, graph.operations)):
            return each.what
    return None


def _instance_norm_backward(operation: Operation) -> bool:
    return operation.row is norms.BACKWARD and operation.settings["mode"] is NormMode.INSTANCE_NORM


def _convolution_of_channels_first(operation: Operation) -> bool:
    tensors = flat([*operation.inputs.values(), *operation.outputs.values()])
    return operation.row in convolutions.ROWS and any(len(t.dims) > 3 and t.strides[1] != 1 for t in tensors)


ERRATA = (
    # Those of the scale are added up in a race: some samples count twice or not at all, and runs differ. The others,
    # and all of engine 2, are right.
    Erratum(
        (0,),
        (9, 19, 0),
        _instance_norm_backward,
        "it makes a wrong gradient of an instance normalization's scale (seen with cuDNN 9.19 on sm_90)",
    ),
    # Forward and the filter's gradient, of halves and TF32: what is read is taken as if its channels lay last, and only
    # what is written is put in order.
    Erratum(
        (4, 7),
        (9, 27, 0),
        _convolution_of_channels_first,
        "it convolves wrongly where the channels do not lie last (seen with cuDNN 9.27 on sm_90)",
    ),
)
