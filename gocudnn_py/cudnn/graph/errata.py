"""Engines of cuDNN that make wrong numbers, as runs on a GPU have shown: no policy lets them run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gocudnn_py._abi.cudnn import BackendNormMode as NormMode
from gocudnn_py.cudnn.graph import norms

if TYPE_CHECKING:
    from gocudnn_py.cudnn.graph.builder import Builder


def erratum(graph: Builder, engine: int) -> str | None:
    """What an engine, by its number, is known to make wrong of a graph, None where nothing is.

    Engine 0 of an instance normalization's gradients adds up those of the scale in a race: on an H200 with cuDNN 9.19
    they differ from run to run, some samples counted twice or not at all. Its other gradients, and all of engine 2,
    are right.
    """
    if engine == 0 and any(
        each.row is norms.BACKWARD and each.settings["mode"] is NormMode.INSTANCE_NORM for each in graph.operations
    ):
        return "it makes a wrong gradient of an instance normalization's scale (seen with cuDNN 9.19 on sm_90)"
    return None
