"""What a CUDA graph consists of."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from gocudnn_py import driver
from gocudnn_py.cuda.names import members

if TYPE_CHECKING:
    from gocudnn_py.cuda.launch import Extents, Launch


class Node(NamedTuple):
    """A node: `kind` is "kernel", "memcpy", "memset", "host", "graph", "empty", "conditional", ...

    A kernel has a name, grid, block and bytes of dynamic shared memory; a graph has the nodes inside it.
    """

    handle: int
    kind: str
    name: str = ""
    grid: Extents | None = None
    block: Extents | None = None
    shared: int = 0
    children: tuple[Node, ...] = ()

    def __str__(self) -> str:
        return f"{self.kind} {self.name}".strip()


def count_of(graph: int) -> int:
    """How many nodes a CUgraph has (cuGraphGetNodes)."""
    count = ctypes.c_size_t()
    driver.call("cuGraphGetNodes", graph, None, ctypes.byref(count))
    return count.value


def nodes_of(graph: int) -> list[Node]:
    """The nodes of a CUgraph (cuGraphGetNodes, cuGraphNodeGetType, cuGraphKernelNodeGetParams_v2, ...)."""
    count = ctypes.c_size_t(count_of(graph))
    handles = (ctypes.c_void_p * count.value)()
    if count.value:
        driver.call("cuGraphGetNodes", graph, handles, ctypes.byref(count))
    return [_node(int(handle or 0)) for handle in handles]


def _node(handle: int) -> Node:
    number, inside = ctypes.c_int(), ctypes.c_void_p()
    driver.call("cuGraphNodeGetType", handle, ctypes.byref(number))
    kinds = members("CUgraphNodeType", "CU_GRAPH_NODE_TYPE_").items()
    kind = next((name.lower() for name, value in kinds if value == number.value), f"kind {number.value}")
    if kind == "kernel":
        return _kernel(handle)
    if kind == "graph":
        driver.call("cuGraphChildGraphNodeGetGraph", handle, ctypes.byref(inside))
        return Node(handle, kind, children=tuple(nodes_of(inside.value or 0)))
    return Node(handle, kind)


def _kernel(handle: int) -> Node:
    found, name = KernelParameters(), ctypes.c_char_p()
    driver.call("cuGraphKernelNodeGetParams_v2", handle, ctypes.byref(found))
    getter, kernel = ("cuKernelGetName", found.kernel) if found.kernel else ("cuFuncGetName", found.function)
    driver.call(getter, ctypes.byref(name), kernel)
    grid, block = (found.grid_x, found.grid_y, found.grid_z), (found.block_x, found.block_y, found.block_z)
    return Node(handle, "kernel", (name.value or b"").decode(), grid, block, found.shared)


def edges_of(graph: int) -> list[tuple[int, int]]:
    """From which node to which each dependency goes, by handle (cuGraphGetEdges_v2)."""
    count = ctypes.c_size_t()
    driver.call("cuGraphGetEdges_v2", graph, None, None, None, ctypes.byref(count))
    if not count.value:
        return []
    ends, data = [(ctypes.c_void_p * count.value)() for _ in range(2)], (ctypes.c_uint64 * count.value)()
    driver.call("cuGraphGetEdges_v2", graph, *ends, data, ctypes.byref(count))
    return [(int(start or 0), int(end or 0)) for start, end in zip(*ends, strict=True)]


class KernelParameters(ctypes.Structure):
    """CUDA_KERNEL_NODE_PARAMS_v2."""

    _fields_: ClassVar = [
        ("function", ctypes.c_void_p),
        *((name, ctypes.c_uint) for name in ("grid_x", "grid_y", "grid_z", "block_x", "block_y", "block_z", "shared")),
        ("parameters", ctypes.c_void_p),
        ("extra", ctypes.c_void_p),
        ("kernel", ctypes.c_void_p),
        ("context", ctypes.c_void_p),
    ]

    @classmethod
    def of(cls, launch: Launch) -> Any:
        """Those of a bound launch."""
        shape = launch.shape
        pointers = ctypes.cast(launch.pointers, ctypes.c_void_p)
        return cls(None, *shape.grid, *shape.block, shape.shared, pointers, None, launch.kernel.function, None)


class UpdateResult(ctypes.Structure):
    """CUgraphExecUpdateResultInfo."""

    _fields_: ClassVar = [("result", ctypes.c_int), ("node", ctypes.c_void_p), ("before", ctypes.c_void_p)]
