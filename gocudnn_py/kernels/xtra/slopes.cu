// Two slopes, one on each side of a threshold: y = x positive where x > threshold, x negative elsewhere. All three are
// numbers of the middle axis of (outer, channels, plane); without threshold it is 0, without positive 1 (PReLU).
// PARAMETER is their type.

#include "launch.cuh"
#include "pack.cuh"

struct Slopes {
    const PARAMETER *threshold, *positive, *negative;
    Channels channel;
    long long held = -1;
    float edge, above, below;
    // Of the next element; read anew only where the channel changes.
    __device__ __forceinline__ void next()
    {
        const long long c = channel.next();
        if (c == held) return;
        held = c;
        edge = threshold ? static_cast<float>(threshold[c]) : 0.0f;
        above = positive ? static_cast<float>(positive[c]) : 1.0f;
        below = negative[c];
    }
};

extern "C" __global__ void __launch_bounds__(THREADS) slopes_forward(
    const T* x, T* y, const PARAMETER* threshold, const PARAMETER* positive, const PARAMETER* negative,
    long long channels, long long plane, long long count, int packed)
{
    const auto begin = [=](long long i) {
        Slopes by{threshold, positive, negative, Channels(i, channels, plane)};
        return [by](float value) mutable {
            by.next();
            return value > by.edge ? by.above * value : by.below * value;
        };
    };
    map(count, packed, begin, y, x);
}

extern "C" __global__ void __launch_bounds__(THREADS) slopes_backward(
    const T* x, const T* dy, T* dx, const PARAMETER* threshold, const PARAMETER* positive, const PARAMETER* negative,
    long long channels, long long plane, long long count, int packed)
{
    const auto begin = [=](long long i) {
        Slopes by{threshold, positive, negative, Channels(i, channels, plane)};
        return [by](float value, float up) mutable {
            by.next();
            return (value > by.edge ? by.above : by.below) * up;
        };
    };
    map(count, packed, begin, dx, x, dy);
}

// The gradients of the slopes are sums of x dy on either side. Partial sums lie in (parts, channels, WITHIN, 2).

__device__ __forceinline__ void take(float value, float up, float edge, float& above, float& below)
{
    (value > edge ? above : below) += value * up;
}

// Of large planes: a block takes the part-th slice of a channel's elements. Grid: channels x parts.
extern "C" __global__ void __launch_bounds__(THREADS) slopes_of_planes(
    const T* x, const T* dy, const PARAMETER* threshold, float* sums, long long outer, long long channels,
    long long plane, int parts)
{
    __shared__ float memory[THREADS];
    const long long c = blockIdx.x / parts, part = blockIdx.x % parts, each = outer * plane;
    const float edge = threshold ? static_cast<float>(threshold[c]) : 0.0f;
    float above = 0.0f, below = 0.0f;
#pragma unroll 4
    for (long long i = part * THREADS + threadIdx.x; i < each; i += static_cast<long long>(parts) * THREADS) {
        const long long at = (i / plane * channels + c) * plane + i % plane;
        take(x[at], dy[at], edge, above, below);
    }
    above = sum_over_block(above, memory);
    below = sum_over_block(below, memory);
    if (threadIdx.x) return;
    sums[(part * channels + c) * 2] = above;
    sums[(part * channels + c) * 2 + 1] = below;
}

// Of small ones: 32 neighbouring elements of a row by 8 rows a block. Grid: columns / 32 x parts.
extern "C" __global__ void __launch_bounds__(THREADS) slopes_of_rows(
    const T* x, const T* dy, const PARAMETER* threshold, float* sums, long long outer, long long channels,
    long long plane, int parts)
{
    __shared__ float memory[2][THREADS];
    const long long columns = channels * plane, blocks = (columns + 31) / 32;
    const long long column = blockIdx.x % blocks * 32 + threadIdx.x % 32, part = blockIdx.x / blocks;
    float above = 0.0f, below = 0.0f;
    if (column < columns) {
        const float edge = threshold ? static_cast<float>(threshold[column / plane]) : 0.0f;
#pragma unroll 4
        for (long long n = part * 8 + threadIdx.x / 32; n < outer; n += parts * 8ll)
            take(x[n * columns + column], dy[n * columns + column], edge, above, below);
    }
    memory[0][threadIdx.x] = above;
    memory[1][threadIdx.x] = below;
    __syncthreads();
    if (threadIdx.x >= 64 || column >= columns) return;
    const int side = threadIdx.x / 32;
    float sum = 0.0f;
    for (int row = 0; row < 8; ++row) sum += memory[side][row * 32 + threadIdx.x % 32];
    sums[(part * columns + column) * 2 + side] = sum;
}

// The sums over parts and, of `within`, over the elements of a channel; a warp a channel. Either may be absent.
extern "C" __global__ void __launch_bounds__(THREADS) finish_slopes(
    const float* sums, PARAMETER* dpositive, PARAMETER* dnegative, long long channels, long long within, int parts)
{
    FOR_EACH(i, channels * 32) {
        const long long c = i / 32;
        double above = 0.0, below = 0.0;
        for (long long k = i % 32; k < parts * within; k += 32) {
            const long long at = (k / within * channels + c) * within + k % within;
            above += sums[at * 2];
            below += sums[at * 2 + 1];
        }
#pragma unroll
        for (int step = 16; step > 0; step /= 2) {
            above += __shfl_xor_sync(0xffffffffu, above, step);
            below += __shfl_xor_sync(0xffffffffu, below, step);
        }
        if (i % 32) continue;
        if (dpositive) dpositive[c] = static_cast<float>(above);
        if (dnegative) dnegative[c] = static_cast<float>(below);
    }
}
