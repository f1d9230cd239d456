"""Train a small CNN on MNIST, or on the built-in digits where there is no network, and save it."""

from __future__ import annotations

import argparse

from gocunets import Checkpoint, Network, data, nn, optim, schedules

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--data", default="auto")
parser.add_argument("--epochs", type=int, default=3)
parser.add_argument("--out", default="mnist.safetensors")
arguments = parser.parse_args()

splits = data.load(arguments.data)
print(splits.note)

network = Network(
    nn.Sequential(
        nn.Conv(16, 3, padding=1, bias=False),
        nn.BatchNorm(),
        nn.ReLU(),
        nn.MaxPool(2),
        nn.Conv(32, 3, padding=1, bias=False),
        nn.BatchNorm(),
        nn.ReLU(),
        nn.MaxPool(2),
        nn.Dropout(0.3),
        nn.Dense(10),
    ),
    input_shape=(1, 28, 28),
)
steps = arguments.epochs * (len(splits.train) // 100 + 1)
network.compile(optimizer=optim.Adam(schedules.Cosine(2e-3, steps, warmup=steps // 20)))
for record in network.fit(
    splits.train,
    epochs=arguments.epochs,
    batch=100,
    validation=splits.test,
    callbacks=[Checkpoint(arguments.out)],
):
    print(f"epoch {record.epoch}: loss {record.loss:.4f}, test accuracy {100 * record.validation_accuracy:.2f} %")
