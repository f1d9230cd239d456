"""Backend descriptors without a GPU: what is set can be read back, made anew, and is refused with a reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

COVERS = (
    "cudnnBackendCreateDescriptor",
    "cudnnBackendSetAttribute",
    "cudnnBackendFinalize",
    "cudnnBackendGetAttribute",
)


def test_settings_are_read_back_as_they_were_set(deviceless: Callable[[str], Any]) -> None:
    read, wrong = deviceless("""
from gocudnn_py.cudnn.graph.descriptor import Type, descriptor
from gocudnn_py.errors import CudnnError, NotInThisVersion
from tests.gocudnn_py.graph_cases import CASES

read, wrong = set(), {}
def compare(made, wanted, settings):
    for name, (attribute, type) in wanted.items():
        if name not in settings:
            continue
        value = settings[name] if isinstance(settings[name], tuple) else (settings[name],)
        try:
            found = list(made.get(attribute, type))
        except CudnnError:
            continue  # cuDNN does not read every attribute back
        if type is Type.FRACTION:
            found = [(each.numerator, each.denominator) for each in found]
        read.add(attribute.name)
        if found != list(value):
            wrong[attribute.name] = [str(found), str(value)]
for case in CASES.values():
    graph, tensors = case.make(), {}
    try:
        graph.build()
    except NotInThisVersion:
        continue
    for tensor in graph.tensors:
        tensors[tensor.uid] = tensor.descriptor(tensors[tensor.ragged.uid] if tensor.ragged else None)
    for operation in graph.operations:
        compare(operation.build(tensors), operation.row.settings, operation.settings)
        if operation.row.inner is not None:
            inner = descriptor(operation.row.inner, operation._settings(operation.row.inner_settings))
            compare(inner, operation.row.inner_settings, operation.settings)
print(json.dumps([sorted(read), wrong]))
""")
    # cuDNN reads back the first in single precision whatever is asked for, and the other as another attribute
    quirks = {f"OPERATION_RESAMPLE_{way}_{name}" for way in ("FWD", "BWD") for name in ("ALPHA", "BETA")}
    assert wrong.keys() <= quirks | {"RESAMPLE_PADDING_MODE"}, wrong
    assert {"RESAMPLE_WINDOW_DIMS", "RESAMPLE_STRIDES", "RNG_UNIFORM_DIST_MAXIMUM", "OPERATION_SIGNAL_VALUE"} <= {*read}
    assert len(read) > 25


def test_tensors_are_read_back(deviceless: Callable[[str], Any]) -> None:
    found = deviceless("""
from gocudnn_py.cudnn.graph.descriptor import Attribute, Type
graph = Graph()
offsets = graph.tensor("offsets", (3, 1, 1, 1), "int32")
x = graph.tensor("x", (2, 4, 8, 8), "float16", order=channels_last(4), ragged=offsets, alignment=32)
v = graph.tensor("v", (2, 2, 8, 8), "int8", vector=(32, 1), reordering=Reordering.INT8x32)
number = graph.scalar(2.5)
made = x.descriptor(offsets.descriptor())
print(json.dumps([
    made.get(Attribute.TENSOR_DIMENSIONS, Type.INT64), made.get(Attribute.TENSOR_STRIDES, Type.INT64),
    made.one(Attribute.TENSOR_UNIQUE_ID, Type.INT64),
    v.descriptor().one(Attribute.TENSOR_VECTOR_COUNT, Type.INT64),
    v.descriptor().one(Attribute.TENSOR_VECTORIZED_DIMENSION, Type.INT64),
    number.descriptor().one(Attribute.TENSOR_IS_BY_VALUE, Type.BOOLEAN),
    made.one(Attribute.TENSOR_IS_VIRTUAL, Type.BOOLEAN), v.nbytes]))
""")
    assert found == [[2, 4, 8, 8], [256, 1, 32, 4], 2, 32, 1, True, False, 2 * 2 * 8 * 8 * 32]


def test_a_constant_is_part_of_its_tensor(deviceless: Callable[[str], Any], cudnn: Any) -> None:
    made = deviceless("""
from gocudnn_py.cudnn.graph.descriptor import Attribute, Type
from gocudnn_py.errors import NotInThisVersion
number = Graph().scalar(2.5, constant=True)
try:
    address = number.descriptor().one(Attribute.TENSOR_CONSTANT_VALUE, Type.VOID_PTR)
    print(json.dumps(ctypes.c_float.from_address(address).value))
except NotInThisVersion as error:
    print(json.dumps(str(error)))
""")
    assert made == 2.5 if cudnn.version[:2] >= (9, 22) else "of cuDNN 9.22 and newer" in made


def test_a_descriptor_is_made_anew(deviceless: Callable[[str], Any]) -> None:
    before, after, words = deviceless("""
from gocudnn_py.cudnn.graph.descriptor import Attribute, Kind, Type
from gocudnn_py.errors import CudnnError
made = BackendDescriptor(Kind.MATMUL_DESCRIPTOR).set(Attribute.MATMUL_COMP_TYPE, Type.DATA_TYPE, 0).finalize()
before = made.one(Attribute.MATMUL_COMP_TYPE, Type.DATA_TYPE)
try:
    made.set(Attribute.MATMUL_COMP_TYPE, Type.DATA_TYPE, 2)
except CudnnError as error:
    words = error.name
made.reset().set(Attribute.MATMUL_COMP_TYPE, Type.DATA_TYPE, 2).finalize()
print(json.dumps([before, made.one(Attribute.MATMUL_COMP_TYPE, Type.DATA_TYPE), words]))
""")
    assert (before, after) == (0, 2)
    assert words == "CUDNN_STATUS_BAD_PARAM"


@pytest.mark.covers("cudnnBackendInitialize", *COVERS[:2])
def test_a_descriptor_without_a_driver_can_be_set_and_made_anew(cudnn: Any) -> None:
    from gocudnn_py.cudnn.graph.descriptor import Attribute, BackendDescriptor, Kind, Type

    made = BackendDescriptor(Kind.MATMUL_DESCRIPTOR).set(Attribute.MATMUL_COMP_TYPE, Type.DATA_TYPE, 0)
    assert made.reset() is made
    with pytest.raises(Exception, match="BAD_PARAM"):
        made.set(Attribute.MATMUL_COMP_TYPE, Type.INT64, 0)
    with pytest.raises(TypeError, match="are read by `descriptors`"):
        made.one(Attribute.ENGINECFG_ENGINE, Type.BACKEND_DESCRIPTOR)
    made.close()
    with pytest.raises(Exception, match="closed"):
        made.set(Attribute.MATMUL_COMP_TYPE, Type.DATA_TYPE, 0)
    assert repr(made) == "BackendDescriptor(MATMUL_DESCRIPTOR, unusable)"


def test_the_device_that_is_described_reads_back(deviceless: Callable[[str], Any]) -> None:
    assert deviceless("""
from gocudnn_py.cudnn.graph.descriptor import Attribute
given = json.loads(gpus["sm_90"].json)
found = json.loads(gpus["sm_90"].descriptor().text(Attribute.DEVICEPROP_JSON_REPRESENTATION))
print(json.dumps(all(found[name] == given[name] for name in ("deviceVer", "deviceName", "multiProcessorCount"))))
""")
