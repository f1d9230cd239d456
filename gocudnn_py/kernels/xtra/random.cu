// Random numbers that depend on nothing but their place, bit for bit those of gocunets/convnetgo/philox.py: element e
// has word e % 4 of block e / 4. A thread makes the four numbers of a block, or of two.

#include "pack.cuh"
#include "philox.cuh"

// Writes `made` at 4 block, as far as y reaches.
template <typename Number>
__device__ __forceinline__ void write_block(Number* y, long long count, long long block, const Pack<Number, 4>& made)
{
    const bool whole = 4 * block + 4 <= count;
    if (whole && reinterpret_cast<unsigned long long>(y) % sizeof(Pack<Number, 4>) == 0) {
        *reinterpret_cast<Pack<Number, 4>*>(y + 4 * block) = made;
        return;
    }
#pragma unroll
    for (int k = 0; k < 4; ++k)
        if (4 * block + k < count) y[4 * block + k] = made.at[k];
}

#define BLOCK (static_cast<long long>(blockIdx.x) * THREADS + threadIdx.x)

extern "C" __global__ void __launch_bounds__(THREADS)
    random_bits(unsigned int* y, long long count, unsigned long long seed, unsigned int node, unsigned int step)
{
    const uint4 words = random_words(BLOCK, step, node, seed);
    write_block(y, count, BLOCK, {words.x, words.y, words.z, words.w});
}

// y = low + width u; u has the BITS leading bits of its word, as many as T holds, so it is less than 1.
extern "C" __global__ void __launch_bounds__(THREADS) random_uniform(
    T* y, long long count, unsigned long long seed, unsigned int node, unsigned int step, float low, float width)
{
    const uint4 words = random_words(BLOCK, step, node, seed);
    const unsigned int word[4] = {words.x, words.y, words.z, words.w};
    Pack<T, 4> made;
#pragma unroll
    for (int k = 0; k < 4; ++k) {
        const float u = static_cast<float>(word[k] >> (32 - BITS)) * (1.0f / (1u << BITS));
        made.at[k] = __fadd_rn(low, __fmul_rn(width, u));
    }
    write_block(y, count, BLOCK, made);
}

__device__ __forceinline__ double uniform_of(unsigned int high, unsigned int low)
{
    const unsigned long long word = static_cast<unsigned long long>(high) << 32 | low;
    return static_cast<double>(word >> 11) * (1.0 / (1ull << 53));
}

// y = mean + deviation z: Box and Muller's in double, rounded to float32, two numbers a block of words.
extern "C" __global__ void __launch_bounds__(THREADS) random_normal(
    T* y, long long count, unsigned long long seed, unsigned int node, unsigned int step, float mean, float deviation)
{
    Pack<T, 4> made;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const uint4 words = random_words(2 * BLOCK + half, step, node, seed);
        const double radius = sqrt(-2.0 * log(1.0 - uniform_of(words.x, words.y)));
        const double angle = 6.283185307179586 * uniform_of(words.z, words.w);
        const float one = static_cast<float>(radius * cos(angle)), other = static_cast<float>(radius * sin(angle));
        made.at[2 * half] = __fadd_rn(mean, __fmul_rn(deviation, one));
        made.at[2 * half + 1] = __fadd_rn(mean, __fmul_rn(deviation, other));
    }
    write_block(y, count, BLOCK, made);
}
