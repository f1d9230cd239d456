"""cuRAND on the host: exact sequences, moments, refused arguments; and what is asked of it on a GPU."""

from __future__ import annotations

import ctypes
import math
from typing import Any

import numpy as np
import pytest

from gocudnn_py._abi.curand import FUNCTIONS
from gocudnn_py.cuda.adopt import AdoptedBuffer
from gocudnn_py.curand import (
    DirectionVectorSet,
    Generator,
    LibraryPropertyType,
    Method,
    Ordering,
    PoissonDistribution,
    RngType,
    direction_vectors,
    generator,
    library_property,
    scramble_constants,
    tables,
    version,
)
from gocudnn_py.curand.generator import MERSENNE, SOBOL64
from gocudnn_py.errors import CurandError, UnusableResource
from gocunets.convnetgo.philox import philox4x32
from tests.gocudnn_py.recorded import FakeMemory, FakeStream, Recorded, fake_buffer, without_driver

pytestmark = pytest.mark.usefixtures("curand")

SLOW = RngType.PSEUDO_MT19937  # takes seconds to seed on the host, for 8,192 states
PSEUDO = [kind for kind in RngType if 100 <= kind < 200 and kind is not SLOW]
QUASI = [kind for kind in RngType if kind >= 200]
PLACED = [kind for kind in PSEUDO if kind not in MERSENNE]
PHILOX = RngType.PSEUDO_PHILOX4_32_10
LANES = 65_536  # blocks of four of Philox's sequence come from so many subsequences in turn
every_pseudo = pytest.mark.parametrize("kind", PSEUDO, ids=lambda kind: kind.name)
every_quasi = pytest.mark.parametrize("kind", QUASI, ids=lambda kind: kind.name)


def word(kind: RngType) -> Any:
    return np.uint64 if kind in SOBOL64 else np.uint32


def bits(source: Generator, size: int) -> Any:
    return source.bits(np.zeros(size, word(source.kind)))


@every_pseudo
@pytest.mark.covers("curandGenerate", "curandSetPseudoRandomGeneratorSeed")
def test_the_seed_decides(kind: RngType) -> None:
    first, again, other = (bits(Generator(kind, seed=seed), 999) for seed in (7, 7, 8))
    assert (first == again).all()
    assert (first != other).mean() > 0.99


@every_pseudo
def test_a_sequence_goes_on_and_starts_again(kind: RngType) -> None:
    whole, source = bits(Generator(kind, seed=7), 1500), Generator(kind, seed=7)
    assert (np.concatenate([bits(source, 401), bits(source, 599)]) == whole[:1000]).all()
    assert (bits(source, 500) == whole[1000:]).all()
    source.set_seed(7)
    assert (bits(source, 500) == whole[:500]).all()
    source.set_seed(8)
    source.set_seed(7)
    assert (bits(source, 500) == whole[:500]).all()


@every_pseudo
@pytest.mark.covers("curandGenerateSeeds")
def test_a_prepared_generator_makes_the_same(kind: RngType) -> None:
    source = Generator(kind, seed=7)
    source.prepare()
    assert (bits(source, 500) == bits(Generator(kind, seed=7), 500)).all()


@pytest.mark.parametrize("kind", PLACED, ids=lambda kind: kind.name)
@pytest.mark.covers("curandSetGeneratorOffset")
def test_an_offset_is_a_place(kind: RngType) -> None:
    offset = 17
    whole, source = bits(Generator(kind, seed=7), 1000), Generator(kind, seed=7, offset=offset)
    assert (bits(source, 300) == whole[offset : offset + 300]).all()
    source.set_offset(offset)
    assert (bits(source, 300) == whole[offset : offset + 300]).all()
    source.set_seed(7, offset=offset + 1)
    assert (bits(source, 300) == whole[offset + 1 : offset + 301]).all()


@pytest.mark.covers("curandGenerate", "curandSetPseudoRandomGeneratorSeed")
def test_mersenne_twister() -> None:
    source = Generator(SLOW, seed=5489)
    numbers = np.concatenate([bits(source, 401), bits(source, 599)])
    assert numbers[0] == np.random.RandomState(5489).randint(0, 2**32, dtype=np.uint32)
    assert len(set(numbers.tolist())) == 1000
    source.set_seed(5489)
    assert (bits(source, 1000) == numbers).all()


def philox_words(seed: int, size: int) -> Any:
    block = np.arange(-(-size // 4))
    counter = np.zeros((block.size, 4), np.uint32)
    counter[:, 0], counter[:, 2] = block // LANES, block % LANES
    return philox4x32(counter, np.array([seed % 2**32, seed >> 32], np.uint32)).reshape(-1)[:size]


@pytest.mark.covers("curandGenerate")
def test_philox_is_philox() -> None:
    seed = 0x0123456789ABCDEF
    assert (bits(Generator(PHILOX, seed=seed), 300_001) == philox_words(seed, 300_001)).all()


@pytest.mark.covers("curandGenerateUniform", "curandGenerateNormal", "curandGenerateLogNormal")
def test_floats_are_made_of_bits() -> None:
    words = philox_words(5, 1000)
    uniform = Generator(PHILOX, seed=5).uniform(np.zeros(1000, np.float32))
    assert (uniform == words.astype(np.float32) * np.float32(2.0**-32) + np.float32(2.0**-33)).all()
    radius, angle = np.sqrt(-2 * np.log(uniform[::2].astype(np.float64))), 2 * np.pi * uniform[1::2].astype(np.float64)
    wanted = np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=1).ravel()
    normal = Generator(PHILOX, seed=5).normal(np.zeros(1000, np.float32))
    np.testing.assert_allclose(normal, wanted, rtol=0, atol=16 * 2.0**-24 * 4)  # |z| < 4 here; 2 pi u has 3 bits more
    moved = Generator(PHILOX, seed=5).normal(np.zeros(1000, np.float32), 2.0, 3.0)
    np.testing.assert_allclose(moved, 2 + 3 * normal.astype(np.float64), rtol=0, atol=2 * 2.0**-24 * 16)
    lognormal = Generator(PHILOX, seed=5).log_normal(np.zeros(1000, np.float32), 0.5, 0.25)
    np.testing.assert_allclose(lognormal, np.exp(0.5 + 0.25 * normal.astype(np.float64)), rtol=8 * 2.0**-24)


@every_pseudo
@pytest.mark.covers("curandGenerateUniformDouble", "curandGenerateNormalDouble", "curandGenerateLogNormalDouble")
def test_moments(kind: RngType) -> None:
    size = 200_000
    out, source = np.zeros(size), Generator(kind, seed=3)
    uniform = source.uniform(out).copy()
    assert uniform.min() > 0
    assert uniform.max() <= 1
    assert abs(uniform.mean() - 0.5) < 5 * math.sqrt(1 / 12 / size)
    assert abs(uniform.var() - 1 / 12) < 5 * math.sqrt(1 / 180 / size)
    normal = source.normal(out, 2.0, 3.0).copy()
    assert abs(normal.mean() - 2) < 5 * 3 / math.sqrt(size)
    assert abs(normal.var() - 9) < 5 * 9 * math.sqrt(2 / size)
    assert abs(np.log(source.log_normal(out, 2.0, 3.0)).mean() - 2) < 5 * 3 / math.sqrt(size)


@every_pseudo
@pytest.mark.parametrize("rate", [0.5, 30.0, 3000.0])
@pytest.mark.covers("curandGeneratePoisson")
def test_poisson(kind: RngType, rate: float) -> None:
    out = Generator(kind, seed=3).poisson(np.zeros(100_000, np.uint32), rate)
    assert abs(out.mean() - rate) < 5 * math.sqrt(rate / out.size)
    assert abs(out.var() - rate) < 5 * math.sqrt((rate + 2 * rate**2) / out.size)


@pytest.mark.covers("curandGeneratePoissonMethod")
def test_poisson_by_a_method() -> None:
    again, named = np.zeros(2000, np.uint32), np.zeros(2000, np.uint32)
    for drawn in (again, named):
        Generator(PHILOX, seed=3).poisson(drawn, 2.5, method=Method.DEVICE_API)
    for number in range(8):
        share = math.exp(-2.5) * 2.5**number / math.factorial(number)
        assert abs((named == number).mean() - share) < 5 * math.sqrt(share / named.size)
    assert (again == named).all()
    with pytest.raises(CurandError, match=r"curandGeneratePoissonMethod: (OUT_OF_RANGE|INTERNAL_ERROR)"):
        Generator(PHILOX).poisson(named, 2.5, method=Method.KNUTH)


def sobol(vectors: Any, start: int, points: int) -> Any:
    """Sobol's points in Gray order: the exclusive or of the vectors where the index's Gray code has ones."""
    index = np.arange(start, start + points, dtype=np.uint64)
    gray = index ^ (index >> np.uint64(1))
    out = np.zeros((len(vectors), points), vectors.dtype)
    for bit in range(vectors.shape[1]):
        out ^= np.where((gray >> np.uint64(bit)) & np.uint64(1), vectors[:, bit : bit + 1], vectors.dtype.type(0))
    return out


@every_quasi
@pytest.mark.parametrize("start", [0, 10])
@pytest.mark.covers("curandSetQuasiRandomGeneratorDimensions")
def test_sobol_is_sobol(kind: RngType, start: int) -> None:
    plain = {201: 101, 200: 101, 202: 102, 203: 103, 204: 104}[kind]
    wanted = sobol(direction_vectors(DirectionVectorSet(plain))[:5], start, 100)
    if kind in (RngType.QUASI_SCRAMBLED_SOBOL32, RngType.QUASI_SCRAMBLED_SOBOL64):
        wanted ^= scramble_constants(64 if kind in SOBOL64 else 32)[:5, None]
    source = Generator(kind, dimensions=5, offset=start)
    assert (bits(source, 500).reshape(5, 100) == wanted).all()
    source.set_dimensions(3)
    source.set_offset(start)
    assert (bits(source, 300).reshape(3, 100) == wanted[:3]).all()


@pytest.mark.covers("curandGenerateLongLong")
def test_64_bits_are_of_sobol64() -> None:
    assert bits(Generator(RngType.QUASI_SOBOL64), 4).tolist() == [0, 2**63, 2**63 + 2**62, 2**62]


@every_quasi
def test_sobol_fills_space_evenly(kind: RngType) -> None:
    points = Generator(kind, dimensions=2).uniform(np.zeros(2 * 256)).reshape(2, 256)
    boxes = np.floor(points * 16).astype(int)
    assert np.bincount(boxes[0] * 16 + boxes[1], minlength=256).tolist() == [1] * 256


@pytest.mark.covers(
    "curandGetDirectionVectors32",
    "curandGetDirectionVectors64",
    "curandGetScrambleConstants32",
    "curandGetScrambleConstants64",
)
def test_tables() -> None:
    assert direction_vectors(DirectionVectorSet.DIRECTION_VECTORS_32_JOEKUO6).shape == (20_000, 32)
    long = direction_vectors(DirectionVectorSet.DIRECTION_VECTORS_64_JOEKUO6)
    assert long.shape == (20_000, 64)
    assert (long[0] == 1 << np.arange(63, -1, -1, dtype=np.uint64)).all()  # the first dimension is van der Corput's
    assert [scramble_constants(bits).dtype.itemsize for bits in (32, 64)] == [4, 8]  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="read-only"):
        long[0, 0] = 1


@pytest.mark.covers("curandGetVersion", "curandGetProperty")
def test_version(curand: Any) -> None:
    numbers = tuple(map(library_property, list(LibraryPropertyType)[:3]))
    assert version() == numbers == curand.version
    assert numbers >= (10, 3, 0)


@pytest.mark.parametrize("ordering", [Ordering.PSEUDO_DEFAULT, Ordering.PSEUDO_LEGACY, Ordering.PSEUDO_SEEDED])
@pytest.mark.covers("curandSetGeneratorOrdering")
def test_ordering(ordering: Ordering) -> None:
    numbers = bits(Generator(RngType.PSEUDO_XORWOW, seed=1, ordering=ordering), 5000)
    plain = bits(Generator(RngType.PSEUDO_XORWOW, seed=1), 5000)
    assert (numbers == plain).all() == (ordering is not Ordering.PSEUDO_SEEDED)


F32, U32 = np.zeros(8, np.float32), np.zeros(8, np.uint32)
REFUSED: list[tuple[Any, type[Exception], str]] = [
    (lambda: Generator(RngType.TEST), ValueError, "TEST makes no numbers"),
    (lambda: Generator(99), ValueError, "99 is not a valid RngType"),  # type: ignore[arg-type]
    (lambda: Generator(seed=-1), ValueError, "seed -1 does not fit 64 bits"),
    (lambda: Generator(seed=2**64), ValueError, "seed 18446744073709551616 does not fit"),
    (lambda: Generator(seed=1.5), TypeError, "float"),  # type: ignore[arg-type]
    (lambda: Generator(offset=-3), ValueError, "offset -3 does not fit"),
    (lambda: Generator(RngType.QUASI_SOBOL32, seed=1), ValueError, "QUASI_SOBOL32 takes no seed"),
    (lambda: Generator(RngType.PSEUDO_MT19937, offset=5), ValueError, "MT19937 cannot go to place 5"),
    (lambda: Generator(RngType.PSEUDO_MTGP32).set_seed(1, offset=5), ValueError, "MTGP32 starts at the beg.* not at 5"),
    (lambda: Generator(PHILOX, dimensions=3), ValueError, "PHILOX4_32_10 has no dimensions"),
    (lambda: Generator(RngType.QUASI_SOBOL64, dimensions=0), ValueError, "0 dimensions; there are 1 to 20,000"),
    (lambda: Generator(RngType.QUASI_SOBOL64, dimensions=20_001), ValueError, "20001 dimensions"),
    (lambda: Generator(PHILOX, ordering=Ordering.QUASI_DEFAULT), ValueError, "PHILOX4_32_10 has no ordering QUASI"),
    (lambda: Generator(RngType.QUASI_SOBOL32, ordering=Ordering.PSEUDO_BEST), ValueError, "no ordering PSEUDO_BEST"),
    (lambda: Generator(PHILOX, ordering=Ordering.PSEUDO_DYNAMIC), ValueError, "PSEUDO_DYNAMIC depends on the GPU"),
    (
        lambda: Generator(PHILOX, ordering=Ordering.PSEUDO_SEEDED),
        CurandError,
        "curandSetGeneratorOrdering: OUT_OF_RANGE",
    ),
    (lambda: Generator(PHILOX).uniform(U32), TypeError, "uniform: .* makes float32 or float64, not uint32"),
    (lambda: Generator(PHILOX).bits(F32), TypeError, "bits: PSEUDO_PHILOX4_32_10 makes uint32, not float32"),
    (lambda: Generator(PHILOX).bits(np.zeros(4, np.uint64)), TypeError, "makes uint32, not uint64"),
    (lambda: Generator(RngType.QUASI_SOBOL64).bits(U32), TypeError, "QUASI_SOBOL64 makes uint64, not uint32"),
    (lambda: Generator(PHILOX).poisson(F32, 1.0), TypeError, "poisson: .* makes uint32, not float32"),
    (lambda: Generator(PHILOX).normal(F32, count=7), ValueError, "in pairs, not 7 of them"),
    (lambda: Generator(PHILOX).log_normal(F32[:5]), ValueError, "in pairs, not 5 of them"),
    (lambda: Generator(PHILOX).normal(F32, 0.0, -1.0), ValueError, "standard deviation of -1.0"),
    (lambda: Generator(PHILOX).normal(F32, 0.0, math.nan), ValueError, "standard deviation of nan"),
    (lambda: Generator(PHILOX).uniform(F32, count=9), ValueError, "9 numbers into room for 8 float32"),
    (lambda: Generator(PHILOX).uniform(F32, count=-1), ValueError, "-1 numbers into room for 8"),
    (lambda: Generator(PHILOX).uniform(F32[::2]), ValueError, r"contiguous array.* strides \(8,\)"),
    (lambda: Generator(PHILOX).uniform(F32, dtype="float64"), TypeError, "dtype float64 for an array of float32"),
    (lambda: Generator(PHILOX).uniform(F32.astype(">f4")), TypeError, "numbers of >f4 have not the byte order"),
    (lambda: Generator(PHILOX).uniform(F32, dtype=">f4"), TypeError, "numbers of >f4 have not the byte order"),
    (lambda: Generator(PHILOX).bits(U32.astype(">u4")), TypeError, "numbers of >u4 have not the byte order"),
    (lambda: Generator(PHILOX).uniform([1.0]), TypeError, "fills NumPy arrays, not list"),
    (lambda: Generator(PHILOX).uniform(np.broadcast_to(F32[:1], (1,))), ValueError, "can be written"),
    (
        lambda: Generator(RngType.QUASI_SOBOL32, dimensions=3).uniform(F32),
        ValueError,
        "8 numbers are no whole points of 3",
    ),
    (lambda: Generator(PHILOX).poisson(U32, 0.0), ValueError, "Poisson mean of 0.0"),
    (lambda: Generator(PHILOX).poisson(U32, 400_001.0), ValueError, "up to 400,000"),
    (lambda: Generator(PHILOX).poisson(U32, math.nan), ValueError, "Poisson mean of nan"),
    (lambda: Generator(PHILOX).use(FakeStream()), ValueError, "on the host has no stream"),  # type: ignore[arg-type]
    (lambda: PoissonDistribution(None, 0.0), ValueError, "Poisson mean of 0.0"),  # type: ignore[arg-type]
    (lambda: scramble_constants(16), ValueError, "constants of 16 bits"),  # type: ignore[arg-type]
    (lambda: direction_vectors(7), ValueError, "7 is not a valid DirectionVectorSet"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("act", "error", "words"), REFUSED, ids=[row[2] for row in REFUSED])
def test_refused(act: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        act()


@pytest.mark.covers("curandCreateGeneratorHost", "curandDestroyGenerator")
def test_closed() -> None:
    with Generator(PHILOX, seed=1) as source:
        assert repr(source) == "Generator(PSEUDO_PHILOX4_32_10 on the host)"
    assert "unusable" in repr(source)
    for act in (
        lambda: source.uniform(F32),
        lambda: source.set_seed(1),
        source.prepare,
        lambda: source.uniform(F32[:0]),
    ):
        with pytest.raises(UnusableResource, match="this Generator is closed"):
            act()


def test_nothing_is_written_beyond_count() -> None:
    out = np.full(8, 9, np.float32)
    Generator(PHILOX, seed=1).uniform(out, count=6)
    assert (out[:6] <= 1).all()
    assert (out[6:] == 9).all()
    Generator(PHILOX, seed=1).uniform(out, count=0)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    library = Recorded(FUNCTIONS)
    without_driver(monkeypatch, library, [generator, tables])
    return library


def test_calls_on_a_gpu(recorded: Recorded) -> None:
    stream: Any = FakeStream()
    source = Generator(PHILOX, stream, seed=5, ordering=Ordering.PSEUDO_DYNAMIC)
    memory = fake_buffer(stream, 64)
    assert source.uniform(memory, dtype="float64", count=6) is memory
    source.normal(memory, 1.0, 2.0, dtype=np.float32)
    source.bits(memory)
    source.poisson(memory, 3.0)
    other: Any = FakeStream(88)
    source.use(other)
    source.prepare()
    assert recorded.names[:2] == ["curandCreateGenerator", "curandSetStream"]
    h = source.handle
    assert recorded.calls[1:] == [
        ("curandSetStream", h, 77),
        ("curandSetGeneratorOrdering", h, Ordering.PSEUDO_DYNAMIC),
        ("curandSetPseudoRandomGeneratorSeed", h, 5),
        ("curandSetGeneratorOffset", h, 0),
        ("curandGenerateUniformDouble", h, 0x100000, 6),
        ("curandGenerateNormal", h, 0x100000, 16, 1.0, 2.0),
        ("curandGenerate", h, 0x100000, 16),
        ("curandGeneratePoisson", h, 0x100000, 16, 3.0),
        ("curandSetStream", h, 88),
        ("curandGenerateSeeds", h),
    ]
    assert stream.used == [memory] * 4
    source.close()
    assert recorded.calls[-1] == ("curandDestroyGenerator", h)


def test_refused_on_a_gpu(recorded: Recorded) -> None:
    stream: Any = FakeStream()
    source, memory = Generator(PHILOX, stream), fake_buffer(stream, 64)
    with pytest.raises(TypeError, match="makes float32 or float64, not uint8"):
        source.uniform(memory)
    with pytest.raises(ValueError, match="17 numbers into room for 16 float32"):
        source.uniform(memory, dtype="float32", count=17)
    foreign = AdoptedBuffer.over(stream, 64, FakeMemory(0x200000))  # type: ignore[arg-type]
    foreign.dtype = np.dtype(">f4")
    for out, dtype in ((foreign, None), (memory, ">f4")):
        with pytest.raises(TypeError, match="numbers of >f4 have not the byte order of this machine"):
            source.uniform(out, dtype=dtype)
    with pytest.raises(TypeError, match="fills device memory, not a NumPy array"):
        source.uniform(F32)
    with pytest.raises(ValueError, match=r"FakeStream\(1\) is not of GPU 0"):
        source.use(FakeStream(1, ordinal=1))  # type: ignore[arg-type]
    assert recorded.names == ["curandCreateGenerator", "curandSetStream"]


def test_poisson_distribution(recorded: Recorded) -> None:
    device: Any = FakeStream().device
    with PoissonDistribution(device, 2.5) as distribution:
        handle = distribution.handle
    name, rate, made = recorded.calls[0]
    assert (name, rate, type(made._obj)) == ("curandCreatePoissonDistribution", 2.5, ctypes.c_void_p)
    assert recorded.calls[1] == ("curandDestroyDistribution", handle)
