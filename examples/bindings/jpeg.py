"""JPEG to tensor to JPEG on the card: decode, resize, normalise to float channels first, and encode again."""

import tempfile
from pathlib import Path

import numpy as np

from gocudnn_py import npp, nvjpeg, xtra
from gocudnn_py.cuda import Device, DeviceBuffer

device = Device()
stream = device.stream()

rows, columns = np.mgrid[:300, :400]
picture = np.stack([rows * 255 // 299, columns * 255 // 399, (rows + columns) % 256], axis=-1).astype(np.uint8)
data = nvjpeg.encode(nvjpeg.Image.upload(stream, picture), quality=90)  # bytes, as from a file
print(nvjpeg.image_info(data, device), f"{len(data):,} bytes")

decoded = nvjpeg.decode(data, stream)
source = npp.Image.from_cuda(stream, decoded)
small = npp.Image.empty(stream, 224, 224, channels=3, dtype=np.uint8)
npp.resize(stream, source, small)

pixels = xtra.DeviceArray(small.place, (1, 224, 224, 3), np.uint8)
tensor = xtra.DeviceArray(DeviceBuffer(stream, 4 * 3 * 224 * 224), (1, 3, 224, 224), np.float32)
xtra.normalize_images(stream, pixels, tensor, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
found = tensor.place.download(np.empty(tensor.shape, np.float32))
print(f"a tensor {found.shape}, means {found.mean(axis=(0, 2, 3)).round(2)}")

with tempfile.TemporaryDirectory() as folder:
    nvjpeg.save(nvjpeg.Image.of(stream, small), Path(folder, "small.jpg"), quality=85)
    print(f"{Path(folder, 'small.jpg').stat().st_size:,} bytes again")
