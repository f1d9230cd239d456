"""When cuDNN has no engine: what was refused, and by which constraint, in the library's words."""

from gocudnn_py.cuda import Device
from gocudnn_py.cudnn import Handle
from gocudnn_py.cudnn.graph import Graph, Policy, plans
from gocudnn_py.errors import GraphRefused

device = Device()
handle = Handle(device.ordinal, device.stream())


def fused(dtype, channels):
    """Convolution, bias and ReLU of a type, channels first."""
    graph = Graph()
    x = graph.tensor("x", (8, channels, 14, 14), dtype)
    w, b = graph.tensor("w", (32, channels, 3, 3), dtype), graph.tensor("b", (1, 32, 1, 1), dtype)
    graph.output(graph.relu(graph.add(graph.convolution(x, w, padding=1), b)), "y", dtype=dtype)
    return graph


for dtype, channels, policy in (("float64", 32, Policy()), ("float16", 3, Policy(workspace=0, deterministic=True))):
    try:
        plan = next(plans(fused(dtype, channels), handle, policy))
        print(f"{dtype}, {channels} channels: engine {plan.engine}\n")
    except GraphRefused as refused:
        print(f"{dtype}, {channels} channels: {len(refused.reasons)} engines were asked. The first answers:")
        print("\n".join(f"  {reason}" for reason in refused.reasons[:4]), "\n")

try:
    graph = Graph()
    graph.convolution(graph.tensor("x", (1, 3, 8, 8), "float32"), graph.tensor("w", (4, 2, 3, 3), "float32"))
except ValueError as wrong:
    print("Seen before cuDNN is asked:", wrong)
