"""How much of a copy's bandwidth our kernels reach, by kernel and type, on large arrays."""

from __future__ import annotations

from dataclasses import dataclass

from .process import measured

DTYPES = ("float32", "float16", "bfloat16")


@dataclass(frozen=True)
class Row:
    """Bytes that have to be read and written a second, beside those of a device-to-device copy, by type."""

    kernel: str
    gigabytes: dict[str, float]
    of_a_copy: dict[str, float]


def run(mebibytes: int, kernels: str = "") -> list[Row]:
    """Measure kernels whose names match a regular expression, on arrays of so many MiB. Raises GocunetsError."""
    arguments = "--mebibytes", mebibytes, "--dtypes", ",".join(DTYPES), "--kernels", kernels
    rows: dict[str, Row] = {}
    for found in measured("bandwidths", "gocudnn_py.bench.bandwidth", *arguments):
        row = rows.setdefault(found["kernel"], Row(found["kernel"], {}, {}))
        row.gigabytes[found["dtype"]] = found["GB/s"]
        row.of_a_copy[found["dtype"]] = found["of a copy"]
    return list(rows.values())
