"""Which engines cuDNN offers for a graph, in its order of preference, and which of them a policy lets through."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gocudnn_py._abi.cudnn import BackendAttributeName as Attribute
from gocudnn_py._abi.cudnn import BackendAttributeType as Type
from gocudnn_py._abi.cudnn import BackendDescriptorType as Kind
from gocudnn_py._abi.cudnn import BackendHeurMode as Heuristic
from gocudnn_py._abi.cudnn import BackendNumericalNote as Note
from gocudnn_py.cudnn.graph.descriptor import BackendDescriptor
from gocudnn_py.cudnn.graph.engine import Candidate
from gocudnn_py.cudnn.graph.target import Target, aimed
from gocudnn_py.cudnn.log import collected
from gocudnn_py.errors import CudnnError

HEURISTICS = (Heuristic.A, Heuristic.FALLBACK)


@dataclass(frozen=True)
class Policy:
    """Which engines may run.

    `tf32` lets float32 products be rounded to TF32; `deterministic` wants the same bits on every run;
    `reduced_sums` lets half-precision sums be kept in half precision; `compile` allows engines whose kernels
    are compiled when the plan is made, which takes up to seconds; `workspace` is the most bytes. `sm_count` is how
    many multiprocessors the engines are to be laid out for, all of them unless given.
    """

    tf32: bool = False
    deterministic: bool = False
    reduced_sums: bool = False
    compile: bool = True
    workspace: int | None = None
    sm_count: int | None = None

    def objection(self, candidate: Candidate, float32: bool) -> str | None:
        """Why an engine may not run, None when it may; `float32` says that the graph's data are."""
        notes = set(candidate.notes)
        if float32 and not self.tf32 and notes & {Note.TENSOR_CORE, Note.DOWN_CONVERT_INPUTS}:
            return "it rounds float32 to TF32 or less"
        if self.deterministic and Note.NONDETERMINISTIC in notes:
            return "it is not deterministic"
        if not self.reduced_sums and Note.REDUCED_PRECISION_REDUCTION in notes:
            return "it adds up in half precision"
        if not self.compile and candidate.compiled_at_run_time:
            return "its kernel is compiled at run time"
        return None


def candidates(
    operations: BackendDescriptor,
    target: Target,
    heuristics: Sequence[Heuristic] = HEURISTICS,
    *,
    sm_count: int | None = None,
) -> Iterator[Candidate]:
    """Engines with settings for a built graph, best guess first, each once; asks cuDNN as they are wanted.

    (cudnnBackendSetAttribute, cudnnBackendFinalize, cudnnBackendGetAttribute.)
    """
    seen: set[tuple[object, ...]] = set()
    for mode in heuristics:
        for config in _proposals(operations, target, mode, sm_count):
            candidate = Candidate.of(config)
            identity = candidate.engine, *sorted(candidate.knobs.items())
            if identity not in seen:
                seen.add(identity)
                yield candidate


def refusals(operations: BackendDescriptor, target: Target) -> list[str]:
    """Why cuDNN proposes no engine for a built graph: the first reason that each engine gives, in its words."""
    with collected() as lines:
        for mode in HEURISTICS:
            _proposals(operations, target, mode)
    reasons, engine = [], ""
    for line in lines:
        if line.startswith("engineConfig:"):
            found = re.search(r'"engineId":(\d+)', line)
            engine = f"engine {found[1]}" if found else "an engine"
        elif engine and "; Reason: " in line:
            status, reason = line.split("; Reason: ", 1)
            reasons.append(f"{engine}: {status.rpartition('CUDNN_STATUS_')[2]}: {reason}")
            engine = ""
    return list(dict.fromkeys(reasons))


def _proposals(
    operations: BackendDescriptor, target: Target, mode: Heuristic, sm_count: int | None = None
) -> list[BackendDescriptor]:
    heuristic = aimed(BackendDescriptor(Kind.ENGINEHEUR_DESCRIPTOR), Attribute.ENGINEHEUR_DEVICEPROP, target)
    heuristic.set(Attribute.ENGINEHEUR_OPERATION_GRAPH, Type.BACKEND_DESCRIPTOR, operations)
    heuristic.set(Attribute.ENGINEHEUR_MODE, Type.HEUR_MODE, mode)
    if sm_count is not None:
        heuristic.set(Attribute.ENGINEHEUR_SM_COUNT_TARGET, Type.INT32, sm_count)
    try:
        heuristic.finalize()
        return heuristic.descriptors(Attribute.ENGINEHEUR_RESULTS, Kind.ENGINECFG_DESCRIPTOR)
    except CudnnError as error:
        if error.status // 1000 in (3, 4):  # this heuristic knows nothing, another may
            return []
        raise
