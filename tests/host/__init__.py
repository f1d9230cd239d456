"""Our CUDA kernels run by the host's compiler: a block's threads are fibers, so barriers and shuffles work too."""
