"""That nothing of the graph API is forgotten: every descriptor kind and attribute is used, or it is said why not."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from gocudnn_py._abi.cudnn import BackendAttributeName as Attribute
from gocudnn_py._abi.cudnn import BackendDescriptorType as Kind
from gocudnn_py.cudnn import graph as package
from gocudnn_py.cudnn.graph import OPERATIONS, BackendDescriptor
from gocudnn_py.cudnn.graph.since import SINCE, since
from gocudnn_py.errors import CudnnError, NotInThisVersion

SOURCES = "\n".join(path.read_text() for path in Path(package.__file__).parent.glob("*.py"))

PLACEHOLDER = "cuDNN has the name only: its header calls it a placeholder, and the library refuses it"
REFUSED = "cuDNN 9.28 has the name and refuses to set it"
CPP = "its value is a C++ vector, which no C interface says how to make"
HINT = "a hint that bypasses the matching of patterns; the header calls the default the only safe one"
NO_EFFECT = "cuDNN 9.28 takes it and says that it changes nothing"
REASONS = {
    PLACEHOLDER: """INTERMEDIATE_INFO_UNIQUE_ID INTERMEDIATE_INFO_SIZE INTERMEDIATE_INFO_DEPENDENT_DATA_UIDS
        INTERMEDIATE_INFO_DEPENDENT_ATTRIBUTES ENGINECFG_INTERMEDIATE_INFO EXECUTION_PLAN_COMPUTED_INTERMEDIATE_UIDS
        EXECUTION_PLAN_RUN_ONLY_INTERMEDIATE_UIDS VARIANT_PACK_INTERMEDIATES""",
    REFUSED: """OPERATION_REDUCTION_DIMS OPERATION_REDUCTION_INIT_VALUES OPERATION_REDUCTION_SUBGRAPH
        OPERATION_REDUCTION_SUBGRAPH_ACCUMULATOR_UIDS OPERATION_REDUCTION_SUBGRAPH_CURRENT_UIDS
        OPERATION_REDUCTION_SUBGRAPH_OUTPUT_UIDS OPERATION_REDUCTION_SUBGRAPH_COMPUTE_TYPES""",
    CPP: """VARIANT_PACK_OVERRIDE_UNIQUE_IDS VARIANT_PACK_OVERRIDE_SHAPES VARIANT_PACK_OVERRIDE_STRIDES
        OPERATIONGRAPH_IS_OVERRIDE_SHAPE_ENABLED""",
    HINT: "OPERATIONGRAPH_MODE",
    NO_EFFECT: "ENGINEHEUR_SHARED_MEMORY_LIMIT",
}
"""Why an attribute has no typed way, each with the attributes; `BackendDescriptor` sets what can be set."""


def uses() -> dict[str, str]:
    """Who uses each attribute and kind: a row of OPERATIONS, or a file of the package that names it."""
    found = dict.fromkeys(re.findall(r"\b(?:Attribute|Kind)\.([A-Z][A-Za-z0-9_]+)", SOURCES), "the package")
    for row in OPERATIONS.values():
        kinds = [row.kind] + ([row.inner] if row.inner is not None else [])
        settings = [attribute for attribute, _ in (*row.settings.values(), *row.inner_settings.values())]
        settings += [row.inner_as] if row.inner_as is not None else []
        ports: Iterable[Any] = (*row.inputs.values(), *row.outputs.values(), *row.nested.values())
        found |= {member.name: f"the operation {row.name}" for member in (*kinds, *ports, *settings)}
    return found


def test_every_kind_of_descriptor_has_a_typed_way() -> None:
    unused = {kind.name for kind in Kind} - uses().keys()
    assert unused == {"INTERMEDIATE_INFO_DESCRIPTOR"}  # PLACEHOLDER


def test_every_attribute_has_a_typed_way_or_a_reason() -> None:
    unused = {attribute.name for attribute in Attribute} - uses().keys()
    reasons = {name for names in REASONS.values() for name in names.split()}
    assert unused == reasons


def test_a_kind_that_is_a_placeholder_cannot_be_made(cudnn: Any) -> None:
    with pytest.raises(CudnnError):
        BackendDescriptor(Kind.INTERMEDIATE_INFO_DESCRIPTOR)


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.INTERMEDIATE_INFO_DESCRIPTOR])
def test_every_other_kind_can_be_made_or_is_too_new(kind: Kind, cudnn: Any) -> None:
    needed = since(kind.name)
    if cudnn.version[:2] >= needed:
        assert repr(BackendDescriptor(kind)) == f"BackendDescriptor({kind.name})"
        return
    with pytest.raises(NotInThisVersion, match=rf"CUDNN_BACKEND_{kind.name} \(of cuDNN {needed[0]}\.{needed[1]}"):
        BackendDescriptor(kind)


def test_when_each_came_is_what_the_header_says(cudnn: Any) -> None:
    header = Path(cudnn.path).parents[1] / "include" / "cudnn_graph.h"
    text = header.read_text() if header.is_file() else ""
    member = r"CUDNN_(?:ATTR|BACKEND)_(\w+)(?:\s+CUDNN_DEPRECATED_ENUM)?\s*=\s*\d+,\s*/\*\*<"
    told = re.findall(member + r"[^\n]*@since cuDNN (\d+)\.(\d+)", text)
    if not told:
        pytest.skip(f"no header of cuDNN here that says since when: {header}")
    known = {member.name for member in (*Attribute, *Kind)}
    oldest = (9, 19)
    for name, major, minor in told:
        version = int(major), int(minor)
        if name in known:
            assert since(name) == (version if version > oldest else (9, 0)), name
    assert {name for name, *_ in told} >= known


def test_every_beginning_of_a_name_is_one() -> None:
    names = [member.name for member in (*Attribute, *Kind)]
    starts = [start for starts in SINCE.values() for start in starts.split()]
    assert [start for start in starts if not any(name.startswith(start) for name in names)] == []
    assert len(starts) == len(set(starts))
