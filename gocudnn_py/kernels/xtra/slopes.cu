// Two slopes, one on each side of a threshold: y = x positive where x > threshold, x negative elsewhere. All three are
// numbers of the middle axis of (outer, channels, plane); without threshold it is 0, without positive 1 (PReLU).
// PARAMETER is their type.

#include "launch.cuh"
#include "pack.cuh"

// Those of one channel.
struct Slopes {
    const PARAMETER *threshold, *positive, *negative;
    float edge, above, below;
    __device__ __forceinline__ void read(INDEX channel)
    {
        edge = threshold ? static_cast<float>(threshold[channel]) : 0.0f;
        above = positive ? static_cast<float>(positive[channel]) : 1.0f;
        below = negative[channel];
    }
    __device__ __forceinline__ float of(float value) const { return value > edge ? above : below; }
};

// y = function(slopes, x...): the slopes are read once a pack where it is of one channel, for each element where it is
// of as many, and where the channel changes otherwise.
template <typename Function, typename... X>
__device__ __forceinline__ void map_slopes(
    Slopes slopes, long long channels, long long plane, long long count, int packed, Function function, T* y,
    const X*... x)
{
    constexpr int N = 16 / widest<T, X...>();
    const auto one_channel = [=](long long i) {
        Slopes by = slopes;
        by.read(Channels(i, channels, plane).channel);
        return [=](X... value) { return function(by, value...); };
    };
    const auto as_many = [=](long long i) {
        Slopes by = slopes;
        INDEX channel = Channels(i, channels, plane).channel;
        return [=](X... value) mutable {
            by.read(channel++);
            return function(by, value...);
        };
    };
    const auto any = [=](long long i) {
        Slopes by = slopes;
        Channels at(i, channels, plane);
        by.read(at.channel);
        return [=](X... value) mutable {
            const float made = function(by, value...);
            if (at.next()) by.read(at.channel);
            return made;
        };
    };
    if (plane % N == 0) map(count, packed, one_channel, y, x...);
    else if (plane == 1 && channels % N == 0) map(count, packed, as_many, y, x...);
    else map(count, packed, any, y, x...);
}

extern "C" __global__ void __launch_bounds__(THREADS) slopes_forward(
    const T* x, T* y, const PARAMETER* threshold, const PARAMETER* positive, const PARAMETER* negative,
    long long channels, long long plane, long long count, int packed)
{
    const auto scaled = [](const Slopes& by, float value) { return by.of(value) * value; };
    map_slopes(Slopes{threshold, positive, negative}, channels, plane, count, packed, scaled, y, x);
}

extern "C" __global__ void __launch_bounds__(THREADS) slopes_backward(
    const T* x, const T* dy, T* dx, const PARAMETER* threshold, const PARAMETER* positive, const PARAMETER* negative,
    long long channels, long long plane, long long count, int packed)
{
    const auto scaled = [](const Slopes& by, float value, float up) { return by.of(value) * up; };
    map_slopes(Slopes{threshold, positive, negative}, channels, plane, count, packed, scaled, dx, x, dy);
}

// The gradients of the slopes are sums of x dy on either side. Partial sums lie in (parts, channels, WITHIN, 2). Packs of
// AT_ONCE elements of a channel's plane, or of a row of columns, are read at a time.
#ifdef AT_ONCE
__device__ __forceinline__ void take(float value, float up, float edge, float& above, float& below)
{
    (value > edge ? above : below) += value * up;
}

// Of large planes: a block takes the part-th slice of a channel's packs. Grid: channels x parts.
extern "C" __global__ void __launch_bounds__(THREADS) slopes_of_planes(
    const T* __restrict__ x, const T* __restrict__ dy, const PARAMETER* threshold, float* sums, long long outer,
    long long channels, long long plane, int parts)
{
    __shared__ float memory[THREADS];
    const long long c = blockIdx.x / parts, part = blockIdx.x % parts;
    const INDEX packs = static_cast<INDEX>(plane / AT_ONCE), count = static_cast<INDEX>(outer) * packs;
    const float edge = threshold ? static_cast<float>(threshold[c]) : 0.0f;
    float above[AT_ONCE] = {}, below[AT_ONCE] = {};
#pragma unroll 4
    for (INDEX i = part * THREADS + threadIdx.x; i < count; i += parts * THREADS) {
        const INDEX n = i / packs;
        const long long at = (n * channels + c) * plane + static_cast<long long>(i - n * packs) * AT_ONCE;
        const auto value = pack_at<AT_ONCE>(x, at), up = pack_at<AT_ONCE>(dy, at);
#pragma unroll
        for (int k = 0; k < AT_ONCE; ++k) take(value.at[k], up.at[k], edge, above[k], below[k]);
    }
#pragma unroll
    for (int k = 1; k < AT_ONCE; ++k) {
        above[0] += above[k];
        below[0] += below[k];
    }
    const float positive = sum_over_block(above[0], memory), negative = sum_over_block(below[0], memory);
    if (threadIdx.x) return;
    sums[(part * channels + c) * 2] = positive;
    sums[(part * channels + c) * 2 + 1] = negative;
}

// Of small ones: `across` neighbouring packs of a row, and the more rows a block. Grid: packs / across x parts.
extern "C" __global__ void __launch_bounds__(THREADS) slopes_of_rows(
    const T* __restrict__ x, const T* __restrict__ dy, const PARAMETER* threshold, float* sums, long long outer,
    long long channels, long long plane, int across, int parts)
{
    __shared__ float memory[2][AT_ONCE][THREADS];
    const long long columns = channels * plane, packs = columns / AT_ONCE, blocks = (packs + across - 1) / across;
    const long long pack = blockIdx.x % blocks * across + threadIdx.x % across, part = blockIdx.x / blocks;
    const int rows = THREADS / across;
    float above[AT_ONCE] = {}, below[AT_ONCE] = {}, edge[AT_ONCE];
    if (pack < packs) {
#pragma unroll
        for (int k = 0; k < AT_ONCE; ++k)
            edge[k] = threshold ? static_cast<float>(threshold[(pack * AT_ONCE + k) / plane]) : 0.0f;
#pragma unroll 4
        for (long long n = part * rows + threadIdx.x / across; n < outer; n += static_cast<long long>(parts) * rows) {
            const long long at = n * columns + pack * AT_ONCE;
            const auto value = pack_at<AT_ONCE>(x, at), up = pack_at<AT_ONCE>(dy, at);
#pragma unroll
            for (int k = 0; k < AT_ONCE; ++k) take(value.at[k], up.at[k], edge[k], above[k], below[k]);
        }
    }
#pragma unroll
    for (int k = 0; k < AT_ONCE; ++k) {
        memory[0][k][threadIdx.x] = above[k];
        memory[1][k][threadIdx.x] = below[k];
    }
    __syncthreads();
    for (int i = threadIdx.x; i < 2 * AT_ONCE * across; i += THREADS) {
        const int side = i % 2, k = i / 2 % AT_ONCE, lane = i / 2 / AT_ONCE;
        const long long column = (blockIdx.x % blocks * across + lane) * AT_ONCE + k;
        if (column >= columns) continue;
        float sum = 0.0f;
        for (int row = 0; row < rows; ++row) sum += memory[side][k][row * across + lane];
        sums[(part * columns + column) * 2 + side] = sum;
    }
}
#endif

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
