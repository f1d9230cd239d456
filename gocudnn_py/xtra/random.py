"""Random numbers that depend on nothing but their place: Philox4x32-10, bit for bit those of gocunets on the CPU.

The key is the seed, the counter is (block, step, node): element e has word e % 4 of block e // 4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gocudnn_py.xtra import checks
from gocudnn_py.xtra.array import DeviceArray, Operand, operand
from gocudnn_py.xtra.launcher import THREADS, launch

if TYPE_CHECKING:
    from gocudnn_py.cuda import Stream

BITS = {"float32": 24, "float16": 11, "bfloat16": 8}
"""How many leading bits of a word each type holds exactly."""


def random_bits(stream: Stream, y: Operand, *, seed: int, node: int = 0, step: int = 0) -> None:
    """y (uint32) = the words of Philox. Raises ValueError where the seed does not fit 64 bits, or node or step 32."""
    array = operand("random_bits: y", y, stream)
    checks.c_type("random_bits: y", array.dtype, ("uint32",))
    _draw(stream, "random_bits", array, (seed, node, step), (), {})


def uniform(
    stream: Stream, y: Operand, low: float = 0.0, high: float = 1.0, *, seed: int, node: int = 0, step: int = 0
) -> None:
    """y = low + (high - low) u with u uniform in [0, 1): as many leading bits of the word as y's type holds."""
    array = operand("uniform: y", y, stream)
    defines = {"T": checks.float_type("uniform", y=array), "BITS": BITS[array.dtype.name]}
    _draw(stream, "random_uniform", array, (seed, node, step), (low, high - low), defines)


def normal(
    stream: Stream, y: Operand, mean: float = 0.0, std: float = 1.0, *, seed: int, node: int = 0, step: int = 0
) -> None:
    """y = mean + std z with z standard normal: Box-Muller in float64, rounded to float32, then to y's type."""
    array = operand("normal: y", y, stream)
    defines = {"T": checks.float_type("normal", y=array), "BITS": BITS[array.dtype.name]}
    _draw(stream, "random_normal", array, (seed, node, step), (mean, std), defines)


def _draw(
    stream: Stream,
    kernel: str,
    y: DeviceArray,
    place: tuple[int, int, int],
    numbers: tuple[float, ...],
    defines: dict[str, object],
) -> None:
    checks.writable(kernel, y=y)
    for name, value, bits in zip(("seed", "node", "step"), place, (64, 32, 32), strict=True):
        if not 0 <= value < 2**bits:
            raise ValueError(f"{kernel}: {name} is {value}, expected 0 to 2^{bits} - 1")
    if y.size:
        blocks = -(-y.size // (4 * THREADS))
        launch(stream, kernel, blocks, [y, y.size, *place, *numbers], {"T": "float", "BITS": 24} | defines)
