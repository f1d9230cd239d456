// Losses and their gradients in one pass. Sums are float32 within a thread, double beyond, and always in one order.

#include "launch.cuh"

#define EACH 4  // elements that a thread takes at a time
#define SPAN (MAX_THREADS * EACH)

#ifdef T
// dy = 2 factor (y - target), if dy is there; sums[row * parts + part] of (y - target)^2 over a part of each row. Grid:
// rows x parts.
extern "C" __global__ void __launch_bounds__(MAX_THREADS) squared_error(
    const T* y, const T* target, T* dy, double* sums, long long rows, long long size, int parts, double factor)
{
    __shared__ double memory[MAX_THREADS];
    const long long row = blockIdx.x / parts, part = blockIdx.x % parts;
    const float slope = static_cast<float>(2.0 * factor);
    float sum = 0.0f;
    for (long long first = part * SPAN; first < size; first += static_cast<long long>(parts) * SPAN) {
        float difference[EACH];
#pragma unroll
        for (int k = 0; k < EACH; ++k) {
            const long long i = first + k * MAX_THREADS + threadIdx.x, at = row * size + (i < size ? i : size - 1);
            difference[k] = static_cast<float>(y[at]) - static_cast<float>(target[at]);
        }
#pragma unroll
        for (int k = 0; k < EACH; ++k) {
            const long long i = first + k * MAX_THREADS + threadIdx.x;
            if (i >= size) continue;
            sum += difference[k] * difference[k];
            if (dy) dy[row * size + i] = slope * difference[k];
        }
    }
    const double total = sum_over_block(static_cast<double>(sum), memory);
    if (threadIdx.x == 0) sums[blockIdx.x] = total;
}
#endif

#ifdef LABEL
// The greatest of some logits and the sum of the exponentials of what they are below it.
struct Exponentials {
    float greatest = __uint_as_float(0xff800000u), sum = 0.0f;  // minus infinity
    __device__ __forceinline__ void take(float logit)
    {
        if (logit > greatest) {
            sum = sum * expf(greatest - logit) + 1.0f;
            greatest = logit;
        } else sum += logit == greatest ? 1.0f : expf(logit - greatest);
    }
    __device__ __forceinline__ void join(float other_greatest, float other_sum)
    {
        const float most = fmaxf(greatest, other_greatest);
        const float mine = greatest == most ? sum : sum * expf(greatest - most);
        sum = mine + (other_greatest == most ? other_sum : other_sum * expf(other_greatest - most));
        greatest = most;
    }
};

// Logits (outer, classes, inner), labels and losses (outer, inner): losses = -log softmax[label], dlogits = factor
// (softmax - one at the label), even where the logits lie; sums[block] of the losses. dlogits and sums may be absent.
// LANES neighbouring threads share a row. A label that is no class makes NaNs.
extern "C" __global__ void __launch_bounds__(MAX_THREADS) softmax_cross_entropy(
    const T* logits, const LABEL* labels, float* losses, T* dlogits, double* sums, long long outer, long long classes,
    long long inner, float factor)
{
    __shared__ double memory[MAX_THREADS];
    const long long rows = outer * inner;
    double total = 0.0;
    FOR_EACH(i, (rows * LANES + 31) / 32 * 32) {  // whole warps, for the threads of one exchange what they have
        const bool there = i < rows * LANES;
        const long long row = there ? i / LANES : rows - 1, first = row / inner * classes * inner + row % inner;
        const int lane = i % LANES;
        const long long label = labels[row];
        const bool known = label >= 0 && label < classes;
        const float wanted = known ? static_cast<float>(logits[first + label * inner]) : nanf("");
        Exponentials of;
#pragma unroll 4
        for (long long c = lane; c < classes; c += LANES) of.take(logits[first + c * inner]);
#pragma unroll
        for (int step = LANES / 2; step > 0; step /= 2) {
            const float greatest = __shfl_xor_sync(0xffffffffu, of.greatest, step);
            of.join(greatest, __shfl_xor_sync(0xffffffffu, of.sum, step));
        }
        if (!there) continue;
        const float loss = logf(of.sum) - (wanted - of.greatest);
        if (lane == 0) {
            losses[row] = loss;
            total += loss;
        }
        if (!dlogits) continue;
        const float scale = known ? factor : nanf(""), share = 1.0f / of.sum;
#pragma unroll 4
        for (long long c = lane; c < classes; c += LANES) {
            const float p = expf(static_cast<float>(logits[first + c * inner]) - of.greatest) * share;
            dlogits[first + c * inner] = scale * (c == label ? p - 1.0f : p);
        }
    }
    total = sum_over_block(total, memory);
    if (sums && threadIdx.x == 0) sums[blockIdx.x] = total;
}
#endif

// y[row] = factor times the sum of a row's parts; one block a row.
extern "C" __global__ void __launch_bounds__(MAX_THREADS)
    finish_sums(const double* sums, float* y, long long rows, int parts, double factor)
{
    __shared__ double memory[MAX_THREADS];
    for (long long row = blockIdx.x; row < rows; row += gridDim.x) {
        double sum = 0.0;
        for (int part = threadIdx.x; part < parts; part += blockDim.x) sum += sums[row * parts + part];
        const double total = sum_over_block(sum, memory);
        if (threadIdx.x == 0) y[row] = static_cast<float>(factor * total);
    }
}
