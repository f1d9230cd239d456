"""An autoencoder of digits: compression modules down, decompression modules up, mean squared error."""

from __future__ import annotations

import argparse

from gocunets import Network, data, losses, nn, optim

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--data", default="digits")
parser.add_argument("--epochs", type=int, default=3)
arguments = parser.parse_args()

splits = data.load(arguments.data)
network = Network(
    nn.Sequential(
        nn.CompressionModule((8, 8), 4),  # 28 -> 14, two branches of dilation 1 and 3
        nn.CompressionModule((8, 8), 4),  # 14 -> 7
        nn.DecompressionModule((8, 8), 4),  # 7 -> 14
        nn.DecompressionModule((8, 8), 4),  # 14 -> 28
        nn.OutputModule(1, 3, padding=1),
    ),
    input_shape=(1, 28, 28),
)
network.compile(loss=losses.MeanSquaredError(), optimizer=optim.Adam(2e-3))

scale = splits.train.normalization()
train, test = (scale.apply(split.images) for split in (splits.train, splits.test))
for record in network.fit((train, train), epochs=arguments.epochs, batch=50, validation=(test, test)):
    print(f"epoch {record.epoch}: error {record.loss:.4f}, test error {record.validation_loss:.4f}")
