"""Fan-out, residual sums and concatenation, on the graph itself, with the gradient as nodes."""

from __future__ import annotations

from gocunets import Network, nn, ops
from gocunets.graph import Value


class Inception(nn.Module):
    """Three branches with different views of the same input, joined by channels, plus the input itself."""

    def __init__(self, channels: int) -> None:
        self.point = nn.Conv(channels // 2, 1)
        self.small = nn.Conv(channels // 4, 3, padding=1)
        self.wide = nn.Conv(channels // 4, 3, padding=2, dilation=2)

    def forward(self, x: Value) -> Value:
        joined = ops.concat([self.point(x), self.small(x), self.wide(x)])
        return ops.relu(joined + x)


network = Network(
    nn.Sequential(
        stem=nn.Conv(16, 3, stride=2, padding=1),
        first=Inception(16),
        second=Inception(16),
        pool=nn.GlobalAveragePool(),
        head=nn.Dense(10),
    ),
    input_shape=(3, 32, 32),
)
network.compile(device="cpu")
program = network.compiled.program("training", 8)
print(program.graph)
print(f"{len(program.graph.nodes)} nodes; {program.plan.buffers} values in {program.plan.arena_bytes:,} bytes")
