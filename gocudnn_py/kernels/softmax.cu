// Softmax (LOG: its logarithm) along the middle axis of (outer, size, inner), and the gradient. LANES neighbouring
// threads, 1 or 32, share a row, so the threads of a warp go round the loops equally often.

#include "launch.cuh"

__device__ __forceinline__ float sum_over_lanes(float value)
{
#pragma unroll
    for (int step = LANES / 2; step > 0; step /= 2) value += __shfl_xor_sync(0xffffffffu, value, step);
    return value;
}

__device__ __forceinline__ float largest_of_lanes(float value)
{
#pragma unroll
    for (int step = LANES / 2; step > 0; step /= 2) value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, step));
    return value;
}

extern "C" __global__ void softmax_forward(const T* x, T* y, long long outer, long long size, long long inner)
{
    FOR_EACH(i, outer * inner * LANES) {
        const long long row = i / LANES, first = row / inner * size * inner + row % inner;
        const int lane = i % LANES;
        float largest = x[first], sum = 0.0f;
        for (long long c = lane; c < size; c += LANES) largest = fmaxf(largest, x[first + c * inner]);
        largest = largest_of_lanes(largest);
        for (long long c = lane; c < size; c += LANES) sum += expf(static_cast<float>(x[first + c * inner]) - largest);
        sum = sum_over_lanes(sum);
        const float logarithm = logf(sum);
        for (long long c = lane; c < size; c += LANES) {
            const float shifted = static_cast<float>(x[first + c * inner]) - largest;
            y[first + c * inner] = LOG ? shifted - logarithm : expf(shifted) / sum;
        }
    }
}

// dx = y (dy - sum dy y), or dy - exp(y) sum dy of the logarithm.
extern "C" __global__ void softmax_backward(
    const T* y, const T* dy, T* dx, long long outer, long long size, long long inner)
{
    FOR_EACH(i, outer * inner * LANES) {
        const long long row = i / LANES, first = row / inner * size * inner + row % inner;
        const int lane = i % LANES;
        float sum = 0.0f;
        for (long long c = lane; c < size; c += LANES) {
            const long long at = first + c * inner;
            sum += LOG ? static_cast<float>(dy[at]) : static_cast<float>(dy[at]) * static_cast<float>(y[at]);
        }
        sum = sum_over_lanes(sum);
        for (long long c = lane; c < size; c += LANES) {
            const long long at = first + c * inner;
            const float value = y[at], up = dy[at];
            dx[at] = LOG ? up - expf(value) * sum : value * (up - sum);
        }
    }
}
