"""Algorithms of a product, as the library configures them: what they are, can do, and are set to."""

from __future__ import annotations

import ctypes
from typing import Any

from gocudnn_py._abi.cublaslt import MatmulAlgo, MatmulAlgoCapAttributes, MatmulAlgoConfigAttributes
from gocudnn_py.cublaslt.descriptors import read, write
from gocudnn_py.library import load

LISTS = (MatmulAlgoCapAttributes.TILE_IDS, MatmulAlgoCapAttributes.STAGES_IDS)
WORD = 4


class Algorithm:
    """One algorithm with its settings; `workspace` is the bytes it takes, `waves` how often it fills the GPU.

    Its bytes mean the same to every process with the same version of cuBLAS and the same kind of GPU.
    """

    def __init__(self, algo: MatmulAlgo, workspace: int = 0, waves: float = 0.0) -> None:
        self.algo, self.workspace, self.waves = algo, workspace, waves

    @classmethod
    def from_bytes(cls, content: bytes, workspace: int = 0) -> Algorithm:
        """An algorithm that was kept. Raises ValueError when the number of bytes is wrong."""
        if len(content) != ctypes.sizeof(MatmulAlgo):
            raise ValueError(f"an algorithm is {ctypes.sizeof(MatmulAlgo)} bytes, not {len(content)}")
        return cls(MatmulAlgo.from_buffer_copy(content), workspace)

    def __bytes__(self) -> bytes:
        return bytes(self.algo)

    @property
    def id(self) -> int:
        """Which algorithm it is (cublasLtMatmulAlgoConfigGetAttribute)."""
        return self.setting(MatmulAlgoConfigAttributes.ID)

    def setting(self, attribute: MatmulAlgoConfigAttributes) -> int:
        """What one of its settings is (cublasLtMatmulAlgoConfigGetAttribute)."""
        get = load("cublaslt").cublasLtMatmulAlgoConfigGetAttribute
        return int.from_bytes(read(get, ctypes.byref(self.algo), attribute), "little")

    def set_to(self, settings: dict[MatmulAlgoConfigAttributes, int]) -> Algorithm:
        """The same with other settings; `Matmul.check` says whether it can run, and its workspace.

        (cublasLtMatmulAlgoConfigSetAttribute, cublasLtMatmulAlgoConfigGetAttribute.)
        """
        lib, other = load("cublaslt"), MatmulAlgo.from_buffer_copy(bytes(self))
        functions = lib.cublasLtMatmulAlgoConfigGetAttribute, lib.cublasLtMatmulAlgoConfigSetAttribute
        for attribute, value in settings.items():
            write(*functions, ctypes.byref(other), attribute, value)
        return Algorithm(other, self.workspace)

    def capability(self, attribute: MatmulAlgoCapAttributes) -> Any:
        """What it can do: a number, or the numbers of tiles or stages (cublasLtMatmulAlgoCapGetAttribute)."""
        content = read(load("cublaslt").cublasLtMatmulAlgoCapGetAttribute, ctypes.byref(self.algo), attribute)
        if attribute in LISTS:
            words = (content[start : start + WORD] for start in range(0, len(content), WORD))
            return tuple(int.from_bytes(word, "little") for word in words)
        return int.from_bytes(content, "little")

    def __repr__(self) -> str:
        shown = [each for each in MatmulAlgoConfigAttributes if self.setting(each)]
        settings = ", ".join(f"{each.name.lower()}={self.setting(each)}" for each in shown)
        return f"Algorithm({settings}; {self.workspace} bytes of workspace)"
