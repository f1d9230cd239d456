"""RNN descriptors: ReLU, tanh, LSTM and GRU networks of several layers."""

from __future__ import annotations

import ctypes
from typing import Any, Self

import numpy as np

from gocudnn_py._abi.cudnn import (
    DataType,
    DirectionMode,
    ForwardMode,
    MathType,
    NanPropagation,
    RNNAlgo,
    RNNBiasMode,
    RNNClipMode,
    RNNInputMode,
    RNNMode,
    WgradMode,
)
from gocudnn_py.cudnn.descriptor import Descriptor, Operand, handle_of, int32, size_of
from gocudnn_py.cudnn.dropout import DropoutDescriptor
from gocudnn_py.cudnn.handle import Handle
from gocudnn_py.cudnn.place import sized
from gocudnn_py.cudnn.rnn_arguments import RnnStates, beside, sequences, vectors
from gocudnn_py.cudnn.rnn_data import RnnDataDescriptor
from gocudnn_py.cudnn.rnn_spec import RnnClip, RnnSpec, RnnTempSizes, check_sizes, sums_of
from gocudnn_py.cudnn.rnn_weights import Region, RnnWeight, linear_layer, places, read_weight
from gocudnn_py.dtypes import DType, cudnn_dtype

PADDED = 1  # CUDNN_RNN_PADDED_IO_ENABLED


class RnnDescriptor(Descriptor):
    """A recurrent network (cudnnCreateRNNDescriptor, cudnnDestroyRNNDescriptor).

    x and y are RNN data, weights one buffer, states hx, cx (zero when None) and hy, cy (not wanted when None) buffers
    or addresses of the shapes that `get().state_shapes(batch)` says. `lengths` is a copy of x's lengths on the GPU as
    int32, which cuDNN 9 does not need: it takes them from x's descriptor.
    """

    kind = "RNN"

    def __init__(self) -> None:
        self._spec: RnnSpec | None = None
        self._dropout: DropoutDescriptor | None = None
        self._states: RnnStates | None = None
        super().__init__()

    def set(
        self,
        mode: RNNMode,
        input_size: int,
        hidden_size: int,
        layers: int = 1,
        *,
        projection_size: int | None = None,
        direction: DirectionMode = DirectionMode.UNIDIRECTIONAL,
        bias: RNNBiasMode = RNNBiasMode.DOUBLE_BIAS,
        input_mode: RNNInputMode = RNNInputMode.LINEAR_INPUT,
        dtype: DType = np.float32,
        compute: DType | None = None,
        math: MathType = MathType.FMA_MATH,
        algorithm: RNNAlgo = RNNAlgo.STANDARD,
        dropout: DropoutDescriptor | None = None,
        padded: bool = True,
    ) -> Self:
        """Describe a network, of which no cell is clipped (cudnnSetRNNDescriptor_v8, cudnnGetRNNDescriptor_v8).

        A projection makes an LSTM's output smaller than its cells. Sums are float32, of float64 float64, unless
        `compute` says otherwise. `math` is FMA, for cuDNN's own default may compute float32 in TF32. `dropout` works
        between layers and only in training. Padded layouts need `padded`. Raises ValueError with the numbers.
        """
        input_size, hidden_size = int32("input_size", input_size, least=1), int32("hidden_size", hidden_size, least=1)
        projection = int32("projection_size", hidden_size if projection_size is None else projection_size, least=1)
        sizes = input_size, hidden_size, projection, int32("layers", layers, least=1)
        check_sizes(mode, input_mode, *sizes[:3])
        code = cudnn_dtype(dtype)
        sums = cudnn_dtype(compute) if compute is not None else sums_of(code)
        modes = algorithm, mode, bias, direction, input_mode
        last = handle_of(dropout), PADDED if padded else 0
        self.lib.cudnnSetRNNDescriptor_v8(self.handle, *modes, code, sums, math, *sizes, *last)
        self._dropout, self._states, self._spec = dropout, None, self.get()
        return self

    def get(self) -> RnnSpec:
        """Read everything but the clipping back (cudnnGetRNNDescriptor_v8). Raises SetupFailed when not set."""
        cells = [ctypes.c_int() for _ in range(12)]
        dropout, flags = ctypes.c_void_p(), ctypes.c_uint()
        out = [ctypes.byref(cell) for cell in (*cells, dropout, flags)]
        self.lib.cudnnGetRNNDescriptor_v8(self.handle, *out)
        algorithm, mode, bias, direction, input_mode, code, compute, math, *sizes = (cell.value for cell in cells)
        input_size, hidden_size, projection_size, layers = sizes
        return RnnSpec(
            mode=RNNMode(mode),
            input_size=input_size,
            hidden_size=hidden_size,
            layers=layers,
            projection_size=projection_size,
            direction=DirectionMode(direction),
            bias=RNNBiasMode(bias),
            input_mode=RNNInputMode(input_mode),
            dtype=DataType(code),
            compute=DataType(compute),
            math=MathType(math),
            algorithm=RNNAlgo(algorithm),
            padded=bool(flags.value & PADDED),
            dropout=dropout.value,
        )

    def set_clip(
        self, mode: RNNClipMode, low: float = 0.0, high: float = 0.0, *, nan: NanPropagation | None = None
    ) -> Self:
        """Clip the cells of an LSTM to low to high with MINMAX, not with NONE (cudnnRNNSetClip_v9).

        They are clipped where they are read: h and the next step see low to high, cy holds what came of the last step.
        cuDNN keeps both limits as float32. `nan`, which says whether NaN stays, takes the older cudnnRNNSetClip_v8.
        `set` ends the clipping.
        """
        if not low <= high:
            raise ValueError(f"rnn: cells cannot be clipped to {low} to {high}")
        if nan is None:
            self.lib.cudnnRNNSetClip_v9(self.handle, mode, low, high)
        else:
            self.lib.cudnnRNNSetClip_v8(self.handle, mode, nan, low, high)
        return self

    def get_clip(self, *, nan: bool = False) -> RnnClip:
        """Read the clipping back (cudnnRNNGetClip_v9); with what becomes of NaN by cudnnRNNGetClip_v8."""
        mode, stays, low, high = ctypes.c_int(), ctypes.c_int(), ctypes.c_double(), ctypes.c_double()
        limits = ctypes.byref(low), ctypes.byref(high)
        if not nan:
            self.lib.cudnnRNNGetClip_v9(self.handle, ctypes.byref(mode), *limits)
            return RnnClip(RNNClipMode(mode.value), low.value, high.value)
        self.lib.cudnnRNNGetClip_v8(self.handle, ctypes.byref(mode), ctypes.byref(stays), *limits)
        return RnnClip(RNNClipMode(mode.value), low.value, high.value, NanPropagation(stays.value))

    def build(self, handle: Handle, batch: int) -> None:
        """Compile the kernels of PERSIST_DYNAMIC for a batch of that size (cudnnBuildRNNDynamic)."""
        self.lib.cudnnBuildRNNDynamic(handle.handle, self.handle, int32("batch", batch, least=1))

    def weight_size(self, handle: Handle) -> int:
        """Bytes of all weights and biases (cudnnGetRNNWeightSpaceSize)."""
        return size_of(self.lib.cudnnGetRNNWeightSpaceSize, handle.handle, self.handle)

    def weight(
        self, handle: Handle, part: str, gate: str | None = None, *, layer: int = 0, reverse: bool = False
    ) -> RnnWeight:
        """Where a gate's matrix and bias lie among the weights.

        `part` is input or recurrent; `gate` input, forget, cell or output of an LSTM, reset, update or new of a GRU,
        hidden of the others; or the part is projection, without a gate. cudnnGetRNNWeightParams,
        cudnnGetRNNWeightSpaceSize, cudnnGetRNNDescriptor_v8, cudnnGetTensorNdDescriptor.
        """
        spec = self.get()
        if not 0 <= layer < spec.layers or reverse >= spec.directions:
            raise ValueError(f"rnn: no layer {layer}{' in reverse' * reverse} in {self!r}")
        pseudo_layer = layer * spec.directions + reverse
        number = linear_layer(spec.mode, part, gate)
        return read_weight(self, handle, self.weight_size(handle), pseudo_layer, number)

    def weights(self, handle: Handle) -> dict[str, Region]:
        """Where every matrix and bias lies, by names such as layer0.reverse.recurrent.forget.bias.

        Those of the projection are called layer0.projection.matrix. cudnnGetRNNWeightParams,
        cudnnGetRNNWeightSpaceSize, cudnnGetRNNDescriptor_v8, cudnnGetTensorNdDescriptor.
        """
        spec, size = self.get(), self.weight_size(handle)
        found: dict[str, Region] = {}
        for place in places(spec):
            weight = read_weight(self, handle, size, place.pseudo_layer, place.linear_layer)
            found |= {f"{place.name}.{kind}": region for kind, region in weight._asdict().items() if region}
        return found

    def temp_sizes(
        self, handle: Handle, x: RnnDataDescriptor, mode: ForwardMode = ForwardMode.TRAINING
    ) -> RnnTempSizes:
        """Bytes that runs over x need; inference has no reserve space (cudnnGetRNNTempSpaceSizes)."""
        workspace, reserve = ctypes.c_size_t(), ctypes.c_size_t()
        out = ctypes.byref(workspace), ctypes.byref(reserve)
        self.lib.cudnnGetRNNTempSpaceSizes(handle.handle, self.handle, mode, x.handle, *out)
        return RnnTempSizes(workspace.value, reserve.value)

    def forward(
        self,
        handle: Handle,
        x: Operand,
        y: Operand,
        weights: Any,
        *,
        workspace: Any,
        reserve: Any = None,
        hx: Any = None,
        hy: Any = None,
        cx: Any = None,
        cy: Any = None,
        lengths: Any = None,
    ) -> None:
        """y, hy and cy from x, hx and cx: in training with a reserve space, inference without (cudnnRNNForward)."""
        spec, states = self._ready("x", x)
        mode = ForwardMode.INFERENCE if reserve is None else ForwardMode.TRAINING
        data = *vectors("x", x, spec.input_size), *vectors("y", y, spec.output_size)
        rest = [*data, *states.hidden(hx=hx, hy=hy), *states.cell(cx=cx, cy=cy)]
        rest += [*sized(weights), *sized(workspace), *sized(reserve)]
        self.lib.cudnnRNNForward(handle.handle, self.handle, mode, states.lengths(lengths), *rest)

    def backward_data(
        self,
        handle: Handle,
        y: Operand,
        dy: Operand,
        dx: Operand,
        weights: Any,
        *,
        workspace: Any,
        reserve: Any,
        hx: Any = None,
        dhy: Any = None,
        dhx: Any = None,
        cx: Any = None,
        dcy: Any = None,
        dcx: Any = None,
        lengths: Any = None,
    ) -> None:
        """dx, dhx and dcx from dy, dhy and dcy (zero when None), after `forward` (cudnnRNNBackwardData_v8).

        dy lies as y does, for cuDNN takes one descriptor for both; ValueError when it does not. The workspace has the
        size for training; hx and cx are those of `forward`.
        """
        spec, states = self._ready("dx", dx)
        outputs = *vectors("y", y, spec.output_size), beside("dy", dy, "y", y)
        rest = [*outputs, *vectors("dx", dx, spec.input_size)]
        rest += [*states.hidden(hx=hx, dhy=dhy, dhx=dhx), *states.cell(cx=cx, dcy=dcy, dcx=dcx)]
        rest += [*sized(weights), *sized(workspace), *sized(reserve)]
        self.lib.cudnnRNNBackwardData_v8(handle.handle, self.handle, states.lengths(lengths), *rest)

    def backward_weights(
        self,
        handle: Handle,
        x: Operand,
        y: Operand,
        dw: Any,
        *,
        workspace: Any,
        reserve: Any,
        hx: Any = None,
        mode: WgradMode = WgradMode.ADD,
        lengths: Any = None,
    ) -> None:
        """Add the gradient of all weights to dw, after `backward_data` (cudnnRNNBackwardWeights_v8).

        The workspace and reserve space are those of `backward_data`. cuDNN may know no mode but ADD: zero dw first.
        """
        spec, states = self._ready("x", x)
        rest = [*vectors("x", x, spec.input_size), *states.hidden(hx=hx), *vectors("y", y, spec.output_size)]
        rest += [*sized(dw), *sized(workspace), *sized(reserve)]
        self.lib.cudnnRNNBackwardWeights_v8(handle.handle, self.handle, mode, states.lengths(lengths), *rest)

    def _ready(self, name: str, x: Operand) -> tuple[RnnSpec, RnnStates]:
        """What is set, and the states of x's batch. Raises when something it needs is not there any more."""
        if self._spec is None:
            raise ValueError("rnn: this RnnDescriptor is not set")
        if self._dropout is not None:
            self._dropout.check()
        batch = sequences(name, x).batch
        if self._states is None or self._states.batch != batch:
            self._states = RnnStates(self._spec, batch)
        return self._spec, self._states

    def _describe(self) -> str:
        s = self._spec
        if s is None:
            return "not set"
        sizes = f"input_size={s.input_size}, hidden_size={s.hidden_size}, projection_size={s.projection_size}"
        modes = f"{s.direction.name}, {s.bias.name}, {s.input_mode.name}, {s.dtype.name}, compute={s.compute.name}"
        how = f"math={s.math.name}, {s.algorithm.name}{', padded' * s.padded}{', dropout' * bool(s.dropout)}"
        return f"{s.mode.name}, {sizes}, layers={s.layers}, {modes}, {how}"
