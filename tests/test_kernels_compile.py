"""Without a GPU: launches fit their kernels' parameters, and every kernel compiles for each architecture."""

from __future__ import annotations

import ctypes
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cuda.core", reason="cuda-core is missing: pip install 'gocunets[cu13]'")

from gocudnn_py import kernels
from gocudnn_py.cuda import Scalar
from gocunets import CompileError, DType, Graph, Network, Value, nn, ops, optim, zoo
from gocunets.backends.cudnn import CudaBackend, EnginePolicy
from gocunets.backends.cudnn.engines import Engines
from gocunets.ops.conv import ConvolutionBackwardBias
from gocunets.state import MAX_GROUPS, STEP_STATE
from tests.cases import CASES, Case
from tests.running import differentiate, make_program

ARCHITECTURES = ["sm_75", "sm_80", "sm_90", "sm_100"]
SOURCES = sorted(path.name for path in kernels.files(kernels.__name__).iterdir() if path.name.endswith(".cu"))
VARIANTS = 2  # sets of defines that each kernel is compiled with
TYPES = {
    "int": Scalar.int32,
    "unsigned int": Scalar.uint32,
    "long long": Scalar.int64,
    "unsigned long long": Scalar.uint64,
    "float": Scalar.float32,
    "double": Scalar.float64,
}
Defines = tuple[tuple[str, object], ...]


@dataclass(frozen=True)
class Launched:
    """What a launch asks for."""

    source: str
    kernel: str
    signature: tuple[Scalar, ...]
    defines: Defines


@dataclass
class Memory:
    """A place that holds nothing."""

    pointer: int
    nbytes: int

    def upload(self, array: np.ndarray, offset: int = 0) -> None:
        assert offset + array.nbytes <= self.nbytes


class RecordingBackend(CudaBackend):
    """Lowers as the CUDA backend does and notes the launches; nothing runs."""

    def __init__(self) -> None:
        self.shared_limit = 64 * 1024  # the smallest of the cards: sm_75
        self.engines = Engines(self, EnginePolicy(least_work=2**62))  # there are no libraries
        self.launches: dict[Launched, None] = {}
        self.addresses = itertools.count(2**40, 2**32)

    def allocate(self, nbytes: int) -> Any:
        return Memory(next(self.addresses), nbytes)

    def upload(self, array: np.ndarray, tensor: Any) -> None:
        assert array.nbytes == tensor.type.nbytes

    def launch(
        self,
        source: str,
        kernel: str,
        grid: Sequence[int],
        block: Sequence[int],
        arguments: Sequence[tuple[Scalar, Any]],
        *,
        defines: Mapping[str, object] | None = None,
        shared: int = 0,
        overlaps: bool = False,
    ) -> Any:
        assert all(1 <= extent < 2**31 for extent in grid), f"{kernel}: grid {grid}"
        assert np.prod(block) <= 1024
        assert shared <= self.shared_limit
        signature = tuple(scalar for scalar, _ in arguments)
        self.launches[Launched(source, kernel, signature, tuple(sorted((defines or {}).items())))] = None
        return lambda: None


class NothingRuns(Engines):
    """The libraries, which are asked for everything and do nothing."""

    def run_graph(self, *asked: object) -> Callable[[], None]:
        return lambda: None

    def multiply(self, *asked: object) -> Callable[[], None]:
        return lambda: None


def launches_of(case: Case) -> Iterator[Launched]:
    """The launches of a case and of its gradient."""
    backend = RecordingBackend()
    graph, values, ys = case.trace(DType.float32)
    make_program(graph, backend, valid=case.valid)
    if case.wrt:
        differentiate(graph, [ys[i] for i in case.seeded], [values[name] for name in case.wrt])
        make_program(graph, backend, valid=case.valid)
    yield from backend.launches


@cache
def all_launches() -> dict[Launched, None]:
    """The launches of every case, of the thesis's network with its fused kernels, and of those around the libraries."""
    backend = RecordingBackend()
    for batch in (10, 200):
        network = Network(zoo.thesis_network(), (1, 28, 28)).compile(optimizer=optim.Adam(), device=backend)
        network.compiled.program("training", batch)
    backend.engines = NothingRuns(backend, EnginePolicy(least_work=0))
    layers = nn.Conv(2, 3, groups=2), nn.Activation("tanh"), nn.Dense(1)
    network = Network(nn.Sequential(*layers), (2, 8, 8)).compile(device=backend, layout="channels_last")
    network.compiled.program("module", 1)
    return dict.fromkeys(itertools.chain(backend.launches, *map(launches_of, CASES)))


@cache
def parameters(source: str) -> dict[str, tuple[Scalar, ...]]:
    """The parameter types of each kernel in a source."""
    text = re.sub(r"//.*", "", kernels.read_source(source))
    pattern = r'extern "C" __global__ void\s+(?:__launch_bounds__\(.*?\)\s+)?(\w+)\(([^)]*)\)'
    found = re.finditer(pattern, text, re.DOTALL)
    return {match[1]: tuple(map(_scalar, match[2].split(","))) for match in found}


def _scalar(parameter: str) -> Scalar:
    words = parameter.split()
    return Scalar.pointer if "*" in parameter else TYPES[" ".join(words[:-1])]


def compiled(text: str, architecture: str, defines: Defines = ()) -> bytes:
    """The cubin; raises with the compiler's log."""
    from cuda.core import Program, ProgramOptions

    lines = [f"#define {name} {value}" for name, value in defines]
    options = ProgramOptions(arch=architecture, std="c++17")
    return bytes(Program("\n".join([*lines, text]), "c++", options).compile("cubin").code)


def variants(source: str) -> list[Defines]:
    """A few sets of defines for each kernel of a source."""
    chosen: dict[Defines, None] = {}
    for kernel in parameters(source):
        sets = [launch.defines for launch in all_launches() if (launch.source, launch.kernel) == (source, kernel)]
        chosen |= dict.fromkeys([*sets[:VARIANTS], *sets[-1:]])
    return list(chosen)


@pytest.mark.parametrize("source", SOURCES)
def test_every_kernel_is_launched_with_its_own_parameters(source: str) -> None:
    declared = parameters(source)
    launches = [launch for launch in all_launches() if launch.source == source]
    for launch in launches:
        assert launch.signature == declared[launch.kernel], launch.kernel
    assert declared.keys() == {launch.kernel for launch in launches}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("source", SOURCES)
def test_kernels_compile(source: str, architecture: str) -> None:
    sets = variants(source)
    assert sets
    for defines in sets:
        assert compiled(kernels.read_source(source), architecture, defines)


def test_step_state_lies_where_the_host_writes_it() -> None:
    text = kernels.read_source("step_state.cuh")
    body = text[text.index("struct StepState {") : text.index("};")].replace("MAX_GROUPS", str(MAX_GROUPS))
    fields = re.findall(r"^ +([a-z ]+) (\w+)(?:\[(\d+)\])?;", body, re.MULTILINE)
    cells = [(name, TYPES[words].cell * int(count) if count else TYPES[words].cell) for words, name, count in fields]
    layout = type("StepState", (ctypes.Structure,), {"_fields_": cells})
    assert np.dtype(layout) == STEP_STATE
    assert f"sizeof(StepState) == {STEP_STATE.itemsize}" in text


IN_FLOAT64: dict[str, Callable[[Value], Value]] = {
    "activation": ops.relu,
    "add": lambda x: x + x,
    "scale": lambda x: ops.scale(x, 0.5),
    "fully connected": lambda x: ops.fully_connected(x, x),
    "softmax": ops.softmax,
    "mean": ops.masked_mean,
    "sum of channels": lambda x: x.graph.add(ConvolutionBackwardBias(), x)[0],
}


@pytest.mark.parametrize("build", IN_FLOAT64.values(), ids=IN_FLOAT64)
def test_what_has_no_kernel_in_float64_is_refused(build: Callable[[Value], Value]) -> None:
    graph = Graph()
    graph.output("y", build(graph.input("x", (3, 3), DType.float64)))
    with pytest.raises(CompileError, match=r"float32.*, not float64"):
        make_program(graph, RecordingBackend())
