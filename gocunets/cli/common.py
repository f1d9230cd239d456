"""What the commands share: options, the console, tables."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from ..backends import choose, cuda_obstacle
from ..summary import LayerRow

F = TypeVar("F", bound=Callable[..., Any])


class Interrupted(Exception):
    """Ctrl-C or SIGTERM ended a run in good order."""

    def __init__(self, signal_number: int) -> None:
        self.exit_code = 128 + signal_number
        super().__init__(f"signal {signal_number}")


def device_option(command: F) -> F:
    """`--device`, and `--debug`, which every command has."""
    command = click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda"]),
        default="auto",
        show_default=True,
        help="Where to run; auto takes CUDA where it is to be had.",
    )(command)
    return click.option("--debug", is_flag=True, help="Show the traceback of an error.")(command)


def data_option(command: F) -> F:
    """`--data`."""
    return click.option(
        "--data",
        "source",
        default="auto",
        show_default=True,
        metavar="auto|mnist|digits|PATH",
        help="MNIST (from the cache or downloaded), the small built-in digits, or a folder in MNIST's format; "
        "auto takes MNIST, and the digits where it is not to be had.",
    )(command)


def console() -> Console:
    """Standard output: colours and live displays on a terminal, plain text to a file or a pipe.

    A path is printed as it is, whatever brackets or colons it has, and no line of text is broken.
    """
    width = None if sys.stdout.isatty() else 110
    return Console(width=width, highlight=False, markup=False, emoji=False, soft_wrap=True)


def device_line(device: str) -> str:
    """Which device is used, and why not CUDA when that was left open."""
    backend = choose(device)
    reason = cuda_obstacle() if device == "auto" else None
    return f"device: {backend.name}" + (f" (cuda: {reason})" if reason else "")


def layer_table(rows: Sequence[LayerRow], title: str) -> Table:
    """Layers, shapes of one sample, parameters and FLOPs."""
    table = Table(title=title, title_justify="left")
    for name in ("layer", "kind", "output"):
        table.add_column(name, no_wrap=name != "kind")
    table.add_column("parameters", justify="right")
    table.add_column("FLOPs", justify="right")
    for row in rows:
        shape = "x".join(map(str, row.output[1:]))
        table.add_row(row.name, row.kind, shape, f"{row.parameters:,}", f"{row.flops:,}")
    table.add_section()
    total_parameters, total_flops = sum(row.parameters for row in rows), sum(row.flops for row in rows)
    table.add_row("total", "", "", f"{total_parameters:,}", f"{total_flops:,}")
    return table


def confusion_table(matrix: npt.NDArray[np.int64]) -> Table:
    """Rows are labels, columns predictions; the last column is the share of the row that is right."""
    table = Table(title="Confusion matrix (row: label, column: prediction)", title_justify="left")
    table.add_column("", style="bold")
    for index in range(len(matrix)):
        table.add_column(str(index), justify="right")
    table.add_column("right", justify="right")
    for index, counts in enumerate(matrix):
        cells = [str(count) if count else "." for count in counts]
        share = f"{100 * counts[index] / counts.sum():.1f} %" if counts.sum() else "-"
        table.add_row(str(index), *cells, share)
    return table
