"""gocudnn_py.xtra without a GPU: the table of kernels, that they compile, how boxes are cut into tiles."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gocudnn_py import kernels, xtra
from gocudnn_py.xtra import boxes, checks, images, joining, losses, movement, moving, tiles, update
from gocudnn_py.xtra.boxes import Axis
from gocudnn_py.xtra.launcher import KERNELS, LETTERS, PACKS, SPAN, THREADS
from gocudnn_py.xtra.squares import Squares
from gocudnn_py.xtra.tiles import Tiles

FOLDER = kernels.files(kernels.__name__) / "xtra"
SOURCES = sorted(path.name.removesuffix(".cu") for path in FOLDER.iterdir())
ARCHITECTURES = ["sm_75", "sm_80", "sm_90", "sm_100"]
TYPES = {
    "int": "i",
    "unsigned int": "u",
    "long long": "q",
    "unsigned long long": "Q",
    "float": "f",
    "double": "d",
}
MOVES = [
    {"T": unit, "OFFSET": offset, "RANK": rank, "IN": read, "OUT": write, "CELLS": tiles.cells(width, wide)}
    for width, unit in boxes.UNITS.items()
    for rank, wide, offset, read, write in [(1, False, "int", 1, 1), (8, True, "long long", 1, 1)]
]
MOVES += [
    {"T": "unsigned short", "OFFSET": "int", "RANK": 3, "IN": 2, "OUT": 2, "CELLS": 4096},
    {"T": "unsigned char", "OFFSET": "int", "RANK": 2, "IN": 4, "OUT": 4, "CELLS": 8192},
    {"T": "unsigned char", "OFFSET": "int", "RANK": 2, "IN": 1, "OUT": 4, "CELLS": 2048},
]
HALF, BRAIN = {"T": "float16"}, {"T": "bfloat16"}
VARIANTS: dict[str, list[dict[str, object]]] = {
    "move": MOVES,
    "box": [
        {"T": unit, "RANK": rank, "INDEX": index}
        for unit, rank, index in [("unsigned char", 2, "unsigned int"), ("uint4", 8, "unsigned long long")]
    ],
    "transpose": [
        {"T": unit, "SIDE": side, "TIMES": times, "DOWN": down, "BATCH": batch}
        for unit, side, times, down, batch in [
            ("unsigned short", 8, 1, 16, 1), ("unsigned int", 4, 1, 1, 0), ("uint4", 1, 4, 128, 6),
            ("unsigned char", 8, 1, 8, 2),
        ]
    ],
    "elementwise": [
        {"T": "float"}, HALF, BRAIN, {"FILLED": "unsigned long long"}, {"FILLED": "unsigned char"},
        {"FROM": "double", "TO": "float16"}, {"FROM": "bool", "TO": "bfloat16"}, {"FROM": "bfloat16", "TO": "bool"},
        {"FROM": "float16", "TO": "unsigned char"}, {"FROM": "long long", "TO": "int"},
    ],
    "slopes": [
        {"T": "float", "PARAMETER": "float", "AT_ONCE": 4}, HALF | {"PARAMETER": "float", "INDEX": "unsigned int"},
        BRAIN | {"PARAMETER": "bfloat16", "AT_ONCE": 8, "INDEX": "unsigned int"},
    ],
    "rows": [{"UNIT": unit, "INDEX": "long long"} for unit in boxes.UNITS.values()] + [{"UNIT": "uint4"}],
    "one_hot": [
        {"T": "float", "LABEL": "int"}, BRAIN | {"LABEL": "unsigned char"}, {"T": "bool", "LABEL": "long long"},
    ],
    "windows": [{"T": "float", "LAST": 0}, HALF | {"LAST": 1}],
    "join": [{"T": unit, "PARTS": parts} for unit, parts in [("unsigned char", 2), ("uint4", 8)]],
    "resize": [
        {"T": "float", "PACK": 1, "RUN": 4, "INDEX": "unsigned int", "CHANNELS": 1},
        HALF | {"PACK": 8, "RUN": 1, "INDEX": "unsigned long long", "CHANNELS": "inner"},
        BRAIN | {"PACK": 1, "RUN": 8, "INDEX": "unsigned int", "CHANNELS": 1, "FACTOR": 2},
        {"UNIT": "unsigned char", "RUN": 16, "INDEX": "unsigned int", "CHANNELS": 1},
        {"UNIT": "uint4", "RUN": 1, "INDEX": "unsigned long long", "CHANNELS": "inner"},
    ],
    "resize_backward": [
        {"T": "float", "PACK": 1, "TAPS": 4, "TOGETHER": 4, "INDEX": "unsigned int", "CHANNELS": 1},
        HALF | {"PACK": 8, "TAPS": 16, "TOGETHER": 1, "INDEX": "unsigned long long", "CHANNELS": "inner"},
        BRAIN | {"PACK": 1, "RUN": 2, "FACTOR": 4, "TOGETHER": 2, "INDEX": "unsigned int", "CHANNELS": 1},
    ],
    "losses": [
        {"T": "float", "LABEL": "int", "LANES": 1}, HALF | {"LABEL": "long long", "LANES": 32}, {},
        {"T": "float", "LABEL": "int", "LANES": 32, "HELD": 8, "ROWS": 1},
        BRAIN | {"LABEL": "unsigned char", "LANES": 4, "HELD": 1, "ROWS": 4},
    ],
    "update": [{"W": "float", "G": "float", "RULE": rule} for rule in update.RULES.values()]
    + [
        {"W": "bfloat16", "G": "float16", "RULE": 4}, {"W": "float16", "G": "float"},
        {"W": "float", "G": "float16", "COPY": "bfloat16", "RULE": 4},
    ],
    "images": [
        {"T": "float", "CHANNELS": 1}, HALF | {"CHANNELS": 3, "X_LAST": 1, "Y_LAST": 0, "PACKED": 1},
        BRAIN | {"CHANNELS": 4, "X_LAST": 0, "Y_LAST": 1, "PACKED": 0, "INDEX": "unsigned int"},
    ],
    "random": [{"T": "float", "BITS": 24}, HALF | {"BITS": 11}],
}  # fmt: skip
"""What each file is compiled with here: every type, and every branch."""


def declared(source: str) -> dict[str, str]:
    """The kernels of a file and the letters of their parameters."""
    text = re.sub(r"//.*", "", (FOLDER / f"{source}.cu").read_text())
    pattern = r'extern "C" __global__ void\s+(?:__launch_bounds__\(.*?\)\s+)?(\w+)\(([^)]*)\)'
    return {match[1]: "".join(map(_letter, match[2].split(","))) for match in re.finditer(pattern, text, re.DOTALL)}


def _letter(parameter: str) -> str:
    return "p" if "*" in parameter else TYPES[" ".join(parameter.split()[:-1])]


def test_the_table_has_every_kernel_with_its_parameters() -> None:
    found = {name: (source, letters) for source in SOURCES for name, letters in declared(source).items()}
    assert found == KERNELS
    assert set("".join(letters for _, letters in KERNELS.values())) <= LETTERS.keys()


@pytest.mark.parametrize("source", SOURCES)
def test_kernels_compile_for_every_architecture(source: str) -> None:
    pytest.importorskip("cuda.core", reason="cuda-core is missing: pip install 'gocunets[cu13]'")
    from cuda.core import Program, ProgramOptions

    made = ""
    for number, defines in enumerate(VARIANTS[source]):
        lines = [f"#define {name} {value}" for name, value in defines.items()]
        text = "\n".join([*lines, kernels.read_source(f"xtra/{source}.cu")])
        for architecture in ARCHITECTURES if number < 1 or "bfloat16" in defines.values() else ["sm_90"]:
            options = ProgramOptions(arch=architecture, std="c++17")
            code = bytes(Program(text, "c++", options).compile("cubin").code)
            made += code.decode("latin1")
    for name in declared(source):
        assert name in made, f"no set of defines makes {name}"


def test_what_python_knows_of_the_kernels_is_what_they_say() -> None:
    pack = kernels.read_source("pack.cuh")
    assert f"#define THREADS {THREADS}\n" in pack
    assert f"#define PACKS {PACKS}\n" in pack
    for source in ("losses", "update"):
        assert re.search(r"#define EACH (\d+)", kernels.read_source(f"xtra/{source}.cu"))[1] == str(SPAN // THREADS)  # type: ignore[index]
    assert re.search(r"#define MAX_THREADS (\d+)", kernels.read_source("launch.cuh"))[1] == str(THREADS)  # type: ignore[index]
    for source, name, number in [
        ("box", "EACH", moving.EACH), ("images", "PIXELS", images.PIXELS), ("images", "TIMES", images.RUNS),
        ("rows", "UNITS", movement.UNITS_A_THREAD), ("join", "EACH", joining.EACH),
    ]:  # fmt: skip
        assert re.search(rf"#define {name} (\d+)", kernels.read_source(f"xtra/{source}.cu"))[1] == str(number)  # type: ignore[index]
    rule = kernels.read_source("update_rule.cuh")
    for name, number in update.RULES.items():
        assert f"#define {name.upper()} {number}\n" in rule
    assert losses.WORKSPACE == 16 * 1024


def test_importing_loads_nothing(run_python: Callable[..., Any]) -> None:
    program = """
        import json, sys
        import gocudnn_py.xtra
        print(json.dumps([name for name in sys.modules if name.startswith("cuda.")]))
        """
    assert json.loads(run_python(program).stdout) == []


def test_the_names_are_functions_with_a_sentence() -> None:
    assert sorted(xtra.__all__) == xtra.__all__
    for name in xtra.__all__:
        assert name == "Operand" or getattr(xtra, name).__doc__.splitlines()[0].endswith((".", ";"))


def box(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[Axis, ...]:
    """The axes of a transpose."""

    def strides(extents: list[int]) -> list[int]:
        return [int(math.prod(extents[i + 1 :])) for i in range(len(extents))]

    of_x, of_y = strides(list(shape)), strides([shape[a] for a in axes])
    return tuple(Axis(shape[a], of_x[a], of_y[i]) for i, a in enumerate(axes))


BOXES = st.lists(st.integers(1, 70), min_size=1, max_size=5).flatmap(
    lambda shape: st.tuples(st.just(tuple(shape)), st.permutations(range(len(shape))))
)
Case = tuple[tuple[int, ...], list[int]]


@settings(deadline=None, max_examples=150, derandomize=True)
@given(BOXES, st.sampled_from([1, 2, 4, 8]), st.sampled_from([0, 1]))
def test_tiles_hold_what_the_kernel_asks(case: Case, itemsize: int, shift: int) -> None:
    shape, order = case
    aligned = itemsize if shift else 16
    axes, width = boxes.widened(boxes.merged(box(shape, tuple(order))), itemsize, aligned)
    made = tiles.tiles(axes, width, aligned, 16)
    room = tiles.cells(width, made.wide) * min(made.packs)
    assert made.volume <= room
    tables = 2 * 8 * room // min(made.packs)
    assert made.shared + tables + 64 * 8 <= 48 * 1024
    for pack in made.packs:
        assert room % (THREADS * pack) == 0
        assert made.volume % pack == 0
    assert made.run % made.packs[0] == made.pad % made.packs[0] == 0 or made.volume == made.run
    for axis, tile in zip(made.axes, made.tile, strict=True):
        assert tile == axis.extent or tile & (tile - 1) == 0
    assert [a.source for a in made.axes] == sorted((a.source for a in made.axes), reverse=True)


@settings(deadline=None, max_examples=300, derandomize=True)
@given(BOXES, st.sampled_from([1, 2, 4, 8]), st.sampled_from([4, 8, 16]))
def test_every_element_of_a_box_is_in_a_square_once(case: Case, itemsize: int, aligned: int) -> None:
    shape, order = case
    axes, width, how = moving.plan(box(shape, tuple(order)), itemsize, max(aligned, itemsize), 16)
    assert width * math.prod(axis.extent for axis in axes) == itemsize * math.prod(shape)
    if not isinstance(how, Squares):
        return
    assert how.side * width in (8, 16)
    assert how.side * width <= max(aligned, itemsize)
    assert THREADS % how.down == 0
    assert how.side * how.times * how.width * THREADS * how.side <= 32 * 1024
    for extent, tile, count in zip((how.rows.extent, how.columns.extent), how.tile, how.tiles, strict=True):
        assert extent % how.side == 0
        assert (count - 1) * tile < extent <= count * tile


@pytest.mark.parametrize(
    ("shape", "axes", "itemsize", "found"),
    [
        ((64, 256, 56 * 56), (0, 2, 1), 4, (4, 16)),  # NCHW to NHWC
        ((64, 256, 56 * 56), (0, 2, 1), 2, (8, 16)),
        ((64, 56 * 56, 16), (0, 2, 1), 2, (8, 128)),  # and back, of few channels
        ((64, 4, 56 * 56), (0, 2, 1), 4, (4, 1)),
        ((64, 224 * 224, 3), (0, 2, 1), 1, "tiles"),  # images
        ((64, 128, 40), (1, 0, 2), 4, "box"),  # rows of 160 bytes stay together
        ((64, 128, 4), (1, 0, 2), 4, (1, 16)),  # and of 16 bytes
        ((4096, 4096), (1, 0), 8, (2, 16)),
        ((64, 16, 16), (0, 2, 1), 2, "tiles"),  # many small ones
        ((4095, 4096), (1, 0), 4, "tiles"),
    ],
)
def test_how_usual_boxes_are_moved(shape: tuple[int, ...], axes: tuple[int, ...], itemsize: int, found: Any) -> None:
    _, _, how = moving.plan(box(shape, axes), itemsize, 16, 16)
    if isinstance(how, Squares):
        assert (how.side, how.down) == found
    else:
        assert (how if isinstance(how, str) else "tiles") == found


@pytest.mark.parametrize(
    ("shape", "axes", "itemsize", "packs", "run"),
    [
        ((64, 256, 56 * 56), (0, 2, 1), 4, (1, 1), 32),
        ((64, 256, 56 * 56), (0, 2, 1), 2, (2, 2), 64),
        ((64, 224 * 224, 3), (0, 2, 1), 1, (4, 4), 2048),
        ((4096, 4096), (1, 0), 8, (1, 1), 32),
    ],
)
def test_tiles_of_usual_moves(
    shape: tuple[int, ...], axes: tuple[int, ...], itemsize: int, packs: tuple[int, int], run: int
) -> None:
    made = tiles.tiles(boxes.merged(box(shape, axes)), itemsize, 16, 16)
    assert made.packs == packs
    longest = [
        made.tile[order[0]] * itemsize
        for order in (boxes.fastest_first(made.axes, side) for side in ("source", "target"))
    ]
    assert max(longest) >= min(128, run * itemsize)
    places = tiles._places(made)
    padded = places + places // made.run * made.pad
    assert tiles._conflicts(padded, itemsize) <= 2


def test_a_plain_copy_is_one() -> None:
    assert moving.plan(box((3, 4, 5), (0, 1, 2)), 4, 16, 4) == ((Axis(60, 1, 1),), 4, "together")
    assert moving.plan((), 8, 8, 8) == ((Axis(1, 1, 1),), 8, "together")


def test_far_apart_elements_are_reached_by_64_bits() -> None:
    for extent, wide in ((2**30, True), (2**20, False)):
        _, _, how = moving.plan(box((3, extent), (1, 0)), 1, 16, 16)
        assert isinstance(how, Tiles)
        assert how.wide is wide


def test_too_many_tiles_are_refused() -> None:
    axes = tuple(Axis(2**16, 3 * 2 ** (17 * i), 5 * 2 ** (17 * (2 - i))) for i in range(3))
    with pytest.raises(ValueError, match="too many for one launch"):
        moving.plan(axes, 4, 16, 16)


def test_c_types_have_their_sizes() -> None:
    sizes = {"bool": 1, "unsigned char": 1, "signed char": 1, "short": 2, "unsigned short": 2, "int": 4, "float": 4}
    for name, kind in checks.C_TYPES.items():
        assert np.dtype(name if name != "bfloat16" else "float16").itemsize == sizes.get(
            kind, 2 if "float16" in kind else 4 if "unsigned int" in kind else 8
        )
