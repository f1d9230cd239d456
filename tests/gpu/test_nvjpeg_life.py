"""nvJPEG's objects from their making to their end: a picture goes through each."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np
import pytest

from gocudnn_py import nvjpeg
from gocudnn_py.errors import LibraryNotFound
from gocudnn_py.library import load
from gocudnn_py.resource import drain, pending
from tests.gpu.pictures import BOUNDS, difference, made, photo, read

if TYPE_CHECKING:
    from gocunets.backends.cudnn import CudaBackend


@pytest.mark.covers(
    "nvjpegCreateSimple",
    "nvjpegDestroy",
    "nvjpegJpegStreamCreate",
    "nvjpegJpegStreamDestroy",
    "nvjpegDecodeParamsCreate",
    "nvjpegDecodeParamsDestroy",
    "nvjpegDecoderDestroy",
    "nvjpegJpegStateDestroy",
    "nvjpegBufferPinnedDestroy",
    "nvjpegBufferDeviceDestroy",
    "nvjpegEncoderStateDestroy",
    "nvjpegEncoderParamsDestroy",
)
def test_every_object_is_made_used_and_given_back(backend: CudaBackend) -> None:
    try:
        load("nvjpeg")
    except LibraryNotFound as error:
        pytest.skip(str(error).splitlines()[0])
    stream, data = backend.stream, made(photo(), subsampling=0)
    with ExitStack() as stack:
        enter = stack.enter_context
        handle = enter(nvjpeg.Handle(backend.device))
        jpeg, decoder, params = (
            enter(kind(handle)) for kind in (nvjpeg.JpegStream, nvjpeg.Decoder, nvjpeg.DecodeParams)
        )
        pinned, device = enter(nvjpeg.BufferPinned(handle)), enter(nvjpeg.BufferDevice(handle))
        state = enter(nvjpeg.State(handle, decoder))
        state.attach(pinned=pinned, device=device)
        enter(nvjpeg.EncoderState(handle, stream))
        enter(nvjpeg.EncoderParams(handle, stream))
        parsed = jpeg.parse(data)
        params.set(format="rgb")
        image = nvjpeg.Image.empty(stream, "rgb", params.output(parsed.info))
        decoder.decode(state, parsed, params, image, stream)
        found = image.memory.download(np.empty(image.shape, np.uint8))
        assert difference(found, read(data)) <= BOUNDS["444"]
    drain()
    assert pending() == 0
