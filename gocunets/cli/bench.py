"""`gocunets bench`: figures beside a peer's, from one run."""

from __future__ import annotations

import click
from rich.table import Table

from .common import console


@click.group("bench")
def bench_command() -> None:
    """Measure beside a peer, in one run."""


@bench_command.command("cpu", context_settings={"show_default": True})
@click.option("--batches", default="10,50,200", metavar="N,N,...", help="Batch sizes.")
@click.option("--rounds", type=click.IntRange(min=1), default=3, help="Processes of each, in turn.")
@click.option("--seconds", type=click.FloatRange(min=0), default=2.0, help="Time of one measurement.")
@click.option("--threads", type=click.IntRange(min=1), default=1, help="Threads of each.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cpu_command(batches: str, rounds: int, seconds: float, threads: int, debug: bool) -> None:
    """A training step of the thesis's network with NumPy, and with PyTorch where it is installed."""
    from ..bench import cpu

    sizes = _sizes(batches)
    out = console()
    out.print(f"{cpu.machine()}; {threads} thread{'s' if threads > 1 else ''}")
    table = Table()
    for name in ("batch", "gocunets ms/step", "PyTorch ms/step", "ratio"):
        table.add_column(name, justify="right")
    for row in cpu.run(sizes, rounds=rounds, seconds=seconds, threads=threads):
        peer = "not installed" if row.peer is None else f"{row.peer:.2f}"
        ratio = "-" if row.ratio is None else f"{row.ratio:.2f}"
        table.add_row(str(row.batch), f"{row.ours:.2f}", peer, ratio)
    out.print(table)


@bench_command.command("thesis", context_settings={"show_default": True})
@click.option("--batches", default="10,20,40,50,100,200", metavar="N,N,...", help="Batch sizes.")
@click.option("--epochs", type=click.IntRange(min=1), default=3, help="Epochs measured of each, after one to warm up.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def thesis_command(batches: str, epochs: int, debug: bool) -> None:
    """Table 4.2 on this GPU: seconds an epoch, beside PyTorch eager and captured where it is installed."""
    from ..backends import choose
    from ..bench import thesis

    choose("cuda")
    out = console()
    table = Table(title="Seconds an epoch (60,000 images), strict float32", title_justify="left")
    rows = thesis.run(_sizes(batches), epochs=epochs)
    for name in ("batch", *rows[0].seconds, "best peer / gocunets"):
        table.add_column(name, justify="right")
    for row in rows:
        times = [f"{seconds:.4f}" for seconds in row.seconds.values()]
        table.add_row(str(row.batch), *times, "-" if row.ratio is None else f"{row.ratio:.2f}")
    out.print(table)


def _sizes(batches: str) -> list[int]:
    try:
        sizes = [int(size) for size in batches.split(",")]
    except ValueError:
        raise click.UsageError(f"--batches {batches!r} is not a list of numbers") from None
    if min(sizes) < 1:
        raise click.UsageError(f"--batches {batches!r}: every size is at least 1")
    return sizes
