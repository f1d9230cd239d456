"""Labels of connected regions: a number for each set of touching pixels with one value."""

from __future__ import annotations

import ctypes
from typing import Literal

from gocudnn_py._abi.npp import NppiNorm
from gocudnn_py.cuda import DeviceBuffer, Stream
from gocudnn_py.npp.dispatch import apart, ends, layouts, needed, pick, run, same_size, space, types, writable
from gocudnn_py.npp.image import INT32_MAX, Image

NORMS = {8: NppiNorm.nppiNormInf, 4: NppiNorm.nppiNormL1}


def label_markers(
    stream: Stream,
    source: Image,
    target: Image,
    neighbours: Literal[4, 8] = 8,
    *,
    scratch: DeviceBuffer | None = None,
) -> None:
    """A number for each region of equal pixels that touch by sides, or with 8 `neighbours` by corners too.

    The numbers have gaps, which `compress_markers` closes. NPP joins no two regions, but may give the parts of one
    that winds a lot, such as noise makes, several numbers, and not the same ones on each run. The target is a packed
    uint32 image (nppiLabelMarkersUF_8u32u_C1R_Ctx, nppiLabelMarkersUFGetBufferSize_32u_C1R).
    """
    name = pick("LabelMarkersUF", types(source, target), layouts(source, target))
    if neighbours not in NORMS:
        raise ValueError(f"{name}: {neighbours} neighbours; there are 4 and 8")
    same_size(name, source, target)
    apart(name, source, target)
    _check_packed(name, target)
    nbytes = needed(stream, "nppiLabelMarkersUFGetBufferSize_32u_C1R", target.size, size=1)
    buffer = space(stream, name, scratch, nbytes)
    how = target.size, NORMS[neighbours], buffer.pointer
    run(stream, name, (source, target), *ends(source, target), *how, memory=(buffer,))


def compress_markers(stream: Stream, labels: Image, *, scratch: DeviceBuffer | None = None) -> int:
    """Number the labels that `label_markers` made without gaps, in place; the count that NPP gives, when it is done.

    (nppiCompressMarkerLabelsUF_32u_C1IR_Ctx, nppiCompressMarkerLabelsGetBufferSize_32u_C1R, cuStreamSynchronize)
    """
    name = pick("CompressMarkerLabelsUF", labels.code, labels.layout, "IR")
    writable(name, labels)
    _check_packed(name, labels)
    pixels = labels.width * labels.height
    if pixels > INT32_MAX:
        raise ValueError(f"{name}: {labels} has {pixels} pixels, more than {INT32_MAX}")
    nbytes = needed(stream, "nppiCompressMarkerLabelsGetBufferSize_32u_C1R", pixels, size=1)
    buffer, count = space(stream, name, scratch, nbytes), ctypes.c_int()
    how = labels.size, pixels, ctypes.byref(count), buffer.pointer
    run(stream, name, (labels,), labels.start, labels.pitch, *how, memory=(buffer,))
    stream.synchronize()
    return count.value


def _check_packed(name: str, labels: Image) -> None:
    if not labels.packed:
        raise ValueError(f"{name}: {labels}, {labels.pitch} bytes a row, has to be a whole image without gaps")
