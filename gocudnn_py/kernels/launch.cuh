// What all kernels share: the element type, the loop over the grid, the sum over a block.

#include "number.cuh"

#ifndef T
#define T float
#endif

#define MAX_THREADS 256

// A loop over 0..count-1 in steps of the grid, by 64-bit numbers.
#define FOR_EACH(i, count)                                                                    \
    for (long long i = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x; i < (count); \
         i += static_cast<long long>(gridDim.x) * blockDim.x)

// The sum over all threads of a block of 2^n <= MAX_THREADS threads, in a fixed order; every thread gets it.
template <typename Number> __device__ __forceinline__ Number sum_over_block(Number value, Number* memory)
{
    memory[threadIdx.x] = value;
    __syncthreads();
    for (int step = blockDim.x / 2; step > 0; step /= 2) {
        if (threadIdx.x < step) memory[threadIdx.x] += memory[threadIdx.x + step];
        __syncthreads();
    }
    const Number total = memory[0];
    __syncthreads();
    return total;
}
