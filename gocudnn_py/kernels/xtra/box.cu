// Boxes of up to 8 axes whose runs of neighbours stay together, copied between any strides. T is a type of 1 to 16
// bytes, INDEX an unsigned one that counts the elements.

#include "pack.cuh"

#define EACH 4  // elements that a thread takes, THREADS apart

// `extent` of RANK axes and their distances in x and in y, in the order of y, the last the fastest: every axis but the
// first is counted out of an element's number.
extern "C" __global__ void __launch_bounds__(THREADS) copy_box(
    const T* __restrict__ x, T* __restrict__ y, long long count,
    long long extent_0, long long extent_1, long long extent_2, long long extent_3,
    long long extent_4, long long extent_5, long long extent_6, long long extent_7,
    long long from_0, long long from_1, long long from_2, long long from_3,
    long long from_4, long long from_5, long long from_6, long long from_7,
    long long to_0, long long to_1, long long to_2, long long to_3,
    long long to_4, long long to_5, long long to_6, long long to_7)
{
    const long long extent[] = {extent_0, extent_1, extent_2, extent_3, extent_4, extent_5, extent_6, extent_7};
    const long long from[] = {from_0, from_1, from_2, from_3, from_4, from_5, from_6, from_7};
    const long long to[] = {to_0, to_1, to_2, to_3, to_4, to_5, to_6, to_7};
    const long long first = static_cast<long long>(blockIdx.x) * (THREADS * EACH) + threadIdx.x;
    T held[EACH];
    long long place[EACH];
#pragma unroll
    for (int k = 0; k < EACH; ++k) {
        const long long i = first + k * THREADS;
        if (i >= count) continue;
        INDEX rest = static_cast<INDEX>(i);
        const T* source = x;
        place[k] = 0;
#pragma unroll
        for (int a = RANK - 1; a >= 0; --a) {
            const INDEX along = static_cast<INDEX>(extent[a]), at = a ? rest % along : rest;
            rest = a ? rest / along : 0;
            source += at * from[a];
            place[k] += at * to[a];
        }
        held[k] = *source;
    }
#pragma unroll
    for (int k = 0; k < EACH; ++k)
        if (first + k * THREADS < count) y[place[k]] = held[k];
}
