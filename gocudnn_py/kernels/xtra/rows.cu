// Rows of bytes exchanged and gathered, in units of 1 to 16 bytes (UNIT), UNITS of them a thread at a time.

#include "pack.cuh"

#define UNITS 4

// Rows a_first, a_first + step, ... of a and b_first, b_first + step, ... of b change places; each has `width` units.
extern "C" __global__ void __launch_bounds__(THREADS) exchange_rows(
    UNIT* a, UNIT* b, long long rows, long long width, long long a_first, long long b_first, long long step)
{
    const long long first = static_cast<long long>(blockIdx.x) * (THREADS * UNITS), count = rows * width;
    UNIT of_a[UNITS], of_b[UNITS];
    long long shift_a[UNITS], shift_b[UNITS];
#pragma unroll
    for (int k = 0; k < UNITS; ++k) {
        const long long i = first + k * THREADS + threadIdx.x;
        if (i >= count) continue;
        const long long row = i / width, unit = i % width;
        shift_a[k] = (a_first + row * step) * width + unit;
        shift_b[k] = (b_first + row * step) * width + unit;
        of_a[k] = a[shift_a[k]];
        of_b[k] = b[shift_b[k]];
    }
#pragma unroll
    for (int k = 0; k < UNITS; ++k) {
        if (first + k * THREADS + threadIdx.x >= count) continue;
        a[shift_a[k]] = of_b[k];
        b[shift_b[k]] = of_a[k];
    }
}

#ifdef INDEX
__device__ __forceinline__ UNIT all_set()
{
    union { unsigned int words[4]; UNIT unit; } bits = {{~0u, ~0u, ~0u, ~0u}};
    return bits.unit;
}

// y[r] = x[index[r]] of `rows` rows of `width` units; negative indices count from the end. An index outside makes a row
// whose bits are all set: NaN in floating-point numbers, -1 in integers.
extern "C" __global__ void __launch_bounds__(THREADS) take_rows(
    const UNIT* __restrict__ x, const INDEX* __restrict__ index, UNIT* __restrict__ y, long long x_rows,
    long long rows, long long width)
{
    const long long first = static_cast<long long>(blockIdx.x) * (THREADS * UNITS), count = rows * width;
    UNIT found[UNITS];
#pragma unroll
    for (int k = 0; k < UNITS; ++k) {
        const long long i = first + k * THREADS + threadIdx.x;
        if (i >= count) continue;
        long long row = index[i / width];
        if (row < 0) row += x_rows;
        found[k] = row >= 0 && row < x_rows ? x[row * width + i % width] : all_set();
    }
#pragma unroll
    for (int k = 0; k < UNITS; ++k) {
        const long long i = first + k * THREADS + threadIdx.x;
        if (i < count) y[i] = found[k];
    }
}
#endif
