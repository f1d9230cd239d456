"""`gocunets bench`: figures beside a peer's, from one run."""

from __future__ import annotations

from pathlib import Path

import click
from rich.table import Table

from .. import plots
from ..bench.thesis import PEERS
from ..graph import Math
from .common import console, data_option, device_option


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
@click.option("--peers", default=",".join(PEERS), metavar="NAME,...", help="Who is measured, as far as installed.")
@click.option("--math", type=click.Choice(["fma", "tf32"]), default="fma", help="Products of float32, of every peer.")
@click.option("--plot", type=click.Path(path_type=Path), default=None, help="A PNG file to draw the times in.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def thesis_command(batches: str, epochs: int, peers: str, math: Math, plot: Path | None, debug: bool) -> None:
    """Table 4.2 on this GPU: seconds an epoch, beside PyTorch (eager, captured) and JAX where they are installed."""
    from ..backends import choose
    from ..bench import thesis

    if plot is not None and not plots.available():
        raise click.UsageError("--plot needs matplotlib: pip install 'gocunets[data]'")
    choose("cuda")
    out = console()
    products = "strict float32" if math == "fma" else "TF32 products"
    table = Table(title=f"Seconds an epoch (60,000 images), {products}", title_justify="left")
    names = peers.split(",")
    if not names or set(names) - set(thesis.PEERS):
        raise click.UsageError(f"--peers {peers!r}: there are {', '.join(thesis.PEERS)}")
    rows = thesis.run(_sizes(batches), names, epochs=epochs, math=math)
    for name in ("batch", *rows[0].seconds, "best peer / gocunets"):
        table.add_column(name, justify="right")
    for row in rows:
        times = [f"{seconds:.4f}" for seconds in row.seconds.values()]
        table.add_row(str(row.batch), *times, "-" if row.ratio is None else f"{row.ratio:.2f}")
    out.print(table)
    if plot is not None:
        plots.plot_times({row.batch: row.seconds for row in rows}, plot)
        out.print(f"written: {plot}")


@bench_command.command("accuracy", context_settings={"show_default": True})
@click.option("--batches", default="10,20,40,50,100,200", metavar="N,N,...", help="Batch sizes.")
@click.option("--epochs", type=click.IntRange(min=1), default=3, help="Epochs of training.")
@click.option("--seeds", type=click.IntRange(min=1), default=3, help="Trainings of each.")
@data_option
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def accuracy_command(batches: str, epochs: int, seeds: int, source: str, debug: bool) -> None:
    """What the thesis's network learns on this GPU in a few epochs, beside PyTorch where it is installed."""
    from ..backends import choose
    from ..bench import accuracy

    choose("cuda")
    rows = accuracy.run(source, _sizes(batches), epochs=epochs, seeds=seeds)
    out, names = console(), list(rows[0].accuracies)
    table = Table(title=f"Test accuracy in % after {epochs} epochs, {seeds} seeds", title_justify="left")
    for name in ("batch", *names, *(f"{name}, median" for name in names)):
        table.add_column(name, justify="right")
    for row in rows:
        each = [" ".join(f"{100 * found:.2f}" for found in row.accuracies[name]) for name in names]
        table.add_row(str(row.batch), *each, *(f"{100 * row.medians[name]:.2f}" for name in names))
    out.print(table)


@bench_command.command("convergence", context_settings={"show_default": True})
@click.option("--batches", default="10,20,40,50,100,200", metavar="N,N,...", help="Batch sizes.")
@click.option("--epochs", type=click.IntRange(min=1), default=100, help="Most epochs at each batch size.")
@data_option
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def convergence_command(batches: str, epochs: int, source: str, debug: bool) -> None:
    """Table 4.3 on this GPU: epochs and seconds until the training loss is below 0.023 nats (0.01 in base 10)."""
    from .. import data
    from ..backends import choose
    from ..bench import thesis

    choose("cuda")
    splits = data.load(source)
    out = console()
    out.print(f"data: {splits.note}")
    table = Table(title="Training until the mean loss of an epoch is below 0.023 nats", title_justify="left")
    for name in ("batch", "epochs", "seconds", "training loss", "test loss", "test accuracy"):
        table.add_column(name, justify="right")
    for row in thesis.converge(splits, _sizes(batches), most=epochs):
        count = str(row.epochs) if row.reached else f"not reached in {row.epochs}"
        losses = f"{row.training_loss:.4f}", f"{row.test_loss:.4f}"
        table.add_row(str(row.batch), count, f"{row.seconds:.2f}", *losses, f"{100 * row.test_accuracy:.2f} %")
    out.print(table)


@bench_command.command("launch")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def launch_command(debug: bool) -> None:
    """What a kernel launch costs the host: ours, other packages' where they are installed, and a loop in C."""
    from ..backends import choose
    from ..bench import launch

    choose("cuda")
    table = Table(title="Microseconds a launch", title_justify="left")
    for name in ("launched by", "us", "over C"):
        table.add_column(name, justify="left" if name == "launched by" else "right")
    rows = launch.run()
    floor = next((row.microseconds for row in rows if row.peer == "C"), None)
    for row in rows:
        if row.microseconds is None:
            table.add_row(row.peer, row.note, "-")
        else:
            ratio = f"{row.microseconds / floor:.2f}" if floor else "-"
            table.add_row(row.peer, f"{row.microseconds:.2f}", ratio)
    console().print(table)


@bench_command.command("bindings")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def bindings_command(debug: bool) -> None:
    """What calls of the bindings cost the host, class by class, beside other packages and loops in C."""
    from ..backends import choose
    from ..bench import bindings

    choose("cuda")
    rows = bindings.run()
    floors = {row.kind: row.microseconds for row in rows if row.peer == "C"}
    table = Table(title="Microseconds a call", title_justify="left")
    for name in ("call", "by", "us", "over C"):
        table.add_column(name, justify="left" if name in ("call", "by") else "right")
    for row in rows:
        if row.microseconds is None:
            table.add_row(row.kind, row.peer, row.note, "-")
        else:
            floor = floors.get(row.kind)
            above = f"{row.microseconds - floor:+.2f}" if floor is not None else "-"
            table.add_row(row.kind, row.peer, f"{row.microseconds:.2f}", above)
    console().print(table)


@bench_command.command("bandwidth", context_settings={"show_default": True})
@click.option("--mebibytes", type=click.IntRange(1), default=512, help="The size of an array.")
@click.option("--kernels", default="", help="Those whose names match this regular expression.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def bandwidth_command(mebibytes: int, kernels: str, debug: bool) -> None:
    """How much of a device-to-device copy's bandwidth the kernels of gocudnn_py.xtra reach."""
    from ..backends import choose
    from ..bench import bandwidth

    choose("cuda")
    table = Table(title="Parts of a copy's bandwidth", title_justify="left")
    for name in ("kernel", *bandwidth.DTYPES):
        table.add_column(name, justify="left" if name == "kernel" else "right")
    for row in bandwidth.run(mebibytes, kernels):
        table.add_row(row.kernel, *(f"{row.of_a_copy[dtype]:.2f}" for dtype in bandwidth.DTYPES))
    console().print(table)


@bench_command.command("cold", context_settings={"show_default": True})
@click.option(
    "--processes", type=click.IntRange(min=1), default=3, help="Starts of each; caches are cold at the first."
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cold_command(processes: int, debug: bool) -> None:
    """Seconds from nothing to the end of a first training step, ours and PyTorch's where it is installed."""
    from ..backends import choose
    from ..bench import cold

    choose("cuda")
    table = Table(title="Seconds to the end of the first step, batch 50", title_justify="left")
    for name in ("", "process", *cold.PHASES, "in all"):
        table.add_column(name, justify="right" if name else "left")
    for row in cold.run(processes):
        times = [f"{row.seconds[phase]:.2f}" for phase in cold.PHASES]
        table.add_row(row.peer, str(row.process), *times, f"{row.total:.2f}")
    console().print(table)


@bench_command.command("account", context_settings={"show_default": True})
@click.option("--batches", default="10,200", metavar="N,N,...", help="Batch sizes.")
@device_option
def account_command(batches: str, device: str, debug: bool) -> None:
    """Where the time of a step of the thesis's network goes: each kernel alone, and the recorded whole."""
    from ..backends import choose
    from ..bench import account

    backend, out = choose(device), console()
    for batch in _sizes(batches):
        found = account.run(backend, batch)
        table = Table(title=f"Microseconds of a step at batch {batch}", title_justify="left")
        for name in ("phase", "node", "makes", "us"):
            table.add_column(name, justify="right" if name == "us" else "left")
        for row in found.rows:
            shape = "x".join(map(str, row.output))
            table.add_row(row.phase, row.node, shape, f"{row.microseconds:.2f}")
        table.add_section()
        table.add_row("", "nodes in turn", "", f"{found.in_turn:.2f}")
        table.add_row("", "the step as it runs", "", f"{found.step:.2f}")
        out.print(table)


def _sizes(batches: str) -> list[int]:
    try:
        sizes = [int(size) for size in batches.split(",")]
    except ValueError:
        raise click.UsageError(f"--batches {batches!r} is not a list of numbers") from None
    if min(sizes) < 1:
        raise click.UsageError(f"--batches {batches!r}: every size is at least 1")
    return sizes
