"""Causal convolutions without a GPU: sizes, what is refused, what is passed on, and what an older cuDNN answers."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import pytest

from gocudnn_py._abi.cudnn import FUNCTIONS, CausalConv1dActivation, DataType
from gocudnn_py.cudnn import subquadratic
from gocudnn_py.cudnn.subquadratic import (
    CausalConvolution,
    FftConvolution,
    HyenaConvolution,
    LongFftConvolution,
    check_version,
    gradient_type,
)
from gocudnn_py.errors import BadParameter, NotInThisVersion, SetupFailed
from tests.gocudnn_py.cudnn_calls import STREAM, Recorder, buffers, older_library, skip_what_is_missing, stream

SILU = CausalConv1dActivation.SILU
FLOAT, DOUBLE, HALF = DataType.FLOAT, DataType.DOUBLE, DataType.HALF
NAMES = ("x", "w", "b", "y", "dy", "dx", "dw", "db", "projection", "mixer", "skip", "gated", "dgated")
GRADIENTS = ("dprojection", "dmixer", "dskip", "workspace", "reserve")
AT = buffers(**dict.fromkeys((*NAMES, *GRADIENTS), 10**7))
HEADER = "cudnn_subquadratic_ops.h"


def addresses(**places: str) -> dict[str, int]:
    """Addresses of buffers, by the C parameter each goes to."""
    return {name: getattr(AT, place).pointer for name, place in places.items()}


@pytest.fixture
def lib(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    def sizes(workspaceSizeInBytes: Any, reserveSpaceSizeInBytes: Any, **_: Any) -> None:
        workspaceSizeInBytes.value, reserveSpaceSizeInBytes.value = 100, 200

    recorder = Recorder(cudnnLongFFTCausalConv1dGetBufferSizes=sizes)
    monkeypatch.setattr(subquadratic, "load", lambda name: recorder)
    return recorder


@pytest.fixture
def newer(cudnn: Any, request: pytest.FixtureRequest) -> Any:
    """The library, if it has the functions that the test is marked to check."""
    skip_what_is_missing(request)
    return cudnn


@pytest.mark.parametrize("channels_last", [False, True])
def test_direct_ones_pass_everything_on(channels_last: bool, lib: Recorder) -> None:
    made, on = CausalConvolution(2, 3, 16, 4, HALF, SILU, channels_last), stream()
    made.forward(on, AT.x, AT.w, AT.b, AT.y)
    made.backward(on, AT.x, AT.w, AT.b, AT.dy, AT.dx, AT.dw, AT.db)
    layout = "Nwh" if channels_last else ""
    shared = {
        "stream": STREAM,
        "batch": 2,
        "dim": 3,
        "seqLen": 16,
        "kernelSize": 4,
        "dataType": HALF,
        "activation": SILU,
    }
    shared |= addresses(x="x", weight="w", bias="b")
    gradients = addresses(dy="dy", dx="dx", dweight="dw", dbias="db") | {"dwDataType": FLOAT}
    assert lib.calls == [
        (f"cudnnCausalConv1d{layout}Forward", shared | addresses(y="y")),
        (f"cudnnCausalConv1d{layout}Backward", shared | gradients),
    ]
    assert on.entered == 2


def test_hyena_passes_everything_on(lib: Recorder) -> None:
    made, on = HyenaConvolution(2, 3, 16, 4, 7, np.float64), stream()
    given = AT.x, AT.projection, AT.mixer, AT.skip, AT.y
    made.forward(on, *given, AT.gated)
    made.backward(on, *given, AT.dgated, AT.dx, AT.dprojection, AT.dmixer, AT.dskip)
    shared = {"stream": STREAM, "batch": 2, "dim": 3, "seqLen": 16, "kernelSizeProj": 4, "kernelSizeMixer": 7}
    shared |= addresses(x="x", weightsProj="projection", weightsMixer="mixer", skipBias="skip", y="y")
    shared["dataType"] = DOUBLE
    gradients = addresses(dy="dgated", dx="dx", dweightsProj="dprojection", dweightsMixer="dmixer", dskipBias="dskip")
    assert lib.calls == [
        ("cudnnB2BCausalConv1dForward", shared | addresses(yGated="gated")),
        ("cudnnB2BCausalConv1dBackward", shared | gradients | {"dwDataType": DOUBLE}),
    ]
    assert on.entered == 2


def test_ffts_pass_everything_on(lib: Recorder) -> None:
    made, on = FftConvolution(2, 3, 256, 128, HALF), stream()
    made.forward(on, AT.x, AT.w, AT.y)
    made.backward(on, AT.x, AT.w, AT.dy, AT.dx, AT.dw)
    shared = {"stream": STREAM, "batch": 2, "dim": 3, "seqLen": 256, "kernelSize": 128, "dataType": HALF}
    shared |= addresses(x="x", weight="w")
    assert lib.calls == [
        ("cudnnFFTCausalConv1dForward", shared | addresses(y="y")),
        ("cudnnFFTCausalConv1dBackward", shared | addresses(dy="dy", dx="dx", dweight="dw")),
    ]
    assert on.entered == 2


def test_long_ffts_pass_everything_on(lib: Recorder) -> None:
    made, on, scratch = (
        LongFftConvolution(2, 3, 4096, HALF),
        stream(),
        {"workspace": AT.workspace, "reserve": AT.reserve},
    )
    assert made.sizes() == (100, 200)
    made.forward(on, AT.x, AT.w, AT.y, **scratch)
    made.backward(on, AT.dy, AT.dx, AT.dw, **scratch)
    shared = {"stream": STREAM, "batch": 2, "dim": 3, "seqLen": 4096, "kernelSize": 4096, "dataType": HALF}
    shared |= addresses(workspace="workspace", reserveSpace="reserve")
    shared |= {"workspaceSizeInBytes": 100, "reserveSpaceSizeInBytes": 200}
    runs = [call for call in lib.calls if "Sizes" not in call[0]]
    assert runs == [
        ("cudnnLongFFTCausalConv1dForward", shared | addresses(x="x", weight="w", y="y")),
        ("cudnnLongFFTCausalConv1dBackward", shared | addresses(dy="dy", dx="dx", dweight="dw")),
    ]
    assert on.entered == 2


def test_buffers_live_until_the_work_is_given(lib: Recorder) -> None:
    """A buffer that only the call holds is given back, in stream order, when the last name of it goes."""
    given: list[weakref.ref[Any]] = []

    class Temporary:
        nbytes = 10**7

        def __init__(self) -> None:
            given.append(weakref.ref(self))
            self.pointer = 0x10000 * len(given)

    def alive(**_: Any) -> None:
        assert all(each() is not None for each in given)

    fft, long = FftConvolution(2, 3, 256, 128), LongFftConvolution(2, 3, 4096)
    scratch = {"workspace": AT.workspace, "reserve": AT.reserve}
    runs = {
        "cudnnFFTCausalConv1dForward": lambda: fft.forward(stream(), Temporary(), Temporary(), Temporary()),
        "cudnnFFTCausalConv1dBackward": lambda: fft.backward(
            stream(), Temporary(), Temporary(), Temporary(), Temporary(), Temporary()
        ),
        "cudnnLongFFTCausalConv1dForward": lambda: long.forward(
            stream(), Temporary(), Temporary(), Temporary(), **scratch
        ),
        "cudnnLongFFTCausalConv1dBackward": lambda: long.backward(
            stream(), Temporary(), Temporary(), Temporary(), **scratch
        ),
    }
    for name, run in runs.items():
        given.clear()
        lib.answers[name] = alive
        run()
        assert given
        assert all(each() is None for each in given)


def test_types_of_gradients() -> None:
    assert [gradient_type(dtype) for dtype in (np.float64, np.float32, HALF, "bfloat16")] == [
        DOUBLE,
        FLOAT,
        FLOAT,
        FLOAT,
    ]


def direct(**changed: Any) -> CausalConvolution:
    return CausalConvolution(**({"batch": 2, "channels": 3, "length": 16, "taps": 4} | changed))


def run_fft(**changed: Any) -> None:
    places = {"x": AT.x, "w": AT.w, "y": AT.y} | changed
    FftConvolution(2, 3, 256, 128).forward(stream(), **places)


def run_long(**changed: Any) -> None:
    scratch = {"workspace": AT.workspace, "reserve": AT.reserve} | changed
    LongFftConvolution(2, 3, 4096).backward(stream(), AT.dy, AT.dx, AT.dw, **scratch)


WRONG: list[tuple[Any, str]] = [
    (lambda: direct(batch=0), "batch is 0, outside 1"),
    (lambda: direct(length=2**31), "length is 2147483648, outside 1"),
    (lambda: direct(taps=1), "taps is 1, outside 2 to 256"),
    (lambda: direct(taps=257), "taps is 257, outside 2 to 256"),
    (lambda: direct(taps=129, channels_last=True), "taps is 129, outside 2 to 128"),
    (lambda: direct(dtype=np.int8), "takes FLOAT, DOUBLE, HALF, BFLOAT16, not INT8"),
    (lambda: direct().forward(stream(), buffers(a=383).a, 1, 1, 1), "x takes 384 bytes, the buffer holds 383"),
    (lambda: direct().forward(stream(), 1, buffers(a=47).a, 1, 1), "w takes 48 bytes, the buffer holds 47"),
    (lambda: direct().forward(stream(), 1, 1, None, 1), "b is missing, it takes 12 bytes"),
    (lambda: HyenaConvolution(2, 3, 16, 33, 7), "projection_taps is 33, outside 2 to 32"),
    (lambda: HyenaConvolution(2, 3, 16, 4, 257), "mixer_taps is 257, outside 2 to 256"),
    (
        lambda: HyenaConvolution(2, 3, 16, 4, 7).forward(stream(), buffers(a=1151).a, 1, 1, 1, 1, 1),
        "x takes 1152 bytes, the buffer holds 1151",
    ),
    (lambda: FftConvolution(2, 3, 300, 100), "taps is 100, no power of two from 128 to 16384"),
    (lambda: FftConvolution(2, 3, 256, 64), "taps is 64, no power of two from 128"),
    (lambda: FftConvolution(2, 3, 300, 128), "128 taps do not divide a length of 300"),
    (lambda: run_fft(x=AT.x.pointer + 4), "x is at 0x10004, which is no multiple of 16 bytes"),
    (lambda: run_fft(w=buffers(a=1535).a), "w takes 1536 bytes, the buffer holds 1535"),
    (lambda: LongFftConvolution(2, 3, 2048), "length is 2048, no power of two from 4096 to 16777216"),
    (lambda: LongFftConvolution(2, 3, 5000), "length is 5000, no power of two"),
    (lambda: run_long(workspace=buffers(a=99).a), "workspace takes 100 bytes, the buffer holds 99"),
    (lambda: run_long(reserve=None), "reserve is missing, it takes 200 bytes"),
]


@pytest.mark.parametrize(("mistake", "message"), WRONG, ids=[row[1][:40] for row in WRONG])
def test_mistakes_are_refused(mistake: Any, message: str, lib: Recorder) -> None:
    with pytest.raises(ValueError, match=message):
        mistake()
    assert all("Sizes" in name for name, _ in lib.calls)


@pytest.mark.covers("cudnnSubquadraticOpsVersionCheck")
def test_versions_agree(newer: Any) -> None:
    check_version()


@pytest.mark.covers("cudnnLongFFTCausalConv1dGetBufferSizes")
def test_long_ffts_hold_a_spectrum_of_every_sequence_and_filter(newer: Any) -> None:
    for length in (4096, 8192, 2**20):
        one = LongFftConvolution(1, 1, length).sizes()[0] // 2
        assert length * 8 < one < 1.1 * length * 8
        assert LongFftConvolution(2, 3, length).sizes() == (9 * one, 9 * one)
        assert LongFftConvolution(2, 3, length, np.float16).sizes() == (9 * one, 9 * one)
        assert LongFftConvolution(2, 3, length, np.float64).sizes() == (18 * one, 18 * one)


def test_limits_are_cudnns_own(cudnn: Any, no_gpu: None) -> None:
    """What we refuse cuDNN refuses in fewer words, and nothing else: then it says that there is no GPU."""
    for name, last in (("cudnnCausalConv1dForward", 256), ("cudnnCausalConv1dNwhForward", 128)):
        if not hasattr(cudnn, name):
            pytest.skip(f"{name} is not in {cudnn!r}")
        for taps in (1, 2, 9, 128, 129, 256, 257):
            expected = SetupFailed if 2 <= taps <= last else BadParameter
            with pytest.raises(expected, match=name):
                getattr(cudnn, name)(0, 256, 256, 256, 256, 1, 2, 16, taps, FLOAT, SILU)


def test_an_older_library_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    old, on = older_library(), stream()
    monkeypatch.setattr(subquadratic, "load", lambda name: old)
    first, last = direct(), direct(channels_last=True)
    pair, fft, long = HyenaConvolution(2, 3, 16, 4, 7), FftConvolution(2, 3, 256, 128), LongFftConvolution(2, 3, 4096)
    inputs, scratch = (AT.x, AT.w, AT.b), {"workspace": AT.workspace, "reserve": AT.reserve}
    gradients, fused = (AT.dy, AT.dx, AT.dw, AT.db), (AT.x, AT.projection, AT.mixer, AT.skip, AT.y)
    runs = {
        "cudnnSubquadraticOpsVersionCheck": check_version,
        "cudnnCausalConv1dForward": lambda: first.forward(on, *inputs, AT.y),
        "cudnnCausalConv1dBackward": lambda: first.backward(on, *inputs, *gradients),
        "cudnnCausalConv1dNwhForward": lambda: last.forward(on, *inputs, AT.y),
        "cudnnCausalConv1dNwhBackward": lambda: last.backward(on, *inputs, *gradients),
        "cudnnB2BCausalConv1dForward": lambda: pair.forward(on, *fused, AT.gated),
        "cudnnB2BCausalConv1dBackward": lambda: pair.backward(
            on, *fused, AT.dgated, AT.dx, AT.dprojection, AT.dmixer, AT.dskip
        ),
        "cudnnFFTCausalConv1dForward": lambda: fft.forward(on, AT.x, AT.w, AT.y),
        "cudnnFFTCausalConv1dBackward": lambda: fft.backward(on, AT.x, AT.w, AT.dy, AT.dx, AT.dw),
        "cudnnLongFFTCausalConv1dGetBufferSizes": long.sizes,
        "cudnnLongFFTCausalConv1dForward": lambda: long.forward(on, AT.x, AT.w, AT.y, **scratch),
        "cudnnLongFFTCausalConv1dBackward": lambda: long.backward(on, AT.dy, AT.dx, AT.dw, **scratch),
    }
    assert runs.keys() == {name for name, row in FUNCTIONS.items() if row.header == HEADER}
    for name, run in runs.items():
        assert not hasattr(old, name)
        asked = "cudnnLongFFTCausalConv1dGetBufferSizes" if "LongFFT" in name else name
        with pytest.raises(NotInThisVersion, match=rf"^{asked} is not in cuDNN 9\.19\.0, loaded from "):
            run()


def test_this_library_has_the_functions_or_says_so(cudnn: Any) -> None:
    names = [name for name, row in FUNCTIONS.items() if row.header == HEADER]
    there = {name for name in names if hasattr(cudnn, name)}
    if cudnn.version < (9, 22):
        assert not there
    if cudnn.version >= (9, 26) and cudnn.parts.present("ext"):
        assert there == {*names}
