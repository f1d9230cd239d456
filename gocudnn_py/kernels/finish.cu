// The end of a training step. `finish_gradients`: sums of partial gradients, and the non-finite flag.

#include "overlap.cuh"
#include "step_state.cuh"

struct Gradient {
    const float* source;   // parts x stride elements
    float* target;         // count elements; equal to source when it is complete already
    long long count;
    long long stride;
    long long parts;
    long long first_block;
};

#define LANES 4
#define WIDTH 64

__device__ __forceinline__ void flag(StepState* state, bool bad)
{
    if (bad && atomicExch(&state->nonfinite, 1) == 0) state->first_bad_step = state->step;
}

// Blocks of WIDTH elements of one gradient, LANES threads an element: each sums every fourth part in order, then the
// four sums are added in order. Of a gradient that is complete, a block looks at LANES * WIDTH elements.
extern "C" __global__ void __launch_bounds__(LANES* WIDTH)
    finish_gradients(const Gradient* table, int gradients, const float* loss, StepState* state)
{
    __shared__ float sums[LANES][WIDTH];
    int row = 0;
    while (row + 1 < gradients && table[row + 1].first_block <= blockIdx.x) ++row;
    const Gradient gradient = table[row];
    const long long block = blockIdx.x - gradient.first_block;
    wait_for_inputs();
    if (blockIdx.x == 0 && threadIdx.x == 0) flag(state, !isfinite(*loss));
    if (gradient.target == gradient.source) {
        const long long i = block * LANES * WIDTH + threadIdx.x;
        flag(state, i < gradient.count && !isfinite(gradient.source[i]));
        return;
    }
    const int lane = threadIdx.x / WIDTH, column = threadIdx.x % WIDTH;
    const long long i = block * WIDTH + column;
    float sum = 0.0f;
    if (i < gradient.count) {
        const float* source = gradient.source + i;
#pragma unroll 8
        for (long long part = lane; part < gradient.parts; part += LANES) sum += source[part * gradient.stride];
    }
    sums[lane][column] = sum;
    __syncthreads();
    if (lane > 0 || i >= gradient.count) return;
    const float total = ((sums[0][column] + sums[1][column]) + sums[2][column]) + sums[3][column];
    gradient.target[i] = total;
    flag(state, !isfinite(total));
}
