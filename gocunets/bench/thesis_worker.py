"""One peer in a process of its own: `python -m gocunets.bench.thesis_worker PEER MATH EPOCHS BATCH...`.

All: the thesis's network in float32 (MATH is fma, or tf32 where products may be rounded), Adam with L1 and L2, the data
on the card, a new order each epoch.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ..graph import Math

Epoch = Callable[[], None]
SIZE = 60_000
L1, L2, RATE = 1e-5, 1e-4, 1e-3
EAGER_STEPS = 600  # steps of an epoch that eager PyTorch makes; the epoch is reckoned from them


def our_epoch(batch: int, math: Math) -> tuple[Epoch, float]:
    """An epoch of `fit`, which puts the data on the card."""
    from gocunets import Network, optim, zoo

    images, labels = _data()
    network = Network(zoo.thesis_network(), (1, 28, 28))
    network.compile(optimizer=optim.Adam(RATE, L1, L2), device="cuda", math=math)

    def epoch() -> None:
        network.fit((images, labels), epochs=1, batch=batch)
        network.compiled.backend.synchronize()

    return epoch, 1.0


def torch_epoch(batch: int, math: Math, captured: bool) -> tuple[Epoch, float]:
    """PyTorch with its fused Adam; `captured` replays one CUDA graph a step."""
    import torch

    steps = SIZE // batch if captured else min(SIZE // batch, EAGER_STEPS)
    _, epoch = torch_training(torch, *_data(), batch, captured=captured, steps=steps, math=math)
    return epoch, SIZE / batch / steps


def torch_training(
    torch: Any, images: np.ndarray, labels: np.ndarray, batch: int, *, captured: bool, steps: int, math: Math = "fma"
) -> tuple[Any, Epoch]:
    """The network in PyTorch, and what trains it on some steps of an epoch, the data on the card."""
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = math == "tf32"
    network, step, order, cursor = _torch_step(torch, images, labels, batch)
    once = _capture(torch, step) if captured else step

    def epoch() -> None:
        order.copy_(torch.randperm(len(images), device="cuda"))
        cursor.zero_()
        for _ in range(steps):
            once()
        torch.cuda.synchronize()

    return network, epoch


def _torch_step(torch: Any, x: np.ndarray, target: np.ndarray, batch: int) -> tuple[Any, Epoch, Any, Any]:
    nn, size = torch.nn, len(x)
    images, labels = (torch.from_numpy(array).cuda() for array in (x, target))
    layers: list[Any] = []
    for channels, padding in ((1, 6), (20, 4), (20, 4)):
        layers += [nn.Conv2d(channels, 20, 4, stride=2, padding=padding, dilation=3), nn.LeakyReLU(0.01)]
    network = nn.Sequential(*layers, nn.Conv2d(20, 10, 4), nn.Flatten()).cuda()
    parameters = list(network.parameters())
    plain = [parameter.detach() for parameter in parameters]
    optimizer = torch.optim.Adam(parameters, RATE, weight_decay=L2, fused=True, capturable=True)
    order, within = torch.randperm(size, device="cuda"), torch.arange(batch, device="cuda")
    cursor = torch.zeros((), dtype=torch.int64, device="cuda")

    def step() -> None:
        chosen = order[(cursor + within) % size]
        optimizer.zero_grad(set_to_none=False)
        nn.functional.cross_entropy(network(images[chosen]), labels[chosen]).backward()
        torch._foreach_add_([p.grad for p in parameters], torch._foreach_sign(plain), alpha=L1)
        optimizer.step()
        cursor.add_(batch)

    return network, step, order, cursor


def jax_epoch(batch: int, math: Math) -> tuple[Epoch, float]:
    """JAX, jitted, `lax.scan` over the steps of the epoch."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_default_matmul_precision", "highest" if math == "fma" else "tensorfloat32")
    images, labels = (jnp.asarray(array) for array in _data())
    geometry = [(1, 20, 2, 6, 3), (20, 20, 2, 4, 3), (20, 20, 2, 4, 3), (20, 10, 1, 0, 1)]
    random = np.random.default_rng(0)
    parameters = []
    for channels, filters, *_ in geometry:
        w = random.standard_normal((filters, channels, 4, 4)) * (2 / (16 * channels)) ** 0.5
        parameters.append((jnp.asarray(w, jnp.float32), jnp.zeros(filters, jnp.float32)))

    def loss_of(parameters: Any, x: Any, target: Any) -> Any:
        for number, ((w, b), (_, _, stride, padding, dilation)) in enumerate(zip(parameters, geometry, strict=True)):
            x = jax.lax.conv_general_dilated(
                x, w, (stride, stride), [(padding, padding)] * 2, rhs_dilation=(dilation, dilation),
                dimension_numbers=("NCHW", "OIHW", "NCHW"),
            )  # fmt: skip
            x = x + b[None, :, None, None]
            x = jnp.where(x > 0, x, 0.01 * x) if number < 3 else x
        logits = x.reshape(len(x), 10)
        return (jax.nn.logsumexp(logits, axis=1) - jnp.take_along_axis(logits, target[:, None], 1)[:, 0]).mean()

    def step(state: Any, chosen: Any) -> tuple[Any, Any]:
        parameters, first, second, count = state
        loss, gradients = jax.value_and_grad(loss_of)(parameters, images[chosen], labels[chosen])
        tree = jax.tree_util.tree_map
        gradients = tree(lambda g, w: g + L2 * w + L1 * jnp.sign(w), gradients, parameters)
        count = count + 1
        first = tree(lambda m, g: 0.9 * m + 0.1 * g, first, gradients)
        second = tree(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradients)
        rate = RATE * jnp.sqrt(1 - 0.999**count) / (1 - 0.9**count)
        parameters = tree(lambda w, m, v: w - rate * m / (jnp.sqrt(v) + 1e-8), parameters, first, second)
        return (parameters, first, second, count), loss

    steps = SIZE // batch
    first, second = (jax.tree_util.tree_map(jnp.zeros_like, parameters) for _ in range(2))
    held = [(parameters, first, second, jnp.float32(0)), jax.random.PRNGKey(0)]
    whole = jax.jit(lambda state, order: jax.lax.scan(step, state, order), donate_argnums=0)

    def epoch() -> None:
        held[1], key = jax.random.split(held[1])
        order = jax.random.permutation(key, SIZE)[: steps * batch].reshape(steps, batch)
        held[0], losses = whole(held[0], order)
        losses.block_until_ready()

    return epoch, 1.0


def _capture(torch: Any, step: Epoch) -> Epoch:
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(5):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()

    def replay(held: Epoch = step) -> None:  # the graph does not hold the tensors that the step made
        graph.replay()

    return replay


def _data() -> tuple[np.ndarray, np.ndarray]:
    """Images as a network sees them, and labels: random, since only time is measured."""
    random = np.random.default_rng(0)
    return random.standard_normal((SIZE, 1, 28, 28), np.float32), random.integers(0, 10, SIZE)


EPOCHS: dict[str, Callable[[int, Math], tuple[Epoch, float]]] = {
    "gocunets": our_epoch,
    "torch-captured": lambda batch, math: torch_epoch(batch, math, captured=True),
    "torch-eager": lambda batch, math: torch_epoch(batch, math, captured=False),
    "jax": jax_epoch,
}


def main(peer: str, math: Math, epochs: int, batches: list[int]) -> None:
    """Print the median seconds an epoch for each batch size as JSON."""
    seconds = {}
    for batch in batches:
        epoch, scale = EPOCHS[peer](batch, math)
        epoch()
        times = []
        for _ in range(epochs):
            started = time.perf_counter()
            epoch()
            times.append(scale * (time.perf_counter() - started))
        seconds[batch] = statistics.median(times)
    print(json.dumps(seconds))


if __name__ == "__main__":
    peer, rounding, *numbers = sys.argv[1:]
    epochs, *sizes = map(int, numbers)
    main(peer, "tf32" if rounding == "tf32" else "fma", epochs, sizes)
