"""CUDA, cuDNN 9, cuBLAS, cuRAND, nvJPEG, NPP and NCCL from Python: thin, typed, safe, without a framework.

Importing loads no CUDA library; `gocudnn_py.library.load("cudnn")` does, and `python -m gocudnn_py.report`
says what is on the machine.
"""
