"""What cuBLAS's batched LU and QR do to column-major memory."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from tests.gocudnn_py.column_major import ColumnMajor, does, matrix, members, put, turned, view, wide


@does("getrfBatched")
def getrf(library: ColumnMajor, c: SimpleNamespace) -> None:
    for index in range(c.batchSize):
        a = matrix(*members(c, index, "A"), c.dtype, c.n, c.n, c.lda)
        work, order = wide(a), []
        for k in range(c.n):
            best = k + int(np.argmax(np.abs(work[k:, k]))) if c.P else k
            work[[k, best]] = work[[best, k]]
            order.append(best + 1)
            work[k + 1 :, k] /= work[k, k]
            work[k + 1 :, k + 1 :] -= np.outer(work[k + 1 :, k], work[k, k + 1 :])
        put(a, work)
        if c.P:
            view(c.P + 4 * c.n * index, np.int32, (c.n,), (1,))[...] = order
        view(c.info, np.int32, (c.batchSize,), (1,))[index] = 0


def unfactored(c: SimpleNamespace, place: int, pivots: int | None, index: int) -> Any:
    lu = wide(matrix(place, c.dtype, c.n, c.n, c.lda))
    a = (np.tril(lu, -1) + np.eye(c.n)) @ np.triu(lu)
    if pivots:
        order = view(pivots + 4 * c.n * index, np.int32, (c.n,), (1,))
        for k in range(c.n - 1, -1, -1):
            a[[k, order[k] - 1]] = a[[order[k] - 1, k]]
    return a


@does("getrsBatched")
def getrs(library: ColumnMajor, c: SimpleNamespace) -> None:
    for index in range(c.batchSize):
        place, target = members(c, index, "A", "B")
        a, b = unfactored(c, place, c.devIpiv, index), matrix(target, c.dtype, c.n, c.nrhs, c.ldb)
        put(b, np.linalg.solve(turned(a, c.trans), wide(b)))


@does("getriBatched", "matinvBatched")
def getri(library: ColumnMajor, c: SimpleNamespace) -> None:
    direct = c.stem == "matinvBatched"
    for index in range(c.batchSize):
        place, target = members(c, index, "A", "Ainv" if direct else "C")
        a = wide(matrix(place, c.dtype, c.n, c.n, c.lda)) if direct else unfactored(c, place, c.P, index)
        put(matrix(target, c.dtype, c.n, c.n, c.lda_inv if direct else c.ldc), np.linalg.inv(a))
        view(c.info, np.int32, (c.batchSize,), (1,))[index] = 0


@does("geqrfBatched")
def geqrf(library: ColumnMajor, c: SimpleNamespace) -> None:
    for index in range(c.batchSize):
        place, tau_place = members(c, index, "A", "TauArray")
        a = matrix(place, c.dtype, c.m, c.n, c.lda)
        work, taus = wide(a), view(tau_place, c.dtype, (min(c.m, c.n),), (1,))
        for k in range(min(c.m, c.n)):
            put(taus[k : k + 1], reflect(work, k))
        put(a, work)


def reflect(work: Any, k: int) -> Any:
    """One Householder step: column k below the diagonal becomes the reflection; its factor is returned."""
    first, length = work[k, k], np.linalg.norm(work[k:, k])
    r = -length * first / abs(first)
    v = work[k:, k].copy()
    v[0] = 1
    v[1:] /= first - r
    tau = (r - first) / r
    work[k:, k + 1 :] -= np.conj(tau) * np.outer(v, v.conj() @ work[k:, k + 1 :])
    work[k, k], work[k + 1 :, k] = r, v[1:]
    return tau


@does("gelsBatched")
def gels(library: ColumnMajor, c: SimpleNamespace) -> None:
    assert c.trans == 0
    for index in range(c.batchSize):
        place, target = members(c, index, "A", "C")
        a, b = matrix(place, c.dtype, c.m, c.n, c.lda), matrix(target, c.dtype, c.m, c.nrhs, c.ldc)
        put(b[: c.n], np.linalg.lstsq(wide(a), wide(b), rcond=None)[0])
        if c.devInfoArray:
            view(c.devInfoArray, np.int32, (c.batchSize,), (1,))[index] = 0
