"""Saving and loading a compiled network as one safetensors file.

The file's metadata holds `format` ("gocunets/1"), `header` (JSON) and `digest` (SHA-256 over header and
tensors). Tensors are the states by name, filters in (K, C/groups, *kernel) order.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as serialize

from ..backends import Backend, choose
from ..data import Normalization
from ..errors import CheckpointError, CompileError
from ..losses import Loss
from ..network import Network
from ..optim import Optimizer
from ..passes.precision import DtypePolicy
from ..progress import Progress
from ..state import STEP_STATE
from . import architecture
from .files import write_whole

Array = npt.NDArray[Any]
FORMAT = "gocunets/1"
STORED = ("parameter", "moment", "statistic")


def save(network: Network, path: str | PathLike[str]) -> None:
    """Write a model file in place of what is there. Raises CheckpointError; the old file is then as it was."""
    store = network.compiled.store
    tensors = {state.name: store.read(state) for state in store.states if state.role in STORED}
    header = json.dumps(_header(network))
    metadata = {"format": FORMAT, "header": header, "digest": _digest(header, tensors)}
    write_whole(Path(path), serialize(tensors, metadata))


def load(path: str | PathLike[str], *, device: str | Backend = "auto") -> Network:
    """The network of a model file, compiled and as it was saved. Raises CheckpointError or DeviceUnavailable."""
    header, tensors = _read(Path(path))
    backend = choose(device)
    try:
        network = _build(header, backend)
        _fill(network, header, tensors)
    except KeyError as error:
        raise CheckpointError(f"{path} cannot be used: its header lacks {error}") from error
    except (IndexError, AttributeError, TypeError, ValueError, ArithmeticError, CompileError) as error:
        raise CheckpointError(f"{path} cannot be used: {error}") from error
    return network


def read_header(path: str | PathLike[str]) -> dict[str, Any]:
    """The header of a model file: architecture, optimizers, progress, versions. Raises CheckpointError."""
    return _read(Path(path))[0]


def _header(network: Network) -> dict[str, Any]:
    from .. import __version__

    compiled = network.compiled
    normalization = network.normalization
    return {
        "input_shape": list(network.input_shape),
        "seed": network.seed,
        "architecture": architecture.describe(
            network.trace("training"), network.trace("inference"), dict(network.module.parameters())
        ),
        "policy": dataclasses.asdict(network.policy),
        "layout": compiled.layout,
        "loss": compiled.loss.describe(),
        "optimizers": {pattern: rule.describe() for pattern, rule in compiled.optimizers.items()},
        "normalization": dataclasses.asdict(normalization) if normalization else None,
        "progress": network.progress.describe(),
        "step_state": {name: compiled.step_record[name].tolist() for name in STEP_STATE.names or ()},
        "versions": {"gocunets": __version__, "numpy": np.__version__},
        "device": compiled.backend.name,
    }


def _build(header: Mapping[str, Any], backend: Backend) -> Network:
    module = architecture.Replay(header["architecture"])
    network = Network(module, header["input_shape"], seed=header["seed"])
    policy = DtypePolicy(**header["policy"])
    network.compile(
        loss=Loss.restore(header["loss"]),
        optimizer={pattern: Optimizer.restore(rule) for pattern, rule in header["optimizers"].items()},
        device=backend,
        dtype=policy.compute,
        math=policy.math,
        layout=header.get("layout", "auto"),
    )
    if header["normalization"]:
        network.normalization = Normalization(**header["normalization"])
    network.progress = Progress.restore(header["progress"])
    return network


def _fill(network: Network, header: Mapping[str, Any], tensors: Mapping[str, Array]) -> None:
    store = network.compiled.store
    for state in store.states:
        if state.role not in STORED:
            continue
        if state.name not in tensors:
            raise ValueError(f"tensor {state.name} is missing")
        store.write(state, tensors[state.name])
    fields = dict(header["step_state"])
    if "steady" not in fields:  # written when there was no loss scale that follows the overflows
        fields.pop("loss_scale", None)
    network.compiled.write_step(**fields)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    if os.path.isdir(path):
        raise CheckpointError(f"{path} is a folder, not a model file")
    try:
        with open(path, "rb") as raw:  # safe_open calls every file that it cannot open a missing one
            size = os.fstat(raw.fileno()).st_size
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    try:
        with safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            _check_format(path, metadata)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError, TypeError, AttributeError) as error:  # the last two: a dtype that NumPy has not
        raise CheckpointError(f"{path} ({size:,} bytes) is not a model file, or only part of one: {error}") from error
    if _digest(metadata["header"], tensors) != metadata["digest"]:
        raise CheckpointError(f"{path} is corrupt: its content does not match its digest {metadata['digest'][:12]}...")
    return _parse(path, metadata["header"]), tensors


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        header = json.loads(text)
    except ValueError as error:
        raise CheckpointError(f"{path} cannot be used: its header is not JSON: {error}") from error
    if not isinstance(header, dict):
        raise CheckpointError(f"{path} cannot be used: its header is a {type(header).__name__}")
    return header


def _check_format(path: Path, metadata: Mapping[str, str]) -> None:
    name, _, version = metadata.get("format", "").partition("/")
    if name != "gocunets" or not {"header", "digest"} <= metadata.keys():
        raise CheckpointError(f"{path} is a safetensors file, but not one that gocunets wrote")
    if version != FORMAT.partition("/")[2]:
        raise CheckpointError(
            f"{path} has format gocunets/{version}, this version reads {FORMAT}; install a newer gocunets"
        )


def _digest(header: str, tensors: Mapping[str, Array]) -> str:
    digest = hashlib.sha256(header.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tensor.shape}".encode())
        digest.update(tensor.tobytes())
    return digest.hexdigest()
