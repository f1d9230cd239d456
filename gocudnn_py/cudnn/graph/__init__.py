"""cuDNN's graph API: graphs of operations, the engines for them, plans. Importing loads nothing."""

from __future__ import annotations

from gocudnn_py._abi.cudnn import BackendBehaviorNote as BehaviourNote
from gocudnn_py._abi.cudnn import BackendKnobType as KnobType
from gocudnn_py._abi.cudnn import BackendNormMode as NormMode
from gocudnn_py._abi.cudnn import BackendNumericalNote as NumericalNote
from gocudnn_py._abi.cudnn import BackendReshapeMode as ReshapeMode
from gocudnn_py._abi.cudnn import BackendTensorReordering as Reordering
from gocudnn_py._abi.cudnn import (
    MoeGroupedMatmulMode,
    PaddingMode,
    PointwiseMode,
    ReduceTensorOp,
    ResampleMode,
    SignalMode,
)
from gocudnn_py.cudnn.graph.choice import choose_plan, kept_ranking
from gocudnn_py.cudnn.graph.descriptor import BackendDescriptor
from gocudnn_py.cudnn.graph.engine import Candidate, Engine, Knob, engine_count
from gocudnn_py.cudnn.graph.engines import Policy, candidates
from gocudnn_py.cudnn.graph.execution import Execution
from gocudnn_py.cudnn.graph.graph import OPERATIONS, Graph
from gocudnn_py.cudnn.graph.kernel_cache import KernelCache, same_topology
from gocudnn_py.cudnn.graph.plan import Plan, plans
from gocudnn_py.cudnn.graph.ranking import Ranking, Trial, rank_plans
from gocudnn_py.cudnn.graph.recipe import Recipe
from gocudnn_py.cudnn.graph.shipping import load_plan, save_plan
from gocudnn_py.cudnn.graph.statistics import Sums
from gocudnn_py.cudnn.graph.target import DeviceProperties
from gocudnn_py.cudnn.graph.tensor import Tensor, channels_last

__all__ = [
    "OPERATIONS",
    "BackendDescriptor",
    "BehaviourNote",
    "Candidate",
    "DeviceProperties",
    "Engine",
    "Execution",
    "Graph",
    "KernelCache",
    "Knob",
    "KnobType",
    "MoeGroupedMatmulMode",
    "NormMode",
    "NumericalNote",
    "PaddingMode",
    "Plan",
    "PointwiseMode",
    "Policy",
    "Ranking",
    "Recipe",
    "ReduceTensorOp",
    "Reordering",
    "ResampleMode",
    "ReshapeMode",
    "SignalMode",
    "Sums",
    "Tensor",
    "Trial",
    "candidates",
    "channels_last",
    "choose_plan",
    "engine_count",
    "kept_ranking",
    "load_plan",
    "plans",
    "rank_plans",
    "same_topology",
    "save_plan",
]
