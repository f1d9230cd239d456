"""cuDNN's graph API: graphs of operations, the engines for them, plans. Importing loads nothing."""

from __future__ import annotations

from gocudnn_py._abi.cudnn import BackendNumericalNote as NumericalNote
from gocudnn_py._abi.cudnn import PointwiseMode, ReduceTensorOp
from gocudnn_py.cudnn.graph.choice import choose_plan
from gocudnn_py.cudnn.graph.descriptor import BackendDescriptor
from gocudnn_py.cudnn.graph.engines import Candidate, DeviceProperties, Policy, candidates
from gocudnn_py.cudnn.graph.graph import Graph
from gocudnn_py.cudnn.graph.plan import Execution, Plan, plans
from gocudnn_py.cudnn.graph.tensor import Tensor, channels_last

__all__ = [
    "BackendDescriptor",
    "Candidate",
    "DeviceProperties",
    "Execution",
    "Graph",
    "NumericalNote",
    "Plan",
    "PointwiseMode",
    "Policy",
    "ReduceTensorOp",
    "Tensor",
    "candidates",
    "channels_last",
    "choose_plan",
    "plans",
]
