// Losses a sample, their mean over the valid samples, and the count of right answers. LABEL is the labels' type.

#include "launch.cuh"
#include "step_state.cuh"

#ifndef LABEL
#define LABEL long long
#endif

// Labels and logits of (samples, classes, plane); one thread a label. A label that is no class makes a NaN.
extern "C" __global__ void cross_entropy(
    const T* logits, const LABEL* labels, T* losses, T* probabilities, long long samples, long long classes,
    long long plane)
{
    FOR_EACH(i, samples * plane) {
        const long long first = i / plane * classes * plane + i % plane;
        const T* row = logits + first;
        float largest = row[0], sum = 0.0f;
        for (long long c = 1; c < classes; ++c) largest = fmaxf(largest, row[c * plane]);
        for (long long c = 0; c < classes; ++c) {
            const float exponential = expf(static_cast<float>(row[c * plane]) - largest);
            probabilities[first + c * plane] = exponential;
            sum += exponential;
        }
        for (long long c = 0; c < classes; ++c)
            probabilities[first + c * plane] = static_cast<float>(probabilities[first + c * plane]) / sum;
        const long long label = labels[i];
        const bool known = label >= 0 && label < classes;
        losses[i] = known ? logf(sum) - (static_cast<float>(row[label * plane]) - largest) : nanf("");
    }
}

extern "C" __global__ void cross_entropy_backward(
    const T* probabilities, const LABEL* labels, const T* dlosses, T* dlogits, long long samples, long long classes,
    long long plane)
{
    FOR_EACH(i, samples * classes * plane) {
        const long long at = i / (classes * plane) * plane + i % plane, c = i / plane % classes;
        const float p = probabilities[i];
        dlogits[i] = (c == labels[at] ? p - 1.0f : p) * static_cast<float>(dlosses[at]);
    }
}

// The mean of (y - target)^2 over the `size` elements of each sample; one block a sample.
extern "C" __global__ void __launch_bounds__(MAX_THREADS)
    squared_error(const T* y, const T* target, T* losses, long long samples, long long size)
{
    __shared__ float memory[MAX_THREADS];
    for (long long n = blockIdx.x; n < samples; n += gridDim.x) {
        float sum = 0.0f;
        for (long long i = threadIdx.x; i < size; i += blockDim.x) {
            const float difference = static_cast<float>(y[n * size + i]) - static_cast<float>(target[n * size + i]);
            sum += difference * difference;
        }
        const float total = sum_over_block(sum, memory);
        if (threadIdx.x == 0) losses[n] = total / size;
    }
}

extern "C" __global__ void squared_error_backward(
    const T* y, const T* target, const T* dlosses, T* dy, long long samples, long long size)
{
    const float share = 2.0 / size;
    FOR_EACH(i, samples * size) {
        const float difference = static_cast<float>(y[i]) - static_cast<float>(target[i]);
        dy[i] = difference * (static_cast<float>(dlosses[i / size]) * share);
    }
}

// How many of the (samples, plane) losses count.
__device__ __forceinline__ long long counted(const StepState* state, long long samples, long long plane)
{
    const long long valid = state->batch_size < 0 ? 0 : state->batch_size;
    return (valid < samples ? valid : samples) * plane;
}

// One block.
extern "C" __global__ void __launch_bounds__(MAX_THREADS)
    masked_mean(const T* losses, const StepState* state, T* mean, long long samples, long long plane)
{
    __shared__ double memory[MAX_THREADS];
    const long long count = counted(state, samples, plane);
    double sum = 0.0;
    for (long long i = threadIdx.x; i < count; i += blockDim.x) sum += static_cast<double>(losses[i]);
    const double total = sum_over_block(sum, memory);
    if (threadIdx.x == 0) *mean = static_cast<float>(total / count);
}

extern "C" __global__ void masked_mean_backward(
    const T* dy, const StepState* state, T* dlosses, long long samples, long long plane)
{
    const long long count = counted(state, samples, plane);
    FOR_EACH(i, samples * plane) dlosses[i] = i < count ? static_cast<float>(*dy) / count : 0.0f;
}

// One block. The first of equal scores wins, and a NaN wins over every number.
extern "C" __global__ void __launch_bounds__(MAX_THREADS) count_correct(
    const T* scores, const LABEL* labels, const StepState* state, long long* correct, long long samples,
    long long classes, long long plane)
{
    __shared__ long long memory[MAX_THREADS];
    const long long count = counted(state, samples, plane);
    long long right = 0;
    for (long long i = threadIdx.x; i < count; i += blockDim.x) {
        const T* row = scores + i / plane * classes * plane + i % plane;
        float best = row[0];
        long long answer = 0;
        for (long long c = 1; c < classes; ++c) {
            const float score = row[c * plane];
            if (!(score <= best) && best == best) {
                best = score;
                answer = c;
            }
        }
        right += answer == labels[i];
    }
    const long long total = sum_over_block(right, memory);
    if (threadIdx.x == 0) *correct = total;
}
