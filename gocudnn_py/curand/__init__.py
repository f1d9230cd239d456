"""cuRAND: random numbers on a GPU or on the host, made again by seed and offset. Importing loads nothing."""

from __future__ import annotations

from gocudnn_py._abi.cuda import LibraryPropertyType
from gocudnn_py._abi.curand import DirectionVectorSet, Method, Ordering, RngType

from .generator import Generator
from .tables import PoissonDistribution, direction_vectors, library_property, scramble_constants, version

__all__ = [
    "DirectionVectorSet",
    "Generator",
    "LibraryPropertyType",
    "Method",
    "Ordering",
    "PoissonDistribution",
    "RngType",
    "direction_vectors",
    "library_property",
    "scramble_constants",
    "version",
]
