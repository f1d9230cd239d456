"""cuBLASLt: matrix products prepared once, with what comes after them, for every type. Importing loads nothing.

Some functions have no name of their own here, and are called by C's, as `load("cublaslt").cublasLtGetProperty`:

- cublasLtGetProperty and cublasLtGetCudartVersion say what the library's `version` does;
- cublasLtMatrixLayoutInit_internal, cublasLtGroupedMatrixLayoutInit_internal, cublasLtMatmulDescInit_internal,
  cublasLtMatrixTransformDescInit_internal, cublasLtEmulationDescInit_internal and cublasLtMatmulPreferenceInit_internal
  make descriptors in memory of the caller's own;
- cublasLtGroupedMatrixLayoutCreate, cublasLtMatmulAlgoGetHeuristicForStream and cublasLtMatmulAlgoCheckForStream are
  newer than the oldest cuBLAS that is supported;
- cublasLtLoggerSetFile takes a FILE of C's.
"""

from __future__ import annotations

from gocudnn_py._abi.cublaslt import MatmulAlgoCapAttributes as MatmulAlgoCapAttributes
from gocudnn_py._abi.cublaslt import MatmulAlgoConfigAttributes as MatmulAlgoConfigAttributes
from gocudnn_py._abi.cublaslt import MatmulDescAttributes as MatmulDescAttributes
from gocudnn_py._abi.cublaslt import MatmulMatrixScale as MatmulMatrixScale
from gocudnn_py._abi.cublaslt import MatrixLayoutAttribute as MatrixLayoutAttribute
from gocudnn_py._abi.cublaslt import Order as Order
from gocudnn_py.cublaslt.algorithm import Algorithm as Algorithm
from gocudnn_py.cublaslt.descriptors import EmulationDescriptor as EmulationDescriptor
from gocudnn_py.cublaslt.descriptors import MatmulDescriptor as MatmulDescriptor
from gocudnn_py.cublaslt.descriptors import MatrixLayout as MatrixLayout
from gocudnn_py.cublaslt.descriptors import Preference as Preference
from gocudnn_py.cublaslt.descriptors import TransformDescriptor as TransformDescriptor
from gocudnn_py.cublaslt.epilogue import After as After
from gocudnn_py.cublaslt.epilogue import Aux as Aux
from gocudnn_py.cublaslt.epilogue import aux_nbytes as aux_nbytes
from gocudnn_py.cublaslt.epilogue import aux_pitch as aux_pitch
from gocudnn_py.cublaslt.handle import Handle as Handle
from gocudnn_py.cublaslt.handle import heuristics_cached as heuristics_cached
from gocudnn_py.cublaslt.handle import keep_heuristics as keep_heuristics
from gocudnn_py.cublaslt.log import disable_log as disable_log
from gocudnn_py.cublaslt.log import log_to_logging as log_to_logging
from gocudnn_py.cublaslt.matmul import Matmul as Matmul
from gocudnn_py.cublaslt.problem import Problem as Problem
from gocudnn_py.cublaslt.scales import Scale as Scale
from gocudnn_py.cublaslt.scales import Scales as Scales
from gocudnn_py.cublaslt.transform import Tiles as Tiles
from gocudnn_py.cublaslt.transform import transform as transform
from gocudnn_py.cublaslt.tuning import tune as tune
from gocudnn_py.matrix import Matrix as Matrix
from gocudnn_py.matrix import Vector as Vector
