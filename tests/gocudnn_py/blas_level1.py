"""Cases of vectors with vectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from gocudnn_py import cublas
from tests.gocudnn_py.blas_cases import COMPLEX, FOUR, HALF, LETTERS, REAL, UNIT, Desk, Item, case, near, widened

ALL = FOUR + HALF
WHERE = ("host", "device")
STRIDES = ((1, 1), (2, 3), (-2, 1), (1, -3))
SIZE = 37


def with_half(stem: str, half: str) -> Any:
    return lambda dtype, **_: (f"cublas{half}" if dtype in HALF else f"cublas{stem.format(LETTERS[dtype])}_v2",)


def by_length(stem: str, half: str = "") -> Any:
    letters = {"float32": "S", "float64": "D", "complex64": "Sc", "complex128": "Dz"}
    return lambda dtype, **_: (f"cublas{half}" if dtype in HALF else f"cublas{letters[dtype]}{stem}_v2",)


def with_real(stem: str, half: str) -> Any:
    letters = {"complex64": "Cs", "complex128": "Zd"}

    def names(dtype: str, real: bool, **_: Any) -> tuple[str, ...]:
        if dtype in HALF:
            return (f"cublas{half}",)
        return (f"cublas{letters[dtype] if real and dtype in COMPLEX else LETTERS[dtype]}{stem}_v2",)

    return names


def real_only(dtype: str, real: bool, **_: Any) -> bool:
    """A complex factor is for complex vectors."""
    return dtype not in COMPLEX and not real


def apart(desk: Desk) -> Item:
    """A vector whose elements all differ in size."""
    numbers = 1.0 + desk.random.permutation(SIZE)
    return desk.vector(SIZE, 2, numbers * np.where(numbers % 2, 1, -1))


@case(with_half("{}axpy", "AxpyEx"), ALL, strides=STRIDES, where=WHERE)
def axpy(desk: Desk, strides: tuple[int, int], where: str) -> None:
    x, y = (desk.vector(SIZE, stride) for stride in strides)
    alpha = 0.5 - 0.25j if desk.dtype in COMPLEX else 0.5
    kind = "float32" if desk.dtype in HALF else None
    cublas.axpy(desk.handle, x.at, y.at, alpha=desk.scalar(alpha, where, kind))
    desk.check(y, alpha * x.value + y.value, abs(alpha) * x.size + y.size)


def dot_names(dtype: str, conjugate: bool, **_: Any) -> tuple[str, ...]:
    if dtype in HALF:
        return ("cublasDotcEx" if conjugate else "cublasDotEx",)
    kind = "" if dtype in REAL else "c" if conjugate else "u"
    return (f"cublas{LETTERS[dtype]}dot{kind}_v2",)


@case(dot_names, ALL, strides=STRIDES, where=WHERE, conjugate=(False, True))
def dot(desk: Desk, strides: tuple[int, int], where: str, conjugate: bool) -> None:
    x, y = (desk.vector(SIZE, stride) for stride in strides)
    out = desk.out(where)
    given = cublas.dot(desk.handle, x.at, y.at, conjugate=conjugate, out=out and out.at)
    desk.check_number(given, out, (x.value.conj() if conjugate else x.value) @ y.value, x.size @ y.size)


@case(by_length("nrm2", "Nrm2Ex"), ALL, stride=(1, 3), where=WHERE)
def nrm2(desk: Desk, stride: int, where: str) -> None:
    x, out = desk.vector(SIZE, stride), desk.out(where, desk.real)
    right = np.linalg.norm(x.value)
    desk.check_number(cublas.nrm2(desk.handle, x.at, out=out and out.at), out, right, right)


@case(by_length("asum"), FOUR, stride=(1, 3), where=WHERE)
def asum(desk: Desk, stride: int, where: str) -> None:
    x, out = desk.vector(SIZE, stride), desk.out(where, desk.real)
    right = np.sum(np.abs(x.value.real) + np.abs(x.value.imag))
    desk.check_number(cublas.asum(desk.handle, x.at, out=out and out.at), out, right, right)


def index_names(stem: str) -> Any:
    half = "IamaxEx" if stem == "amax" else "IaminEx"
    return lambda dtype, **_: (f"cublas{half}" if dtype in HALF else f"cublasI{LETTERS[dtype].lower()}{stem}_v2",)


@case(index_names("amax"), ALL, where=WHERE)
def iamax(desk: Desk, where: str) -> None:
    x, out = apart(desk), desk.out(where, desk.index)
    given = cublas.iamax(desk.handle, x.at, out=out and out.at)
    desk.check_number(given, out, int(np.argmax(x.size)) + 1, 0)


@case(index_names("amin"), ALL, where=WHERE)
def iamin(desk: Desk, where: str) -> None:
    x, out = apart(desk), desk.out(where, desk.index)
    given = cublas.iamin(desk.handle, x.at, out=out and out.at)
    desk.check_number(given, out, int(np.argmin(x.size)) + 1, 0)


@case(with_real("scal", "ScalEx"), ALL, where=WHERE, real=(True, False), skip=real_only)
def scal(desk: Desk, where: str, real: bool) -> None:
    x, alpha = desk.vector(SIZE, 2), 0.75 if real else 0.75 - 0.5j
    kind = "float32" if desk.dtype in HALF else desk.real if real else desk.dtype
    cublas.scal(desk.handle, x.at, desk.scalar(alpha, where, kind))
    desk.check(x, alpha * x.value, abs(alpha) * x.size)


@case(with_half("{}copy", "CopyEx"), ALL, strides=STRIDES)
def copy(desk: Desk, strides: tuple[int, int]) -> None:
    x, y = (desk.vector(SIZE, stride) for stride in strides)
    cublas.copy(desk.handle, x.at, y.at)
    desk.check(y, x.value, 0)


@case(with_half("{}swap", "SwapEx"), ALL, strides=STRIDES)
def swap(desk: Desk, strides: tuple[int, int]) -> None:
    x, y = (desk.vector(SIZE, stride) for stride in strides)
    cublas.swap(desk.handle, x.at, y.at)
    desk.check(y, x.value, 0)
    desk.check(x, y.value, 0)


@case(with_real("rot", "RotEx"), ALL, strides=STRIDES, where=WHERE, real=(True, False), skip=real_only)
def rot(desk: Desk, strides: tuple[int, int], where: str, real: bool) -> None:
    x, y = (desk.vector(SIZE, stride) for stride in strides)
    c, s = 0.5, 0.75 if real else 0.25 + 0.75j  # exact in every type; the formula holds whether or not it rotates
    cosine, sine = desk.scalar(c, where, desk.real), desk.scalar(s, where, desk.real if real else desk.dtype)
    cublas.rot(desk.handle, x.at, y.at, cosine, sine)
    desk.check(x, c * x.value + s * y.value, c * x.size + abs(s) * y.size)
    desk.check(y, c * y.value - np.conj(s) * x.value, c * y.size + abs(s) * x.size)


@case(with_half("{}rotg", "RotgEx"), ALL, where=WHERE)
def rotg(desk: Desk, where: str) -> None:
    a, b = (0.75 + 1j, -1.5 + 0.5j) if desk.dtype in COMPLEX else (0.75, -1.5)
    if where == "host":
        r, _, c, s = cublas.rotg(desk.handle, a, b, dtype=desk.dtype)
    else:
        items = [desk.vector(1, 1, np.array([value])) for value in (a, b, 0)]
        cosine = desk.vector(1, 1, np.zeros(1), desk.real)
        assert cublas.rotg(desk.handle, items[0].at, items[1].at, cosine.at, items[2].at, dtype=desk.dtype) is None
        r, c, s = (desk.read(item)[0] for item in (items[0], cosine, items[2]))
    size = np.array(abs(a) + abs(b))
    near(np.array(c * a + s * b), np.array(r), size, UNIT[desk.dtype])
    near(np.array(c * b - np.conj(s) * a), np.array(0), size, UNIT[desk.dtype])
    near(np.array(abs(c) ** 2 + abs(s) ** 2), np.array(1), np.array(1), UNIT[desk.dtype])


def h_of(parameters: Any) -> Any:
    """The matrix of five parameters."""
    flag, h11, h21, h12, h22 = parameters
    full = {-1: ((h11, h12), (h21, h22)), 0: ((1, h12), (h21, 1)), 1: ((h11, 1), (-1, h22)), -2: ((1, 0), (0, 1))}
    return np.array(full[int(flag)])


@case(with_half("{}rotm", "RotmEx"), REAL + HALF, strides=STRIDES, where=WHERE, flag=(-2, -1, 0, 1))
def rotm(desk: Desk, strides: tuple[int, int], where: str, flag: int) -> None:
    x, y = (desk.vector(SIZE, stride) for stride in strides)
    parameters = [float(flag), 0.5, -0.25, 2.0, 1.5]
    five = parameters if where == "host" else desk.vector(5, 1, np.array(parameters)).at
    cublas.rotm(desk.handle, x.at, y.at, five)
    h = h_of(parameters)
    right, size = h @ [x.value, y.value], np.abs(h) @ [x.size, y.size]
    desk.check(x, right[0], size[0])
    desk.check(y, right[1], size[1])


@case(with_half("{}rotmg", "RotmgEx"), REAL + HALF, where=WHERE, values=((2, 1, 1.5, 0.5), (1, 2, 0.5, 1.5)))
def rotmg(desk: Desk, where: str, values: tuple[float, ...]) -> None:
    d1, d2, x1, y1 = values
    if where == "host":
        found = cublas.rotmg(desk.handle, *values, dtype=desk.dtype)
    else:
        items = [desk.vector(1, 1, np.array([value])) for value in values]
        five = desk.vector(5, 1, np.zeros(5))
        assert cublas.rotmg(desk.handle, *(item.at for item in items), five.at, dtype=desk.dtype) is None
        found = (*(desk.read(item)[0].real for item in items[:3]), desk.read(five).real)
    h, before = h_of(found[3]), np.array([x1, y1])
    near(h @ before, np.array([found[2], 0]), np.abs(h) @ before, UNIT[desk.dtype])
    length = np.array(d1 * x1**2 + d2 * y1**2)
    near(np.array(found[0] * found[2] ** 2), length, length, UNIT[desk.dtype])


@case(lambda dtype, **_: ("cublasSetVectorAsync", "cublasGetVectorAsync"), ALL)
def vectors_of_the_host(desk: Desk) -> None:
    from gocudnn_py.dtypes import numpy_dtype

    x, array = desk.vector(SIZE, 3), np.zeros((SIZE, 2), numpy_dtype(desk.dtype))
    array[:, 0] = desk.numbers(SIZE).astype(array.dtype)
    cublas.upload(desk.handle, array[:, 0], x.at)
    desk.check(x, widened(array[:, 0]), 0)
    array[:, 1] = array[:, 0]
    array[:, 0] = 0
    cublas.download(desk.handle, x.at, array[:, 0])
    assert (array[:, 0] == array[:, 1]).all()
