"""Which engine does a convolution? Deterministic or fastest, and why each of the others is passed over."""

from itertools import islice

from gocudnn_py.cuda import Device
from gocudnn_py.cudnn import Handle
from gocudnn_py.cudnn.graph import Graph, Policy, candidates, plans
from gocudnn_py.cudnn.graph.timing import Stopwatch

device = Device()
stream = device.stream()
handle = Handle(device.ordinal, stream)

graph = Graph()
x, dy = graph.tensor("x", (16, 32, 28, 28), "float32"), graph.tensor("dy", (16, 64, 28, 28), "float32")
graph.output(graph.convolution_backward_filter(x, dy, (64, 32, 3, 3), padding=1), "dw", dtype="float32")
print(graph, "\n")

strict = Policy(deterministic=True, workspace=16 * 2**20)
for candidate in candidates(graph.build(handle), handle):
    objection = strict.objection(candidate, graph.multiplies_float32)
    print(f"{candidate}: {objection or 'allowed'}")

stopwatch = Stopwatch(handle, stream)
for name, policy in (("strict", strict), ("fastest", Policy(tf32=True))):
    best = islice(plans(graph, handle, policy), 6)
    times = [(stopwatch(plan), plan.engine, plan.workspace) for plan in best]
    milliseconds, engine, workspace = min(times)
    print(f"\n{name}: engine {engine}, {1000 * milliseconds:.1f} us, {workspace:,} bytes, of {len(times)} measured")
