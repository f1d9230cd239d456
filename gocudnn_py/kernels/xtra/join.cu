// Rows of PARTS arrays, 2 to 8, side by side in those of a whole, in units of 1 to 16 bytes (T): joined, and cut apart
// again. One launch for all, so that what memory gives and takes at once is not touched by one part after another.
// INDEX counts the units of the whole.

#include "pack.cuh"

#define EACH 4  // units that a thread takes, THREADS apart

// Where unit i of a whole of rows of `width` lies in its part; part p has the columns from end[p - 1] to before end[p].
template <typename Place>
__device__ __forceinline__ Place* in_part(INDEX i, INDEX width, Place* const (&part)[8], const long long (&end)[8])
{
    const INDEX row = i / width, column = i - row * width;
    Place* first = part[0];
    INDEX start = 0, past = static_cast<INDEX>(end[0]);
#pragma unroll
    for (int p = 1; p < PARTS; ++p)
        if (column >= static_cast<INDEX>(end[p - 1])) {
            first = part[p];
            start = static_cast<INDEX>(end[p - 1]);
            past = static_cast<INDEX>(end[p]);
        }
    return first + (row * (past - start) + (column - start));
}

extern "C" __global__ void __launch_bounds__(THREADS) join_rows(
    const T* part_0, const T* part_1, const T* part_2, const T* part_3, const T* part_4, const T* part_5,
    const T* part_6, const T* part_7, T* __restrict__ whole, long long count, long long width, long long end_0,
    long long end_1, long long end_2, long long end_3, long long end_4, long long end_5, long long end_6,
    long long end_7)
{
    const T* const part[] = {part_0, part_1, part_2, part_3, part_4, part_5, part_6, part_7};
    const long long end[] = {end_0, end_1, end_2, end_3, end_4, end_5, end_6, end_7};
    const long long first = static_cast<long long>(blockIdx.x) * (THREADS * EACH) + threadIdx.x;
    T held[EACH];
#pragma unroll
    for (int k = 0; k < EACH; ++k) {
        const long long i = first + k * THREADS;
        if (i < count) held[k] = *in_part(static_cast<INDEX>(i), static_cast<INDEX>(width), part, end);
    }
#pragma unroll
    for (int k = 0; k < EACH; ++k)
        if (first + k * THREADS < count) whole[first + k * THREADS] = held[k];
}

extern "C" __global__ void __launch_bounds__(THREADS) cut_rows(
    T* part_0, T* part_1, T* part_2, T* part_3, T* part_4, T* part_5, T* part_6, T* part_7,
    const T* __restrict__ whole, long long count, long long width, long long end_0, long long end_1, long long end_2,
    long long end_3, long long end_4, long long end_5, long long end_6, long long end_7)
{
    T* const part[] = {part_0, part_1, part_2, part_3, part_4, part_5, part_6, part_7};
    const long long end[] = {end_0, end_1, end_2, end_3, end_4, end_5, end_6, end_7};
    const long long first = static_cast<long long>(blockIdx.x) * (THREADS * EACH) + threadIdx.x;
    T held[EACH];
#pragma unroll
    for (int k = 0; k < EACH; ++k)
        if (first + k * THREADS < count) held[k] = whole[first + k * THREADS];
#pragma unroll
    for (int k = 0; k < EACH; ++k) {
        const long long i = first + k * THREADS;
        if (i < count) *in_part(static_cast<INDEX>(i), static_cast<INDEX>(width), part, end) = held[k];
    }
}
