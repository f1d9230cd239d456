// The updates of a list of tensors by one launch, and their penalties. W and G are the types of weights and gradients;
// moments are float32, as are the masters, copies of weights in half precision that are updated in their place.

#include "launch.cuh"
#include "update_rule.cuh"

#define EACH 4  // elements that a thread takes at a time
#define CHUNK (MAX_THREADS * EACH)

struct Tensor {
    W* w;
    G* dw;
    float* first;   // moments and master may be absent
    float* second;
    float* master;
    long long count;
    long long first_chunk;
};

// The tensor that a chunk is of.
__device__ __forceinline__ Tensor tensor_of(const Tensor* tensors, int count, long long chunk)
{
    int low = 0, high = count;
    while (high - low > 1) {
        const int middle = (low + high) / 2;
        if (tensors[middle].first_chunk <= chunk) low = middle;
        else high = middle;
    }
    return tensors[low];
}

#ifdef RULE
// Of the rule's constants see update_rule.cuh. The gradient is factor dw, dw becomes keep dw, and weights shrink by
// rate decay of themselves beforehand. Step and rate are those at step_at and rate_at, if these are there.
extern "C" __global__ void __launch_bounds__(MAX_THREADS) update_all(
    const Tensor* tensors, int count, long long chunks, const long long* step_at, const float* rate_at, long long step,
    double rate, double l1, double l2, double decay, double factor, double keep, double constant_0, double constant_1,
    double constant_2)
{
    __shared__ float shared_rate, shared_root, shared_shrink;
    if (threadIdx.x == 0) {
        double root = 1.0;
        if (rate_at) rate = *rate_at;
        shared_shrink = static_cast<float>(1.0 - rate * decay);
        if (RULE == ADAM) {
            const double number = static_cast<double>(step_at ? *step_at : step);
            rate /= 1.0 - pow(constant_0, number);
            root = sqrt(1.0 - pow(constant_1, number));
        }
        shared_rate = static_cast<float>(rate);
        shared_root = static_cast<float>(root);
    }
    __syncthreads();
    const float by = shared_rate, root = shared_root, shrink = shared_shrink;
    const float c0 = constant_0, c1 = constant_1, c2 = constant_2, l1_factor = l1, l2_factor = l2;
    const float rest_0 = 1.0 - constant_0, rest_1 = 1.0 - constant_1, up = factor, kept = keep;
    for (long long chunk = blockIdx.x; chunk < chunks; chunk += gridDim.x) {
        const Tensor tensor = tensor_of(tensors, count, chunk);
        const long long start = (chunk - tensor.first_chunk) * CHUNK + threadIdx.x;
        float w[EACH], dw[EACH], first[EACH], second[EACH];
#pragma unroll
        for (int k = 0; k < EACH; ++k) {
            const long long i = start + k * MAX_THREADS;
            if (i >= tensor.count) continue;
            w[k] = tensor.master ? tensor.master[i] : static_cast<float>(tensor.w[i]);
            dw[k] = tensor.dw[i];
            if (HAS_FIRST) first[k] = tensor.first[i];
            if (HAS_SECOND) second[k] = tensor.second[i];
        }
#pragma unroll
        for (int k = 0; k < EACH; ++k) {
            const long long i = start + k * MAX_THREADS;
            if (i >= tensor.count) continue;
            const float g = regularized(w[k], up * dw[k], l1_factor, l2_factor);
            const float made = updated(
                shrink * w[k], g, first[k], second[k], by, root, c0, c1, c2, rest_0, rest_1);
            tensor.w[i] = made;
            if (tensor.master) tensor.master[i] = made;
            if (HAS_FIRST) tensor.first[i] = first[k];
            if (HAS_SECOND) tensor.second[i] = second[k];
            if (kept != 1.0f) tensor.dw[i] = kept == 0.0f ? 0.0f : kept * dw[k];
        }
    }
}
#else
// dw becomes factor dw + l1 sign(w) + l2 w; sums (gridDim.x, 2) of |w| and of w^2.
extern "C" __global__ void __launch_bounds__(MAX_THREADS) regularize_all(
    const Tensor* tensors, int count, long long chunks, double* sums, double factor, double l1, double l2)
{
    __shared__ double memory[MAX_THREADS];
    const float l1_factor = l1, l2_factor = l2, up = factor;
    double magnitudes = 0.0, squares = 0.0;
    for (long long chunk = blockIdx.x; chunk < chunks; chunk += gridDim.x) {
        const Tensor tensor = tensor_of(tensors, count, chunk);
        const long long start = (chunk - tensor.first_chunk) * CHUNK + threadIdx.x;
        float w[EACH], dw[EACH], magnitude = 0.0f, square = 0.0f;
#pragma unroll
        for (int k = 0; k < EACH; ++k) {
            const long long i = start + k * MAX_THREADS;
            if (i >= tensor.count) continue;
            w[k] = tensor.master ? tensor.master[i] : static_cast<float>(tensor.w[i]);
            dw[k] = tensor.dw[i];
        }
#pragma unroll
        for (int k = 0; k < EACH; ++k) {
            const long long i = start + k * MAX_THREADS;
            if (i >= tensor.count) continue;
            tensor.dw[i] = regularized(w[k], up * dw[k], l1_factor, l2_factor);
            magnitude += fabsf(w[k]);
            square += w[k] * w[k];
        }
        magnitudes += magnitude;
        squares += square;
    }
    const double magnitude = sum_over_block(magnitudes, memory), square = sum_over_block(squares, memory);
    if (threadIdx.x) return;
    sums[2 * blockIdx.x] = magnitude;
    sums[2 * blockIdx.x + 1] = square;
}
#endif

// penalties = l1 and l2 / 2 times the sums of the blocks; one block.
extern "C" __global__ void __launch_bounds__(MAX_THREADS)
    finish_penalties(const double* sums, float* penalties, int blocks, double l1, double l2)
{
    __shared__ double memory[MAX_THREADS];
    double magnitudes = 0.0, squares = 0.0;
    for (int block = threadIdx.x; block < blocks; block += blockDim.x) {
        magnitudes += sums[2 * block];
        squares += sums[2 * block + 1];
    }
    const double magnitude = sum_over_block(magnitudes, memory), square = sum_over_block(squares, memory);
    if (threadIdx.x) return;
    penalties[0] = static_cast<float>(l1 * magnitude);
    penalties[1] = static_cast<float>(l2 / 2.0 * square);
}
