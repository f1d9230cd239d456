"""cuDNN's handle: what is said without a GPU, and its life on one."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import pytest

from gocudnn_py import driver
from gocudnn_py._abi.cudnn import FUNCTIONS
from gocudnn_py.cudnn import Handle, current_handle
from gocudnn_py.cudnn import handle as module
from gocudnn_py.cudnn.handle import stream_pointer
from gocudnn_py.errors import NoDevice, SetupFailed
from gocudnn_py.resource import drain
from tests.gocudnn_py.recorded import Recorded, without_driver


def test_without_a_gpu(cudnn: Any, no_gpu: None) -> None:
    with pytest.raises(NoDevice, match=r"cuDNN finds no usable GPU: cudnnCreate: .* cudaGetDeviceCount") as raised:
        Handle()
    assert isinstance(raised.value.__cause__, SetupFailed)
    with pytest.raises(NoDevice):
        current_handle()


class Stream:
    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, 0x7FFF00000010


@pytest.mark.parametrize(("stream", "pointer"), [(None, 0), (0, 0), (5, 5), (Stream(), 0x7FFF00000010)])
def test_streams_in_every_form(stream: object, pointer: int) -> None:
    assert stream_pointer(stream) == pointer


def test_not_a_stream() -> None:
    with pytest.raises(TypeError, match="str is not"):
        stream_pointer("stream")


def test_the_stream_in_use_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one whose pointer the handle has already."""
    lib = Recorded(FUNCTIONS)
    without_driver(monkeypatch, lib, [module])
    with Handle() as handle:
        for _ in range(2):
            stream = Stream()
            held = weakref.ref(stream)
            handle.use(stream)
            del stream
            gc.collect()
            assert held() is not None
        assert lib.names.count("cudnnSetStream") == 1
        handle.use(None)
        gc.collect()
        assert held() is None
        assert lib.last("cudnnSetStream") == (handle.handle, 0)


@pytest.mark.gpu
def test_a_handle_lives_and_dies(gpu: driver.Gpu, cudnn: Any) -> None:
    with Handle(gpu.number) as handle:
        assert handle.handle
        assert repr(handle) == "Handle(device=0, stream=0x0)"
    assert repr(handle) == "Handle(device=0, stream=0x0, unusable)"
    Handle(gpu.number)
    drain()


@pytest.mark.gpu
def test_one_handle_a_thread(gpu: driver.Gpu, cudnn: Any) -> None:
    mine = current_handle(gpu.number)
    assert current_handle(gpu.number) is mine
    found: list[Handle] = []
    thread = threading.Thread(target=lambda: found.append(current_handle(gpu.number)))
    thread.start()
    thread.join()
    assert found[0] is not mine
    mine.close()
    assert current_handle(gpu.number) is not mine
