"""Kernels that plans of one dynamic graph share, whatever its extents."""

from __future__ import annotations

from gocudnn_py._abi.cudnn import BackendAttributeName as Attribute
from gocudnn_py._abi.cudnn import BackendAttributeType as Type
from gocudnn_py._abi.cudnn import BackendDescriptorType as Kind
from gocudnn_py.cudnn.graph.descriptor import BackendDescriptor
from gocudnn_py.cudnn.graph.engine import Candidate


class KernelCache:
    """Compiled kernels of a `dynamic` graph: plans of other extents take them from here instead of compiling.

    It is for one graph, as built, or from what `json` gave, which also holds the kernels; threads may share it.
    """

    def __init__(self, operations: BackendDescriptor | None = None, *, json: bytes | None = None) -> None:
        if (operations is None) == (json is None):
            raise ValueError("a kernel cache is made for a graph as built, or from JSON: give one of them")
        made = BackendDescriptor(Kind.KERNEL_CACHE_DESCRIPTOR)
        if operations is not None:
            made.set(Attribute.KERNEL_CACHE_OPERATION_GRAPH, Type.BACKEND_DESCRIPTOR, operations)
        if json is not None:
            made.set_text(Attribute.KERNEL_CACHE_JSON_REPRESENTATION, json)
        self.descriptor = made.finalize()

    def __contains__(self, candidate: Candidate) -> bool:
        """Whether it has a candidate's kernel (cudnnBackendGetAttribute)."""
        return self.descriptor.says_of(Attribute.KERNEL_CACHE_IS_ENGINECFG_KERNEL_CACHED, candidate.config)

    @property
    def entries(self) -> int:
        """How many kernels it has (from cuDNN 9.27, cudnnBackendGetAttribute)."""
        return int(self.descriptor.one(Attribute.KERNEL_CACHE_ENTRY_COUNT, Type.INT64))

    @property
    def revision(self) -> int:
        """A number that changes when the kernels do (from cuDNN 9.27, cudnnBackendGetAttribute)."""
        return int(self.descriptor.one(Attribute.KERNEL_CACHE_REVISION, Type.INT64))

    @property
    def json(self) -> bytes:
        """The graph with its kernels, to be kept (cudnnBackendGetAttribute)."""
        return self.descriptor.text(Attribute.KERNEL_CACHE_JSON_REPRESENTATION)


def same_topology(operations: BackendDescriptor, others: BackendDescriptor) -> bool:
    """Whether two built graphs differ in extents only, so that they can share kernels (cudnnBackendGetAttribute)."""
    return operations.says_of(Attribute.OPERATIONGRAPH_IS_SAME_TOPOLOGY, others)
