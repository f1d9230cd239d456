"""A small CNN library: define a network as Modules, compile it for a device, train it.

from gocunets import Network, data, nn, optim

splits = data.load("auto")
net = Network(nn.Sequential(nn.Conv(20, 5), nn.ReLU(), nn.MaxPool(2), nn.Dense(10)), (1, 28, 28))
net.compile(optimizer=optim.Adam(1e-3)).fit(splits.train, epochs=3, validation=splits.test)
"""

from __future__ import annotations

from . import backends, convnetgo, data, init, losses, nn, ops, optim, schedules, zoo
from .dtypes import DType
from .errors import (
    CheckpointError,
    CompileError,
    ConcurrentUse,
    DeviceUnavailable,
    GocunetsError,
    GraphError,
    NonFiniteLoss,
    OutOfDeviceMemory,
    ValueReleased,
)
from .graph import Graph, Node, Value
from .network import Evaluation, Network
from .passes.precision import DtypePolicy
from .progress import EpochRecord
from .state import State
from .train import Callback, Checkpoint, StopBelow, Trainer
from .types import TensorType

__version__ = "0.1.0"

__all__ = [
    "Callback",
    "Checkpoint",
    "CheckpointError",
    "CompileError",
    "ConcurrentUse",
    "DType",
    "DeviceUnavailable",
    "DtypePolicy",
    "EpochRecord",
    "Evaluation",
    "GocunetsError",
    "Graph",
    "GraphError",
    "Network",
    "Node",
    "NonFiniteLoss",
    "OutOfDeviceMemory",
    "State",
    "StopBelow",
    "TensorType",
    "Trainer",
    "Value",
    "ValueReleased",
    "__version__",
    "backends",
    "convnetgo",
    "data",
    "init",
    "losses",
    "nn",
    "ops",
    "optim",
    "schedules",
    "zoo",
]
