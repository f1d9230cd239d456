"""nvJPEG's handle, what belongs to one, and the library's version."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from gocudnn_py import driver
from gocudnn_py._abi.cuda import LibraryPropertyType
from gocudnn_py._abi.nvjpeg import Backend, ChromaSubsampling
from gocudnn_py.cuda import Device, Stream
from gocudnn_py.library import load
from gocudnn_py.nvjpeg.allocator import Allocator
from gocudnn_py.nvjpeg.content import Source, jpeg_bytes
from gocudnn_py.nvjpeg.formats import Flags, ImageInfo
from gocudnn_py.resource import Resource

if TYPE_CHECKING:
    from gocudnn_py._abi.nvjpeg import NvJPEG

MAX_COMPONENTS = 4


class Handle(Resource):
    """nvJPEG on a GPU; several threads may use one.

    `backend` is what batches are decoded with. Allocators are nvJPEG's own unless given; those with `ordered` come in
    pairs. The hardware engine, which `State.decode` prefers where there is one, takes memory of its own all the same.
    Raises NvjpegError for a backend that the GPU has not (nvjpegCreateSimple, nvjpegCreate, nvjpegCreateEx,
    nvjpegCreateExV2, nvjpegDestroy).
    """

    lib: NvJPEG

    def __init__(
        self,
        device: Device,
        backend: Backend = Backend.DEFAULT,
        *,
        flags: Flags = Flags.DEFAULT,
        device_memory: Allocator | None = None,
        pinned_memory: Allocator | None = None,
    ) -> None:
        check_allocator(device_memory, pinned=False)
        check_allocator(pinned_memory, pinned=True)
        self.gpu, self.backend, self.flags = device, Backend(backend), Flags(flags)
        self.lib = load("nvjpeg")
        made = ctypes.c_void_p()
        with driver.primary_context(device.ordinal):
            self._create(device_memory, pinned_memory, ctypes.byref(made))
            held = self._held = device_memory, pinned_memory  # states use them also when it is closed
            super().__init__(made.value or 0, self.lib.nvjpegDestroy, *held, device=device.ordinal)

    def _create(self, device_memory: Allocator | None, pinned_memory: Allocator | None, out: Any) -> None:
        ordered = {each.ordered for each in (device_memory, pinned_memory) if each is not None}
        places = place(device_memory), place(pinned_memory)
        if True in ordered:
            if ordered != {True} or None in places:
                raise ValueError("an ordered allocator needs another, also ordered, for the other kind of memory")
            self.lib.nvjpegCreateExV2(self.backend, *places, self.flags, out)
        elif self.flags or pinned_memory is not None or self.backend not in (Backend.DEFAULT, Backend.HYBRID):
            self.lib.nvjpegCreateEx(self.backend, *places, self.flags, out)
        elif self.backend is Backend.HYBRID or device_memory is not None:
            self.lib.nvjpegCreate(self.backend, places[0], out)
        else:
            self.lib.nvjpegCreateSimple(out)

    def enter(self, stream: Stream) -> int:
        """The handle of a stream that is given work now. Raises ValueError when it is of another GPU."""
        if stream.device.ordinal != self.gpu.ordinal:
            raise ValueError(f"{stream} is not of GPU {self.gpu.ordinal}, which the nvJPEG handle is on")
        stream.device.enter()
        return stream.handle

    def info(self, source: Source) -> ImageInfo:
        """Components, chroma subsampling and sizes of a JPEG, without decoding it (nvjpegGetImageInfo)."""
        data, handle = jpeg_bytes(source), self.handle
        count, chroma = ctypes.c_int(), ctypes.c_int()
        widths, heights = (ctypes.c_int * MAX_COMPONENTS)(), (ctypes.c_int * MAX_COMPONENTS)()
        out = ctypes.byref(count), ctypes.byref(chroma), widths, heights
        self.lib.nvjpegGetImageInfo(handle, data, len(data), *out)
        sizes = tuple(zip(widths, heights, strict=True))[: count.value]
        return ImageInfo(ChromaSubsampling(chroma.value), sizes)

    @property
    def hardware_decoder(self) -> tuple[int, int]:
        """Engines that decode JPEG, and cores of each; 0 where there are none (nvjpegGetHardwareDecoderInfo)."""
        engines, cores = ctypes.c_uint(), ctypes.c_uint()
        self.gpu.enter()
        self.lib.nvjpegGetHardwareDecoderInfo(self.handle, ctypes.byref(engines), ctypes.byref(cores))
        return engines.value, cores.value

    @property
    def hardware_encoder(self) -> int:
        """Engines that encode JPEG; 0 where there are none (nvjpegGetHardwareEncoderInfo)."""
        engines = ctypes.c_uint()
        self.gpu.enter()
        self.lib.nvjpegGetHardwareEncoderInfo(self.handle, ctypes.byref(engines))
        return engines.value

    @property
    def device_padding(self) -> int:
        """Bytes that allocations on the GPU are a multiple of.

        (nvjpegGetDeviceMemoryPadding, nvjpegSetDeviceMemoryPadding)
        """
        return self._number(self.lib.nvjpegGetDeviceMemoryPadding)

    @device_padding.setter
    def device_padding(self, nbytes: int) -> None:
        self.lib.nvjpegSetDeviceMemoryPadding(_size(nbytes), self.handle)

    @property
    def pinned_padding(self) -> int:
        """Bytes that allocations of pinned memory are a multiple of.

        (nvjpegGetPinnedMemoryPadding, nvjpegSetPinnedMemoryPadding)
        """
        return self._number(self.lib.nvjpegGetPinnedMemoryPadding)

    @pinned_padding.setter
    def pinned_padding(self, nbytes: int) -> None:
        self.lib.nvjpegSetPinnedMemoryPadding(_size(nbytes), self.handle)

    def _number(self, function: Callable[[Any, int], None]) -> int:
        number = ctypes.c_size_t()
        function(ctypes.byref(number), self.handle)
        return number.value

    def __repr__(self) -> str:
        return f"Handle({self.backend.name} on GPU {self.gpu.ordinal}{'' if self.usable else ', unusable'})"


class Part(Resource):
    """What belongs to a library handle, which it holds.

    `create(handle, *before, out, *after)` makes it and `destroy` takes it back.
    """

    def __init__(
        self,
        owner: Handle,
        create: Callable[..., None],
        destroy: Callable[[int], None],
        *keep_alive: object,
        before: Sequence[Any] = (),
        after: Sequence[Any] = (),
    ) -> None:
        self.owner, self.lib, ordinal = owner, owner.lib, owner.gpu.ordinal
        made = ctypes.c_void_p()
        with driver.primary_context(ordinal):
            create(owner.handle, *before, ctypes.byref(made), *after)
            super().__init__(made.value or 0, destroy, owner, *keep_alive, device=ordinal)


def check_allocator(allocator: Allocator | None, *, pinned: bool) -> None:
    """Raise TypeError when an allocator is for the other kind of memory."""
    if allocator is not None and allocator.pinned != pinned:
        kinds = {True: "pinned memory", False: "device memory"}
        raise TypeError(f"an allocator of {kinds[allocator.pinned]} where one of {kinds[pinned]} is needed")


def place(allocator: Allocator | None) -> Any:
    """An allocator as C takes it."""
    return None if allocator is None else ctypes.byref(allocator.structure)


def _size(nbytes: int) -> int:
    if nbytes < 0:
        raise ValueError(f"a padding of {nbytes} bytes")
    return nbytes


def library_property(which: LibraryPropertyType) -> int:
    """One of the three numbers of nvJPEG's version (nvjpegGetProperty)."""
    number = ctypes.c_int()
    load("nvjpeg").nvjpegGetProperty(which, ctypes.byref(number))
    return number.value


def cuda_property(which: LibraryPropertyType) -> int:
    """One of the three numbers of the CUDA version that nvJPEG was made with (nvjpegGetCudartProperty)."""
    number = ctypes.c_int()
    load("nvjpeg").nvjpegGetCudartProperty(which, ctypes.byref(number))
    return number.value


def version() -> tuple[int, ...]:
    """nvJPEG's major, minor and patch (nvjpegGetProperty)."""
    parts = LibraryPropertyType.MAJOR_VERSION, LibraryPropertyType.MINOR_VERSION, LibraryPropertyType.PATCH_LEVEL
    return tuple(map(library_property, parts))
