"""Generators of random numbers, on a GPU and on the host."""

from __future__ import annotations

import ctypes
import operator
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, TypeVar

from gocudnn_py import driver
from gocudnn_py._abi.curand import Method, Ordering, RngType
from gocudnn_py.cuda import Stream
from gocudnn_py.curand.span import Span, span
from gocudnn_py.library import load
from gocudnn_py.resource import Resource

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from gocudnn_py._abi.curand import CuRAND

Out = TypeVar("Out")
FLOATS = {"float32": "", "float64": "Double"}
BITS = {"uint32": "curandGenerate", "uint64": "curandGenerateLongLong"}
MERSENNE = (RngType.PSEUDO_MTGP32, RngType.PSEUDO_MT19937)  # their sequences are entered at the start only
SOBOL64 = (RngType.QUASI_SOBOL64, RngType.QUASI_SCRAMBLED_SOBOL64)
MAX_DIMENSIONS = 20_000
MAX_RATE = 400_000
UINT64_MAX = 2**64 - 1


class Generator(Resource):
    """Random numbers of one kind: on the GPU of `stream`, in its order, or on the host when there is none.

    The same kind, ordering, seed and offset give the same bits on both; numbers that go through a logarithm may differ
    in the last places. On the host they go to a NumPy array; on the GPU to a DeviceBuffer or ManagedBuffer, with a
    `dtype`, or to any other contiguous array with `__cuda_array_interface__` or `__dlpack__`. `count` is how many, all
    that fit unless given. What fills returns what it filled. Raises ValueError or TypeError for what the kind cannot do
    (curandCreateGenerator, curandCreateGeneratorHost, curandDestroyGenerator).
    """

    lib: CuRAND

    def __init__(
        self,
        kind: RngType = RngType.PSEUDO_DEFAULT,
        stream: Stream | None = None,
        *,
        seed: int | None = None,
        offset: int = 0,
        ordering: Ordering | None = None,
        dimensions: int = 1,
    ) -> None:
        self.kind, self.stream, self.dimensions = RngType(kind), stream, 1
        if self.kind is RngType.TEST:
            raise ValueError("RngType.TEST makes no numbers")
        self.lib, self._begun = load("curand"), False
        self._create(stream)
        if ordering is not None:
            self.set_ordering(ordering)
        if dimensions != 1:
            self.set_dimensions(dimensions)
        if seed is not None:
            self.set_seed(seed)
        if offset:
            self.set_offset(offset)

    def _create(self, stream: Stream | None) -> None:
        made, destroy = ctypes.c_void_p(), self.lib.curandDestroyGenerator
        if stream is None:
            self.lib.curandCreateGeneratorHost(ctypes.byref(made), self.kind)
            super().__init__(made.value or 0, destroy)
            return
        ordinal = stream.device.ordinal
        with driver.primary_context(ordinal):
            self.lib.curandCreateGenerator(ctypes.byref(made), self.kind)
            super().__init__(made.value or 0, destroy, device=ordinal)
        self.use(stream)

    @property
    def quasi(self) -> bool:
        """Whether it fills space evenly (Sobol) instead of looking like chance."""
        return self.kind >= RngType.QUASI_DEFAULT

    def use(self, stream: Stream) -> None:
        """Work on another stream of the same GPU from now on, one of a capture say (curandSetStream)."""
        if self.stream is None:
            raise ValueError("a generator on the host has no stream")
        if stream.device.ordinal != self.device:
            raise ValueError(f"{stream} is not of GPU {self.device}, which the generator is on")
        self.lib.curandSetStream(self.handle, stream.handle)
        self.stream = stream

    def set_seed(self, seed: int, *, offset: int = 0) -> None:
        """Start again with a seed of 64 bits, `offset` numbers into its sequence.

        Raises ValueError for PSEUDO_MTGP32 on a GPU once it has begun: it goes on with the seed that it began with
        (curandSetPseudoRandomGeneratorSeed, curandSetGeneratorOffset).
        """
        if self.quasi:
            raise ValueError(f"{self.kind.name} takes no seed: its numbers depend on dimension and offset alone")
        number = _uint64("seed", seed)
        self._check_offset(offset)
        if self.kind is RngType.PSEUDO_MTGP32 and self.stream is not None and self._begun:
            raise ValueError(
                f"{self.kind.name} has begun on GPU {self.device} and keeps its seed; make another Generator"
            )
        if self.kind in MERSENNE:  # would go on where it is, were the seed the one that it has
            self.lib.curandSetPseudoRandomGeneratorSeed(self.handle, number ^ 1)
        self.lib.curandSetPseudoRandomGeneratorSeed(self.handle, number)
        if self.kind not in MERSENNE:
            self.set_offset(offset)

    def set_offset(self, offset: int) -> None:
        """Go to the place `offset` numbers from the start, or points when quasi-random (curandSetGeneratorOffset).

        Raises ValueError for the Mersenne twisters, which have no such places.
        """
        if self.kind in MERSENNE:
            raise ValueError(f"{self.kind.name} cannot go to place {offset} of its sequence; seed one anew")
        self._check_offset(offset)
        self.lib.curandSetGeneratorOffset(self.handle, offset)

    def _check_offset(self, offset: int) -> None:
        if _uint64("offset", offset) and self.kind in MERSENNE:
            raise ValueError(f"{self.kind.name} starts at the beginning of its sequence, not at {offset}")

    def set_ordering(self, ordering: Ordering) -> None:
        """Choose how results lie in memory (curandSetGeneratorOrdering).

        Raises ValueError for one of the other family, CurandError for one that this kind has not.
        """
        ordering = Ordering(ordering)
        if (ordering is Ordering.QUASI_DEFAULT) != self.quasi:
            raise ValueError(f"{self.kind.name} has no ordering {ordering.name}")
        if ordering is Ordering.PSEUDO_DYNAMIC and self.stream is None:
            raise ValueError("PSEUDO_DYNAMIC depends on the GPU: a generator on the host has no such ordering")
        self.lib.curandSetGeneratorOrdering(self.handle, ordering)

    def set_dimensions(self, dimensions: int) -> None:
        """Make points of 1 to 20,000 dimensions, from the first: all values of a dimension lie together.

        (curandSetQuasiRandomGeneratorDimensions, curandSetGeneratorOffset)
        """
        if not self.quasi:
            raise ValueError(f"{self.kind.name} has no dimensions: it is not quasi-random")
        if not 1 <= operator.index(dimensions) <= MAX_DIMENSIONS:
            raise ValueError(f"{dimensions} dimensions; there are 1 to {MAX_DIMENSIONS:,}")
        self.lib.curandSetQuasiRandomGeneratorDimensions(self.handle, dimensions)
        self.dimensions = dimensions
        self.set_offset(0)

    def prepare(self) -> None:
        """Make the starting state now and not with the first numbers, which it must go before (curandGenerateSeeds)."""
        handle = self.handle
        self._enter()
        self._begun = True
        self.lib.curandGenerateSeeds(handle)

    def bits(self, out: Out, *, count: int | None = None) -> Out:
        """Fill with random bits: uint64 for the two Sobol kinds of 64 bits, uint32 for all others.

        (curandGenerate, curandGenerateLongLong)
        """
        right = "uint64" if self.kind in SOBOL64 else "uint32"
        self._fill(BITS[right], self._room("bits", out, None, count, (right,)))
        return out

    def uniform(self, out: Out, *, dtype: DTypeLike | None = None, count: int | None = None) -> Out:
        """Fill with floats uniform in (0, 1] (curandGenerateUniform, curandGenerateUniformDouble)."""
        room = self._room("uniform", out, dtype, count, FLOATS)
        self._fill(f"curandGenerateUniform{FLOATS[room.dtype]}", room)
        return out

    def normal(
        self,
        out: Out,
        mean: float = 0.0,
        deviation: float = 1.0,
        *,
        dtype: DTypeLike | None = None,
        count: int | None = None,
    ) -> Out:
        """Fill with normal floats, an even number of them unless quasi-random.

        (curandGenerateNormal, curandGenerateNormalDouble)
        """
        self._gauss("Normal", self._room("normal", out, dtype, count, FLOATS), mean, deviation)
        return out

    def log_normal(
        self,
        out: Out,
        mean: float = 0.0,
        deviation: float = 1.0,
        *,
        dtype: DTypeLike | None = None,
        count: int | None = None,
    ) -> Out:
        """Fill with floats whose logarithm is normal, an even number of them unless quasi-random.

        (curandGenerateLogNormal, curandGenerateLogNormalDouble)
        """
        self._gauss("LogNormal", self._room("log_normal", out, dtype, count, FLOATS), mean, deviation)
        return out

    def _gauss(self, name: str, room: Span, mean: float, deviation: float) -> None:
        if not deviation >= 0:
            raise ValueError(f"a standard deviation of {deviation}")
        if room.numbers % 2 and not self.quasi:
            raise ValueError(f"{self.kind.name} makes normal numbers in pairs, not {room.numbers} of them")
        self._fill(f"curandGenerate{name}{FLOATS[room.dtype]}", room, mean, deviation)

    def poisson(self, out: Out, rate: float, *, method: Method | None = None, count: int | None = None) -> Out:
        """Fill with uint32 of the Poisson distribution with a mean above 0, up to 400,000.

        `method` is cuRAND's choice unless given, and its header has it for internal use: on a GPU there are
        DEVICE_API and CURAND_3RD, and none with PSEUDO_MT19937 (curandGeneratePoisson, curandGeneratePoissonMethod).
        """
        check_rate(rate)
        room = self._room("poisson", out, None, count, ("uint32",))
        if method is None:
            self._fill("curandGeneratePoisson", room, rate)
        else:
            self._fill("curandGeneratePoissonMethod", room, rate, Method(method))
        return out

    def _room(self, what: str, out: Any, dtype: DTypeLike | None, count: int | None, allowed: Collection[str]) -> Span:
        only = next(iter(allowed)) if len(allowed) == 1 else None
        room = span(self.stream, out, dtype, only)
        if room.dtype not in allowed:
            raise TypeError(f"{what}: {self.kind.name} makes {' or '.join(allowed)}, not {room.dtype}")
        if count is not None and not 0 <= count <= room.numbers:
            raise ValueError(f"{what}: {count} numbers into room for {room.numbers} {room.dtype}")
        room = room if count is None else room._replace(numbers=count)
        if room.numbers % self.dimensions:
            raise ValueError(f"{what}: {room.numbers} numbers are no whole points of {self.dimensions} dimensions")
        return room

    def _fill(self, function: str, room: Span, *numbers: float) -> None:
        handle = self.handle
        if not room.numbers:
            return
        self._enter()
        self._begun = True
        getattr(self.lib, function)(handle, room.address, room.numbers, *numbers)
        if self.stream is not None:
            self.stream.uses(room.memory)

    def _enter(self) -> None:
        if self.stream is not None:
            self.stream.device.enter()

    def __repr__(self) -> str:
        place = "on the host" if self.stream is None else f"on GPU {self.device}"
        points = f", {self.dimensions} dimensions" if self.quasi else ""
        return f"Generator({self.kind.name} {place}{points}{'' if self.usable else ', unusable'})"


def check_rate(rate: float) -> None:
    """Raise ValueError unless there is a Poisson distribution with this mean."""
    if not 0 < rate <= MAX_RATE:
        raise ValueError(f"a Poisson mean of {rate}; cuRAND takes more than 0, up to {MAX_RATE:,}")


def _uint64(what: str, value: int) -> int:
    number = operator.index(value)
    if not 0 <= number <= UINT64_MAX:
        raise ValueError(f"{what} {number} does not fit 64 bits without a sign")
    return number
