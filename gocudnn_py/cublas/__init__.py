"""cuBLAS for row-major vectors and matrices. Importing loads nothing.

Some functions have no name of their own here, and are called by C's, as `load("cublas").cublasSetVector`:

- cublasSetVector, cublasGetVector, cublasSetMatrix and cublasGetMatrix copy on the default stream;
- cublasSgemmEx, cublasCgemmEx and cublasCgemm3mEx do what `gemm` does, cublasCsyrkEx, cublasCsyrk3mEx, cublasCherkEx
  and cublasCherk3mEx what `syrk` and `herk` do, all but for complex int8, which NumPy has no type for;
- cublasAsumEx runs, of the types that are documented, those of `asum` alone;
- cublasUint8gemmBias, of bytes with offsets, is not documented by NVIDIA, and cublasXerbla is for implementers of BLAS;
- cublasGetProperty and cublasGetCudartVersion say what the library's `version` does, and cublasGetLoggerCallback what
  `log_to_logging` has set.
"""

from __future__ import annotations

from gocudnn_py._abi.cublas import AtomicsMode as AtomicsMode
from gocudnn_py._abi.cublas import EmulationStrategy as EmulationStrategy
from gocudnn_py._abi.cublas import Math as Math
from gocudnn_py._abi.cublas import PointerMode as PointerMode
from gocudnn_py.cublas.batched import Batch as Batch
from gocudnn_py.cublas.batched import gemm_batched as gemm_batched
from gocudnn_py.cublas.batched import gemm_grouped_batched as gemm_grouped_batched
from gocudnn_py.cublas.batched import gemv_batched as gemv_batched
from gocudnn_py.cublas.batched import trsm_batched as trsm_batched
from gocudnn_py.cublas.bound import BoundCall as BoundCall
from gocudnn_py.cublas.copies import download as download
from gocudnn_py.cublas.copies import upload as upload
from gocudnn_py.cublas.factor import gels_batched as gels_batched
from gocudnn_py.cublas.factor import geqrf_batched as geqrf_batched
from gocudnn_py.cublas.factor import getrf_batched as getrf_batched
from gocudnn_py.cublas.factor import getri_batched as getri_batched
from gocudnn_py.cublas.factor import getrs_batched as getrs_batched
from gocudnn_py.cublas.factor import matinv_batched as matinv_batched
from gocudnn_py.cublas.gemm import gemm as gemm
from gocudnn_py.cublas.gemm import gemm_strided_batched as gemm_strided_batched
from gocudnn_py.cublas.gemm import gemv_strided_batched as gemv_strided_batched
from gocudnn_py.cublas.handle import Handle as Handle
from gocudnn_py.cublas.level1 import asum as asum
from gocudnn_py.cublas.level1 import axpy as axpy
from gocudnn_py.cublas.level1 import copy as copy
from gocudnn_py.cublas.level1 import dot as dot
from gocudnn_py.cublas.level1 import iamax as iamax
from gocudnn_py.cublas.level1 import iamin as iamin
from gocudnn_py.cublas.level1 import nrm2 as nrm2
from gocudnn_py.cublas.level1 import rot as rot
from gocudnn_py.cublas.level1 import rotg as rotg
from gocudnn_py.cublas.level1 import rotm as rotm
from gocudnn_py.cublas.level1 import rotmg as rotmg
from gocudnn_py.cublas.level1 import scal as scal
from gocudnn_py.cublas.level1 import swap as swap
from gocudnn_py.cublas.level2 import gemv as gemv
from gocudnn_py.cublas.level2 import ger as ger
from gocudnn_py.cublas.level2 import hemv as hemv
from gocudnn_py.cublas.level2 import her as her
from gocudnn_py.cublas.level2 import her2 as her2
from gocudnn_py.cublas.level2 import symv as symv
from gocudnn_py.cublas.level2 import syr as syr
from gocudnn_py.cublas.level2 import syr2 as syr2
from gocudnn_py.cublas.level2 import trmv as trmv
from gocudnn_py.cublas.level2 import trsv as trsv
from gocudnn_py.cublas.level3 import dgmm as dgmm
from gocudnn_py.cublas.level3 import geam as geam
from gocudnn_py.cublas.level3 import hemm as hemm
from gocudnn_py.cublas.level3 import her2k as her2k
from gocudnn_py.cublas.level3 import herk as herk
from gocudnn_py.cublas.level3 import herkx as herkx
from gocudnn_py.cublas.level3 import symm as symm
from gocudnn_py.cublas.level3 import syr2k as syr2k
from gocudnn_py.cublas.level3 import syrk as syrk
from gocudnn_py.cublas.level3 import syrkx as syrkx
from gocudnn_py.cublas.level3 import tpttr as tpttr
from gocudnn_py.cublas.level3 import trmm as trmm
from gocudnn_py.cublas.level3 import trsm as trsm
from gocudnn_py.cublas.level3 import trttp as trttp
from gocudnn_py.cublas.log import log_to_logging as log_to_logging
from gocudnn_py.cublas.storage import Band as Band
from gocudnn_py.cublas.storage import Packed as Packed
from gocudnn_py.matrix import Matrix as Matrix
from gocudnn_py.matrix import Vector as Vector
