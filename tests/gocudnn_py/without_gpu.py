"""What lets cuDNN's graph API run where there is no GPU: a stand-in for libcuda, and GPUs described in JSON.

Every entry of the stand-in answers that there is no device. cuDNN's runtime engines need the library to be there.
"""

from __future__ import annotations

import json

ENTRIES = """
cuInit cuGetErrorString cuGetErrorName cuModuleGetFunction cuModuleLoadData cuModuleUnload cuTensorMapEncodeIm2col
cuTensorMapEncodeTiled cuCtxGetCurrent cuCtxGetLimit cuCtxPopCurrent cuCtxPushCurrent cuDeviceGet cuKernelGetAttribute
cuKernelGetFunction cuKernelSetAttribute cuLaunchCooperativeKernel cuLaunchKernel cuLaunchKernelEx cuLibraryGetKernel
cuLibraryLoadData cuLibraryLoadFromFile cuLibraryUnload cuLinkAddData cuLinkComplete cuLinkCreate cuLinkDestroy
cuOccupancyMaxPotentialClusterSize cuStreamGetCtx
"""
STUB = (
    "".join(f"int {name}(void) {{ return 100; }}\n" for name in ENTRIES.split())
    + "int cuDeviceGetCount(int *count) { *count = 0; return 100; }\n"
    + "int cuDriverGetVersion(int *version) { *version = 13000; return 0; }\n"
)

_H200 = {
    "maxGridSize": [2147483647, 65535, 65535],
    "maxBlockSize": [1024, 1024, 64],
    "regsPerBlock": 65536,
    "multiProcessorCount": 132,
    "smCountOrigin": 0,
    "warpSize": 32,
    "maxSharedMemoryPerBlock": 49152,
    "maxSharedMemoryPerBlockOptin": 232448,
    "reservedSharedMemoryPerBlock": 1024,
    "oversizedSharedMemoryPerBlock": 0,
    "maxRegistersPerSM": 65536,
    "maxCtasPerSM": 32,
    "maxThreadsPerBlock": 1024,
    "maxThreadsPerSM": 2048,
    "pciDeviceId": 0,
    "isTccDriver": 0,
    "supportCoopLaunch": 1,
    "totalGlobalMem": 150000000000,
    "smClockRateKHz": 1980000,
    "memClockRateKHz": 3201000,
    "memoryBusWidth": 6144,
    "l2CacheSize": 62914560,
    "cudaDeviceId": 0,
    "deviceVer": 900,
    "driverVer": 13000,
    "deviceName": "NVIDIA H200",
}
_A100 = {
    "multiProcessorCount": 108,
    "maxSharedMemoryPerBlockOptin": 166912,
    "totalGlobalMem": 85000000000,
    "smClockRateKHz": 1410000,
    "memClockRateKHz": 1512000,
    "memoryBusWidth": 5120,
    "l2CacheSize": 41943040,
    "deviceVer": 800,
    "deviceName": "NVIDIA A100",
}
_B200 = {
    "multiProcessorCount": 148,
    "totalGlobalMem": 190000000000,
    "memoryBusWidth": 8192,
    "l2CacheSize": 132644864,
    "deviceVer": 1000,
    "deviceName": "NVIDIA B200",
}
GPUS = {
    "sm_80": json.dumps(_H200 | _A100),
    "sm_90": json.dumps(_H200),
    "sm_100": json.dumps(_H200 | _B200),
}
