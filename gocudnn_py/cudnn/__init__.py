"""cuDNN: its handle, and a descriptor class for each family, which need no GPU. Importing loads nothing."""

from __future__ import annotations

from gocudnn_py._abi.cudnn import ActivationMode as ActivationMode
from gocudnn_py._abi.cudnn import ConvolutionBwdDataAlgo as ConvolutionBwdDataAlgo
from gocudnn_py._abi.cudnn import ConvolutionBwdFilterAlgo as ConvolutionBwdFilterAlgo
from gocudnn_py._abi.cudnn import ConvolutionFwdAlgo as ConvolutionFwdAlgo
from gocudnn_py._abi.cudnn import ConvolutionMode as ConvolutionMode
from gocudnn_py._abi.cudnn import DataType as DataType
from gocudnn_py._abi.cudnn import IndicesType as IndicesType
from gocudnn_py._abi.cudnn import MathType as MathType
from gocudnn_py._abi.cudnn import NanPropagation as NanPropagation
from gocudnn_py._abi.cudnn import OpTensorOp as OpTensorOp
from gocudnn_py._abi.cudnn import PoolingMode as PoolingMode
from gocudnn_py._abi.cudnn import ReduceTensorIndices as ReduceTensorIndices
from gocudnn_py._abi.cudnn import ReduceTensorOp as ReduceTensorOp
from gocudnn_py._abi.cudnn import ReorderType as ReorderType
from gocudnn_py._abi.cudnn import SoftmaxAlgorithm as SoftmaxAlgorithm
from gocudnn_py._abi.cudnn import SoftmaxMode as SoftmaxMode
from gocudnn_py._abi.cudnn import TensorFormat as TensorFormat
from gocudnn_py.cudnn.activation import ActivationDescriptor as ActivationDescriptor
from gocudnn_py.cudnn.convolution import ConvolutionDescriptor as ConvolutionDescriptor
from gocudnn_py.cudnn.filter import FilterDescriptor as FilterDescriptor
from gocudnn_py.cudnn.handle import Handle as Handle
from gocudnn_py.cudnn.handle import current_handle as current_handle
from gocudnn_py.cudnn.lrn import LrnDescriptor as LrnDescriptor
from gocudnn_py.cudnn.optensor import OpTensorDescriptor as OpTensorDescriptor
from gocudnn_py.cudnn.pooling import PoolingDescriptor as PoolingDescriptor
from gocudnn_py.cudnn.reduce import ReduceDescriptor as ReduceDescriptor
from gocudnn_py.cudnn.softmax import softmax_backward as softmax_backward
from gocudnn_py.cudnn.softmax import softmax_forward as softmax_forward
from gocudnn_py.cudnn.tensor import TensorDescriptor as TensorDescriptor
