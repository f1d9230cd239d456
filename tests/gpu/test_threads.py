"""Sixteen threads at once on one card: kernels and plans that they share, handles and streams of their own."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from gocudnn_py import cublas
from gocudnn_py.cuda import DeviceBuffer, Module, Scalar
from gocudnn_py.cudnn import PoolingDescriptor, PoolingMode, TensorDescriptor, current_handle
from gocudnn_py.cudnn.graph import Graph, choose_plan
from gocudnn_py.matrix import Matrix

if TYPE_CHECKING:
    from gocunets.backends.cudnn import CudaBackend

THREADS, ROUNDS = 16, 40
SAXPY = """
extern "C" __global__ void saxpy(float a, const float* x, float* y, int n)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = a * x[i] + y[i];
}
"""
SHAPE = (2, 4, 8, 8)


def test_sixteen_threads(backend: CudaBackend) -> None:
    device, gate = backend.device, threading.Barrier(THREADS)
    signature = [Scalar.float32, Scalar.pointer, Scalar.pointer, Scalar.int32]
    kernel = Module(device, SAXPY).kernel("saxpy", signature)
    pool = PoolingDescriptor().set(PoolingMode.MAX_DETERMINISTIC, window=(2, 2))
    graph = Graph()
    gx, gw = graph.tensor("x", SHAPE, "float32"), graph.tensor("w", (4, 4, 1, 1), "float32")
    gy = graph.output(graph.convolution(gx, gw), "y", dtype="float32")
    plan = choose_plan(graph, current_handle(device.ordinal, backend.stream))

    def work(number: int) -> None:
        gate.wait()
        stream, random = device.stream(), np.random.default_rng(number)
        handle, blas = current_handle(device.ordinal, stream), cublas.Handle(stream)
        x = random.integers(-8, 8, SHAPE).astype(np.float32)
        on_x, w = DeviceBuffer(stream, x.nbytes), DeviceBuffer(stream, 64)
        w.upload(np.eye(4, dtype=np.float32))
        for step in range(ROUNDS):
            on_x.upload(x)
            y = DeviceBuffer(stream, x.nbytes, zeroed=True)
            kernel.launch(stream, [2], [256], [2.0, on_x, y, x.size])
            run = plan.bind({gx: y, gw: w, gy: on_x}, DeviceBuffer(stream, plan.workspace))
            run(handle)  # the identity of 2 x
            pooled = DeviceBuffer(stream, x.nbytes // 4)
            with TensorDescriptor() as one, TensorDescriptor() as other:
                one.set("float32", SHAPE)
                other.set("float32", pool.output_shape(one))
                pool.forward(handle, one.at(on_x), other.at(pooled))
            a, c = Matrix(pooled, 8, 16), DeviceBuffer(stream, 16 * 16 * 4)
            cublas.gemm(blas, a.T, a, Matrix(c, 16, 16))
            found = pooled.download(np.empty((2, 4, 4, 4), np.float32))
            right = 2 * x.reshape(2, 4, 4, 2, 4, 2).max(axis=(3, 5))
            assert (found == right).all(), (number, step)
            rows = right.reshape(8, 16)
            assert (c.download(np.empty((16, 16), np.float32)) == rows.T @ rows).all(), (number, step)

    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(work, range(THREADS)))
