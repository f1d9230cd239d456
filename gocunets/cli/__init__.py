"""The command `gocunets`: train, eval, predict, summary, bench.

Exit codes: 0; 1 a failed run (one line on stderr, --debug shows the traceback); 2 wrong usage;
130 after Ctrl-C (143 after SIGTERM), with a checkpoint written once training had begun.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

import click

from .. import __version__
from .bench import bench_command
from .common import Interrupted
from .models import eval_command, predict_command, summary_command
from .train import train_command

EPILOG = "A first try: gocunets train. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted."


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="gocunets")
def cli() -> None:
    """Train and use small convolutional networks."""


cli.add_command(train_command)
cli.add_command(eval_command)
cli.add_command(predict_command)
cli.add_command(summary_command)
cli.add_command(bench_command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        cli.main(arguments, prog_name="gocunets", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except Interrupted as stop:
        return stop.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at exit
        return 1
    except Exception as error:
        if "--debug" in arguments:
            traceback.print_exc()
        click.echo(f"gocunets: error: {_one_line(error)}", err=True)
        return 1
    return 0


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, MemoryError):
        return f"out of memory: {text}"
    return text
