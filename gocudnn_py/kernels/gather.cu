// One batch of a resident data set: sample i of the batch is image permutation(cursor + i) of the epoch, normalised.
// The permutation is that of convnetgo.permuted_index: a Feistel network over 2 HALF bits, walked until < SIZE.

#include "overlap.cuh"
#include "philox.cuh"
#include "step_state.cuh"

__device__ __forceinline__ unsigned int scramble(unsigned int x)
{
    x = (x ^ (x >> 16)) * 0x85ebca6bu;
    x = (x ^ (x >> 13)) * 0xc2b2ae35u;
    return x ^ (x >> 16);
}

__device__ unsigned long long permuted(unsigned long long position, unsigned long long seed, unsigned int epoch)
{
    const uint4 first = random_words(0, epoch, 0xffffffffu, seed), second = random_words(1, epoch, 0xffffffffu, seed);
    const unsigned int keys[8] = {first.x, first.y, first.z, first.w, second.x, second.y, second.z, second.w};
    const unsigned int mask = (1ull << HALF) - 1;
    unsigned long long value = position;
    do {
        unsigned int left = value >> HALF, right = value & mask;
#pragma unroll
        for (int round = 0; round < 8; ++round) {
            const unsigned int next = left ^ (scramble(right ^ keys[round]) & mask);
            left = right;
            right = next;
        }
        value = static_cast<unsigned long long>(left) << HALF | right;
    } while (value >= SIZE);
    return value;
}

// One block a sample. PIXELS elements of type IMAGE and TARGET_BYTES bytes a sample.
extern "C" __global__ void __launch_bounds__(256) gather_batch(
    const StepState* state, const IMAGE* images, const unsigned char* targets, float* x, unsigned char* target,
    float scale, float mean)
{
    __shared__ unsigned long long chosen;
    wait_for_inputs();
    if (threadIdx.x == 0) chosen = permuted((state->cursor + blockIdx.x) % SIZE, state->seed, state->epoch);
    __syncthreads();
    const unsigned long long from = chosen;
    // A product, then a difference, each rounded: what convnetgo's reference does.
    for (int i = threadIdx.x; i < PIXELS; i += blockDim.x)
        x[static_cast<long long>(blockIdx.x) * PIXELS + i] =
            __fsub_rn(__fmul_rn(static_cast<float>(images[from * PIXELS + i]), scale), mean);
    for (int i = threadIdx.x; i < TARGET_BYTES; i += blockDim.x)
        target[static_cast<long long>(blockIdx.x) * TARGET_BYTES + i] = targets[from * TARGET_BYTES + i];
}
