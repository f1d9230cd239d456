"""Modules: layers, containers, the thesis's modules and its Builder."""

from __future__ import annotations

from .builder import Builder
from .containers import Concat, Residual, Sequential
from .layers import (
    ELU,
    Activation,
    AveragePool,
    BatchNorm,
    ClippedReLU,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePool,
    LeakyReLU,
    Logistic,
    MaxPool,
    Pad,
    ReLU,
    Reshape,
    Softmax,
    Tanh,
    TransposedConv,
)
from .module import Module, Parameter
from .thesis import (
    ClassifierModule,
    CompressionModule,
    DecompressionModule,
    NeutralModule,
    OutputModule,
    SimpleModuleNetwork,
    VanillaModule,
)

__all__ = [
    "ELU",
    "Activation",
    "AveragePool",
    "BatchNorm",
    "Builder",
    "ClassifierModule",
    "ClippedReLU",
    "CompressionModule",
    "Concat",
    "Conv",
    "DecompressionModule",
    "Dense",
    "Dropout",
    "Flatten",
    "GlobalAveragePool",
    "LeakyReLU",
    "Logistic",
    "MaxPool",
    "Module",
    "NeutralModule",
    "OutputModule",
    "Pad",
    "Parameter",
    "ReLU",
    "Reshape",
    "Residual",
    "Sequential",
    "SimpleModuleNetwork",
    "Softmax",
    "Tanh",
    "TransposedConv",
    "VanillaModule",
]
