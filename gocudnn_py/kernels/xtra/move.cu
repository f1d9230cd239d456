// Boxes of up to 8 axes moved between any strides: transposes, concatenation, windows. T is an unsigned type of the
// elements' size, OFFSET an integer that holds every distance within a tile.
//
// Axes are in the order of x's memory, RANK of them, the last the fastest. A block takes tiles through shared memory:
// it reads them in x's order, IN elements at a time, and writes them in y's, OUT at a time. Where the elements of a
// thread lie within a tile is the same in every tile, so it is worked out once and kept. `order` has y's axes, the
// fastest first, 4 bits each. Of the tile's `volume` elements, each `run` are followed by `pad` of nothing, against
// conflicts between banks. An axis that is cut into several tiles has a tile of 2^n elements.

#include "pack.cuh"

#define READS (CELLS / (THREADS * IN))
#define WRITES (CELLS / (THREADS * OUT))
#define PADDED(at) ((at) + (at) / run * pad)

// An axis within a tile: how far its elements lie apart in x, in y and in the tile, and which bits of a code have the
// coordinate, if the axis is cut.
struct Axis {
    long long from, to;
    int tile, place, shift, mask;
};

// Where the i-th read, or write, of a tile begins, and its coordinates along the axes that are cut, as a code.
struct Spot {
    OFFSET offset;
    unsigned short code, cell;
};

// Whether coordinates lie before the end, which is so far away along each axis.
__device__ __forceinline__ bool inside(const Axis* axes, const long long* left, unsigned int code)
{
    bool all = true;
#pragma unroll
    for (int a = 0; a < RANK; ++a) {
        const int c = code >> axes[a].shift & axes[a].mask;
        all = all && (left[a] >= axes[a].tile || c < left[a]);
    }
    return all;
}

extern "C" __global__ void __launch_bounds__(THREADS) move(
    const T* __restrict__ x, T* __restrict__ y, long long tiles, int volume, int run, int pad, unsigned int order,
    long long extent_0, long long extent_1, long long extent_2, long long extent_3,
    long long extent_4, long long extent_5, long long extent_6, long long extent_7,
    long long from_0, long long from_1, long long from_2, long long from_3,
    long long from_4, long long from_5, long long from_6, long long from_7,
    long long to_0, long long to_1, long long to_2, long long to_3,
    long long to_4, long long to_5, long long to_6, long long to_7,
    int tile_0, int tile_1, int tile_2, int tile_3, int tile_4, int tile_5, int tile_6, int tile_7)
{
    extern __shared__ uint4 room[];
    T* memory = reinterpret_cast<T*>(room);
    __shared__ Axis axes[RANK];
    __shared__ Spot reads[READS * THREADS], writes[WRITES * THREADS];
    const long long extent[] = {extent_0, extent_1, extent_2, extent_3, extent_4, extent_5, extent_6, extent_7};
    const long long from[] = {from_0, from_1, from_2, from_3, from_4, from_5, from_6, from_7};
    const long long to[] = {to_0, to_1, to_2, to_3, to_4, to_5, to_6, to_7};
    const int tile[] = {tile_0, tile_1, tile_2, tile_3, tile_4, tile_5, tile_6, tile_7};

    if (threadIdx.x == 0) {
        int product = 1, bit = 0;
#pragma unroll
        for (int a = RANK - 1; a >= 0; --a) {
            const bool cut = tile[a] < extent[a];
            axes[a] = {from[a], to[a], tile[a], product, bit, cut ? tile[a] - 1 : 0};
            product *= tile[a];
            for (int size = 1; cut && size < tile[a]; size *= 2) ++bit;
        }
    }
    __syncthreads();
    for (int i = threadIdx.x; i * IN < volume; i += THREADS) {
        int rest = i * IN, code = 0;
        OFFSET offset = 0;
        for (int a = RANK - 1; a >= 0; --a) {
            const Axis axis = axes[a];
            const int c = rest % axis.tile;
            rest /= axis.tile;
            offset += static_cast<OFFSET>(c * axis.from);
            code |= (c & axis.mask) << axis.shift;
        }
        reads[i] = {offset, static_cast<unsigned short>(code), static_cast<unsigned short>(PADDED(i * IN))};
    }
    for (int i = threadIdx.x; i * OUT < volume; i += THREADS) {
        int rest = i * OUT, code = 0, at = 0;
        OFFSET offset = 0;
        for (int j = 0; j < RANK; ++j) {
            const Axis axis = axes[order >> 4 * j & 15u];
            const int c = rest % axis.tile;
            rest /= axis.tile;
            offset += static_cast<OFFSET>(c * axis.to);
            code |= (c & axis.mask) << axis.shift;
            at += c * axis.place;
        }
        writes[i] = {offset, static_cast<unsigned short>(code), static_cast<unsigned short>(PADDED(at))};
    }
    const int place = axes[order & 15u].place, stride = place % run ? place : PADDED(place);

    int digit[RANK], jump[RANK], along[RANK];
    unsigned int first = blockIdx.x, blocks = gridDim.x;
#pragma unroll
    for (int a = RANK - 1; a >= 0; --a) {
        along[a] = static_cast<int>((extent[a] + tile[a] - 1) / tile[a]);
        digit[a] = first % along[a];
        first /= along[a];
        jump[a] = blocks % along[a];
        blocks /= along[a];
    }

    for (long long number = blockIdx.x; number < tiles; number += gridDim.x) {
        const T* source = x;
        T* target = y;
        long long left[RANK];
        bool whole = true;
#pragma unroll
        for (int a = 0; a < RANK; ++a) {
            const long long start = static_cast<long long>(digit[a]) * tile[a];
            source += start * from[a];
            target += start * to[a];
            left[a] = extent[a] - start;
            whole = whole && left[a] >= tile[a];
        }
        Pack<T, IN> held[READS];
#pragma unroll
        for (int e = 0; e < READS; ++e) {
            const int i = threadIdx.x + e * THREADS;
            if (i * IN < volume && (whole || inside(axes, left, reads[i].code)))
                held[e] = *reinterpret_cast<const Pack<T, IN>*>(source + reads[i].offset);
        }
#pragma unroll
        for (int e = 0; e < READS; ++e) {
            const int i = threadIdx.x + e * THREADS;
            if (i * IN < volume) *reinterpret_cast<Pack<T, IN>*>(memory + reads[i].cell) = held[e];
        }
        __syncthreads();
#pragma unroll
        for (int e = 0; e < WRITES; ++e) {
            const int i = threadIdx.x + e * THREADS;
            if (i * OUT >= volume || !(whole || inside(axes, left, writes[i].code))) continue;
            Pack<T, OUT> out;
#pragma unroll
            for (int w = 0; w < OUT; ++w) out.at[w] = memory[writes[i].cell + w * stride];
            *reinterpret_cast<Pack<T, OUT>*>(target + writes[i].offset) = out;
        }
        __syncthreads();
        bool carry = false;
#pragma unroll
        for (int a = RANK - 1; a >= 0; --a) {
            digit[a] += jump[a] + carry;
            carry = digit[a] >= along[a];
            if (carry) digit[a] -= along[a];
        }
    }
}
