"""Which descriptors and attributes of the graph API came after the oldest cuDNN that we take, and when."""

from __future__ import annotations

import functools
from enum import IntEnum

from gocudnn_py._abi.cudnn import BackendDescriptorType as Kind
from gocudnn_py.errors import NotInThisVersion
from gocudnn_py.library import Library

SINCE: dict[tuple[int, int], str] = {
    (9, 20): "OPERATION_DIAGONAL_BAND_MASK OPERATION_SOFTMAX",
    (9, 21): """OPERATIONGRAPH_IS_OVERRIDE_SHAPE_ENABLED OPERATION_SDPA_FWD_SUBGRAPH OPERATION_SDPA_FWD_SOFTMAX
        OPERATION_SDPA_FWD_DROPOUT OPERATION_SDPA_BWD_SINK OPERATION_SDPA_BWD_DSINK OPERATION_SDPA_BWD_MAX_TOTAL
        OPERATION_SDPA_BWD_SUBGRAPH""",
    (9, 22): """TENSOR_CONSTANT_VALUE OPERATION_RESHAPE_MODE OPERATION_TRANSPOSE OPERATION_SLICE
        OPERATION_SDPA_FWD_UNFUSE_FMA OPERATION_MOE_GROUPED_MATMUL_BWD""",
    (9, 23): "OPERATIONGRAPH_MODE",
    (9, 24): """TENSOR_RAGGED_OFFSET_MULTIPLIER OPERATION_REDUCTION_GROUP_OFFSET OPERATION_ROPE_FWD
        OPERATION_SDPA_FWD_CU_SEQ_LEN OPERATION_DIAGONAL_BAND_MASK_CU_SEQ_LEN""",
    (9, 25): """OPERATION_ROPE_BWD OPERATION_SDPA_FWD_DESCALE OPERATION_SDPA_FWD_SCALE_S OPERATION_SDPA_FWD_SCALE_O
        OPERATION_SDPA_FWD_AMAX""",
    (9, 27): """OPERATION_REDUCTION_DIMS OPERATION_REDUCTION_INIT_VALUES OPERATION_REDUCTION_SUBGRAPH
        OPERATION_SOFTMAX_STATS_LOG2 KERNEL_CACHE_REVISION KERNEL_CACHE_ENTRY_COUNT""",
    (9, 28): """ENGINEHEUR_SHARED_MEMORY_LIMIT ENGINE_SHARED_MEMORY_LIMIT EXECUTION_PLAN_CUDA_GRAPH_RETENTION
        OPERATION_SDPA_BWD_CU_SEQ_LEN OPERATION_SDPA_BWD_DROPOUT OPERATION_SDPA_BWD_DBIAS""",
}
"""The beginnings of the names that each version brought; of two that fit, the longer counts."""


@functools.cache
def since(name: str) -> tuple[int, int]:
    """The version that brought a descriptor or an attribute, (9, 0) for all that the oldest one has."""
    fitting = [
        (len(start), version) for version, names in SINCE.items() for start in names.split() if name.startswith(start)
    ]
    return max(fitting)[1] if fitting else (9, 0)


def check(lib: Library, member: IntEnum) -> None:
    """Raise NotInThisVersion, with the version that is needed, for what the loaded cuDNN is too old for."""
    needed = since(member.name)
    if lib.version[:2] < needed:
        prefix = "CUDNN_BACKEND_" if isinstance(member, Kind) else "CUDNN_ATTR_"
        what = f"{prefix}{member.name} (of cuDNN {needed[0]}.{needed[1]} and newer)"
        raise NotInThisVersion(what, lib.name, lib.version, lib.path)
