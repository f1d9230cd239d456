// Kernels whose start overlaps the end of the one before: launched so, each first waits for what that one wrote, and
// then lets the next begin. What is read before the wait was written by no kernel after the last but one.

__device__ __forceinline__ void wait_for_inputs()
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
