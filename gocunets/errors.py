"""The exceptions of gocunets.

    GocunetsError
    ├── GraphError (ValueError)         a graph that cannot be: shapes, dtypes, SSA; names the layer
    ├── CompileError                    a graph that this backend cannot run
    │   └── DeviceUnavailable           no such device or libraries; says what to install
    ├── OutOfDeviceMemory               what was asked, what is free, which batch would fit
    ├── ValueReleased                   reading a value whose memory was shared; names Network.inspect
    ├── NonFiniteLoss                   the loss or a gradient became infinite or NaN
    ├── ConcurrentUse                   two threads in one Network or Program
    └── CheckpointError                 a model file that cannot be written or read

Wrong arguments raise ValueError or TypeError; bad data raises gocunets.data.DataError (a ValueError).
"""

from __future__ import annotations


class GocunetsError(Exception):
    """Base of every exception that gocunets defines."""


class GraphError(GocunetsError, ValueError):
    """A graph that cannot be: the message names the layer and carries the shapes."""


class CompileError(GocunetsError):
    """A graph that this backend cannot run as asked."""


class DeviceUnavailable(CompileError):
    """The device asked for is not there, or its libraries are not."""


class OutOfDeviceMemory(GocunetsError):
    """The device has not the memory that was asked for; `asked` and `free` are bytes.

    Where a program of some batch size was being built, `fits` is about the largest that would fit.
    """

    def __init__(self, asked: int, free: int, batch: int | None = None) -> None:
        self.asked, self.free, self.batch = asked, free, batch
        self.fits = None if batch is None else 9 * batch * free // (10 * asked)
        message = f"the device has {free:,} bytes free, {asked:,} more are needed"
        if batch is not None:
            advice = f"a batch of about {self.fits:,} would fit" if self.fits else "not even a batch of 1 would fit"
            message = f"a batch of {batch:,} does not fit: {message}; {advice}"
        super().__init__(message)


class ValueReleased(GocunetsError):
    """A value was read whose memory the plan gave to others."""


class NonFiniteLoss(GocunetsError):
    """The loss or a gradient became infinite or NaN; no update was made with it."""

    def __init__(self, step: int, epoch: int | None = None) -> None:
        self.step = step
        self.epoch = epoch
        where = f"step {step}" if epoch is None else f"step {step} (epoch {epoch})"
        super().__init__(
            f"the loss or a gradient became infinite or NaN at {where}; the weights are those before that step. "
            "Lower the learning rate, or look at the data of that batch"
        )


class ConcurrentUse(GocunetsError):
    """A Network or Program serves one thread at a time."""


class CheckpointError(GocunetsError):
    """A model file that cannot be written, or is not one that this version can read."""
