"""The driver's few calls, against a small libcuda made here; and what is said when there is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gocudnn_py import driver
from gocudnn_py.errors import NoDevice

FAKE = """
#include <string.h>
#include <stddef.h>
#include <stdio.h>
int cuInit(unsigned f) { return INIT; }
int cuDriverGetVersion(int *v) { *v = 12080; return 0; }
int cuDeviceGetCount(int *n) { *n = 2; return 0; }
int cuDeviceGet(int *d, int i) { *d = i; return i < 2 ? 0 : 101; }
int cuDeviceGetName(char *s, int n, int d) { snprintf(s, n, "Fake %d", d); return 0; }
int cuDeviceTotalMem_v2(size_t *n, int d) { *n = 5ull << 30; return 0; }
int cuDeviceGetAttribute(int *v, int a, int d) { *v = a == 75 ? 9 : 0; return 0; }
int cuGetErrorName(int s, const char **t) { *t = s == 101 ? "CUDA_ERROR_INVALID_DEVICE" : 0; return 0; }
int cuGetErrorString(int s, const char **t) { *t = "invalid device ordinal"; return 0; }
static int say(const char *what, void *c) { printf("%s %p\\n", what, c); fflush(stdout); return 0; }
int cuDevicePrimaryCtxRetain(void **c, int d) { *c = (char *)0x700000000000 + d; return say("retain", *c); }
static void *current;
int cuCtxGetCurrent(void **c) { *c = current; return 0; }
int cuCtxPushCurrent_v2(void *c) { current = c; return say("push", c); }
int cuCtxPopCurrent_v2(void **c) { *c = current; current = 0; return say("pop", *c); }
"""
USE = """
    from gocudnn_py import driver
    from gocudnn_py.errors import GocudnnError
    driver.FILE = {path!r}
    try:
        print(driver.version(), driver.gpus())
        for _ in range(2):
            with driver.primary_context(1), driver.primary_context(1):
                print("inside")
        with driver.primary_context(2):
            pass
    except GocudnnError as error:
        print(type(error).__name__, error)
"""


@pytest.fixture
def use(compile_c: Callable[..., Path], run_python: Callable[..., Any], tmp_path: Path) -> Callable[[int], list[str]]:
    def use(init: int) -> list[str]:
        path = compile_c(FAKE.replace("INIT", str(init)), tmp_path / "libfakecuda.so")
        return run_python(USE.format(path=str(path)), PYTHONUNBUFFERED="1").stdout.splitlines()

    return use


def test_gpus_and_primary_contexts(use: Callable[[int], list[str]]) -> None:
    gpus = [driver.Gpu(i, f"Fake {i}", (9, 0), 5 << 30) for i in range(2)]
    entered = ["push 0x700000000001", "inside", "pop 0x700000000001"]  # once: it is current already
    assert use(0) == [
        f"(12, 8) {gpus}",
        "retain 0x700000000001",  # once, and never given back
        *entered,
        *entered,
        "CudaError cuDeviceGet: CUDA_ERROR_INVALID_DEVICE (101): invalid device ordinal",
    ]


def test_a_driver_that_finds_no_gpu(use: Callable[[int], list[str]]) -> None:
    assert use(100) == ["NoDevice the NVIDIA driver is there but unusable: cuInit: CUDA error (100)"]


def test_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "FILE", "libcuda-that-is-not-there.so")
    driver.library.cache_clear()
    with pytest.raises(NoDevice, match="no NVIDIA driver on this machine: libcuda-that-is-not-there"):
        driver.version()


@pytest.mark.gpu
def test_the_real_driver(gpu: driver.Gpu) -> None:
    assert gpu.memory > 2**30
    assert driver.version() >= (12, 0)
    with driver.primary_context(gpu.number):
        pass
