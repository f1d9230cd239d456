// Dropout by Philox: element e has word e % 4 of block e / 4 and is kept where that is at least `threshold`.

#include "launch.cuh"
#include "philox.cuh"
#include "step_state.cuh"

// keep is 1 - rate.
extern "C" __global__ void dropout_forward(
    const T* x, const StepState* state, T* y, unsigned char* mask, long long count, unsigned int node,
    unsigned int threshold, float keep)
{
    const unsigned int step = static_cast<unsigned int>(state->step);
    const unsigned long long seed = state->seed;
    FOR_EACH(block, (count + 3) / 4) {
        const uint4 words = random_words(block, step, node, seed);
        const unsigned int word[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            const long long i = block * 4 + j;
            if (i >= count) break;
            const bool kept = word[j] >= threshold;
            y[i] = static_cast<float>(x[i]) * (kept ? 1.0f : 0.0f) / keep;
            mask[i] = kept;
        }
    }
}

extern "C" __global__ void dropout_backward(const T* dy, const unsigned char* mask, T* dx, long long count, float keep)
{
    FOR_EACH(i, count) dx[i] = static_cast<float>(dy[i]) * (mask[i] ? 1.0f : 0.0f) / keep;
}
