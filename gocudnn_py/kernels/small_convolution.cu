// Two-dimensional convolutions of few channels, one image a block in shared memory, specialised at compile time:
// C H W K R S OH OW STRIDE_H STRIDE_W PAD_H PAD_W DILATION_H DILATION_W KIND THREADS, and for each kernel its tiles.
// Each result is one chain of fused multiply-adds in a fixed order, so repeats agree bit for bit.

#include "activation.cuh"

#define PIXELS (OH * OW)
#define TAPS (C * R * S)
// The part of the padded image that windows reach.
#define TILE_H ((OH - 1) * STRIDE_H + (R - 1) * DILATION_H + 1)
#define TILE_W ((OW - 1) * STRIDE_W + (S - 1) * DILATION_W + 1)

__device__ __forceinline__ void load_tile(float* tile, const float* image, int channels)
{
#pragma unroll 8
    for (int i = threadIdx.x; i < channels * TILE_H * TILE_W; i += THREADS) {
        const int h = i / TILE_W % TILE_H - PAD_H, v = i % TILE_W - PAD_W, c = i / (TILE_H * TILE_W);
        const bool inside = h >= 0 && h < H && v >= 0 && v < W;
        tile[i] = inside ? image[(c * H + h) * W + v] : 0.0f;
    }
}

template <int count> __device__ __forceinline__ void multiply_add(float* sums, float value, const float* factors)
{
    if constexpr (count % 4 == 0) {
#pragma unroll
        for (int j = 0; j < count; j += 4) {
            const float4 four = *reinterpret_cast<const float4*>(factors + j);
            sums[j] = fmaf(value, four.x, sums[j]);
            sums[j + 1] = fmaf(value, four.y, sums[j + 1]);
            sums[j + 2] = fmaf(value, four.z, sums[j + 2]);
            sums[j + 3] = fmaf(value, four.w, sums[j + 3]);
        }
    } else {
#pragma unroll
        for (int j = 0; j < count; ++j) sums[j] = fmaf(value, factors[j], sums[j]);
    }
}

template <int width> __device__ __forceinline__ float sum_over_lanes(float value)
{
#pragma unroll
    for (int step = width / 2; step > 0; step /= 2) value += __shfl_down_sync(0xffffffffu, value, step, width);
    return value;
}

#ifdef FORWARD
// y = activation(w * x + b). A block makes BLOCK_K filters of one image; a thread makes THREAD_K of them at one
// pixel, LANES neighbouring threads share the taps of one result. Grid: images, K / BLOCK_K.
extern "C" __global__ void __launch_bounds__(THREADS)
    convolution_forward(const float* x, const float* w, const float* b, float* y, float parameter)
{
    extern __shared__ float4 memory[];
    float* weights = reinterpret_cast<float*>(memory);  // TAPS x BLOCK_K
    float* tile = weights + TAPS * BLOCK_K;             // C x TILE_H x TILE_W
    const int first = blockIdx.y * BLOCK_K;
#pragma unroll 8
    for (int i = threadIdx.x; i < TAPS * BLOCK_K; i += THREADS)
        weights[i % TAPS * BLOCK_K + i / TAPS] = w[first * TAPS + i];
    load_tile(tile, x + static_cast<long long>(blockIdx.x) * C * H * W, C);
    __syncthreads();

    const int lane = threadIdx.x % LANES;
    const int items = PIXELS * (BLOCK_K / THREAD_K);
    for (int base = 0; base < items; base += THREADS / LANES) {  // all lanes go round together: they shuffle
        const int wanted = base + threadIdx.x / LANES, item = wanted < items ? wanted : items - 1;
        const int pixel = item % PIXELS, group = item / PIXELS * THREAD_K;
        const float* window = tile + pixel / OW * STRIDE_H * TILE_W + pixel % OW * STRIDE_W;
        float sums[THREAD_K];
#pragma unroll
        for (int j = 0; j < THREAD_K; ++j) sums[j] = 0.0f;
#if LANES == 1
#pragma unroll 2
        for (int c = 0; c < C; ++c) {
#pragma unroll
            for (int t = 0; t < R * S; ++t) {
                const float value = window[(c * TILE_H + t / S * DILATION_H) * TILE_W + t % S * DILATION_W];
                multiply_add<THREAD_K>(sums, value, weights + (c * R * S + t) * BLOCK_K + group);
            }
        }
#else
#pragma unroll 4
        for (int t = lane; t < TAPS; t += LANES) {
            const int c = t / (R * S), r = t / S % R, s = t % S;
            const float value = window[(c * TILE_H + r * DILATION_H) * TILE_W + s * DILATION_W];
            multiply_add<THREAD_K>(sums, value, weights + t * BLOCK_K + group);
        }
#pragma unroll
        for (int j = 0; j < THREAD_K; ++j) sums[j] = sum_over_lanes<LANES>(sums[j]);
#endif
        if (lane == 0 && wanted < items) {
#pragma unroll
            for (int j = 0; j < THREAD_K; ++j) {
                const int k = first + group + j;
                const float bias = HAS_BIAS ? b[k] : 0.0f;
                y[(static_cast<long long>(blockIdx.x) * K + k) * PIXELS + pixel] = activate<KIND>(sums[j] + bias, parameter);
            }
        }
    }
}
#endif

#ifdef BACKWARD_DATA
// dx = (w transposed * dy) activation'(x), x being the output of the activation before the convolution.
// A block makes BLOCK_C channels of one image. Pixels are taken by their phase in the stride, so that neighbouring
// threads use the same taps. GRAD_LOW and GRAD_H/GRAD_W: the first row and column of dy that is reached, and how many.
#define ROWS ((H + STRIDE_H - 1) / STRIDE_H)
#define COLUMNS ((W + STRIDE_W - 1) / STRIDE_W)
extern "C" __global__ void __launch_bounds__(THREADS)
    convolution_backward_data(const float* dy, const float* w, const float* x, float* dx, float parameter)
{
    extern __shared__ float4 memory[];
    float* weights = reinterpret_cast<float*>(memory);  // K x R x S x BLOCK_C
    float* tile = weights + K * R * S * BLOCK_C;        // K x GRAD_H x GRAD_W
    const int first = blockIdx.y * BLOCK_C;
#pragma unroll 8
    for (int i = threadIdx.x; i < K * R * S * BLOCK_C; i += THREADS) {
        const int tap = i % (R * S), c = i / (R * S) % BLOCK_C, k = i / (R * S * BLOCK_C);
        weights[(k * R * S + tap) * BLOCK_C + c] = w[(k * C + first + c) * R * S + tap];
    }
    const float* gradient = dy + static_cast<long long>(blockIdx.x) * K * PIXELS;
#pragma unroll 8
    for (int i = threadIdx.x; i < K * GRAD_H * GRAD_W; i += THREADS) {
        const int h = i / GRAD_W % GRAD_H + GRAD_LOW_H, v = i % GRAD_W + GRAD_LOW_W, k = i / (GRAD_H * GRAD_W);
        const bool inside = h >= 0 && h < OH && v >= 0 && v < OW;
        tile[i] = inside ? gradient[(k * OH + h) * OW + v] : 0.0f;
    }
    __syncthreads();

    const int lane = threadIdx.x % LANES;
    const int pixels = STRIDE_H * STRIDE_W * ROWS * COLUMNS;
    const int items = pixels * (BLOCK_C / THREAD_C);
    for (int base = 0; base < items; base += THREADS / LANES) {
        const int wanted = base + threadIdx.x / LANES, item = wanted < items ? wanted : items - 1;
        const int place = item % pixels, group = item / pixels * THREAD_C;
        const int phase = place / (ROWS * COLUMNS), row = place / COLUMNS % ROWS, column = place % COLUMNS;
        const int phase_h = phase / STRIDE_W, phase_w = phase % STRIDE_W;
        const int h = row * STRIDE_H + phase_h, v = column * STRIDE_W + phase_w;
        float sums[THREAD_C];
#pragma unroll
        for (int j = 0; j < THREAD_C; ++j) sums[j] = 0.0f;
#pragma unroll
        for (int r = 0; r < R; ++r) {
            const int shift_h = phase_h + PAD_H - r * DILATION_H;
            if (shift_h % STRIDE_H != 0) continue;
#pragma unroll
            for (int s = 0; s < S; ++s) {
                const int shift_w = phase_w + PAD_W - s * DILATION_W;
                if (shift_w % STRIDE_W != 0) continue;
                const int at = (row + shift_h / STRIDE_H - GRAD_LOW_H) * GRAD_W + column + shift_w / STRIDE_W - GRAD_LOW_W;
                const float* taps = weights + (r * S + s) * BLOCK_C + group;
#pragma unroll 5
                for (int k = lane; k < K; k += LANES)
                    multiply_add<THREAD_C>(sums, tile[k * GRAD_H * GRAD_W + at], taps + k * R * S * BLOCK_C);
            }
        }
#if LANES > 1
#pragma unroll
        for (int j = 0; j < THREAD_C; ++j) sums[j] = sum_over_lanes<LANES>(sums[j]);
#endif
        if (lane == 0 && wanted < items && h < H && v < W) {
#pragma unroll
            for (int j = 0; j < THREAD_C; ++j) {
                const long long at = ((static_cast<long long>(blockIdx.x) * C + first + group + j) * H + h) * W + v;
                dx[at] = KIND == 0 ? sums[j] : activate_backward<KIND>(x[at], sums[j], parameter);
            }
        }
    }
}
#endif

#ifdef BACKWARD_FILTER
// Sums of dw and db over a part of the images: partial[part][TAPS of K filters, then K biases]. Block (part, BLOCK_C
// channels, BLOCK_K filters): a thread holds THREAD_K filters at one tap, LANES neighbouring threads share the rows of
// the output.
#define BLOCK_TAPS (BLOCK_C * R * S)
#define ITEMS (BLOCK_TAPS * (BLOCK_K / THREAD_K))
#define WARPS (THREADS / 32)
#define BIASES ((BLOCK_K + WARPS - 1) / WARPS)
#define PER_THREAD ((ITEMS + THREADS / LANES - 1) / (THREADS / LANES))
extern "C" __global__ void __launch_bounds__(THREADS)
    convolution_backward_filter(const float* x, const float* dy, float* partial, int images, int parts)
{
    extern __shared__ float4 memory[];
    float* gradient = reinterpret_cast<float*>(memory);  // PIXELS x BLOCK_K
    float* tile = gradient + PIXELS * BLOCK_K;                 // BLOCK_C x TILE_H x TILE_W
    const int first = blockIdx.y * BLOCK_C, first_k = blockIdx.z * BLOCK_K, lane = threadIdx.x % LANES;
    float sums[PER_THREAD][THREAD_K];
#pragma unroll
    for (int i = 0; i < PER_THREAD; ++i)
#pragma unroll
        for (int j = 0; j < THREAD_K; ++j) sums[i][j] = 0.0f;
    float bias[BIASES] = {};

    for (int n = blockIdx.x; n < images; n += parts) {
        __syncthreads();
        const float* source = dy + (static_cast<long long>(n) * K + first_k) * PIXELS;
#pragma unroll 8
        for (int i = threadIdx.x; i < BLOCK_K * PIXELS; i += THREADS)
            gradient[i % PIXELS * BLOCK_K + i / PIXELS] = source[i];
        load_tile(tile, x + (static_cast<long long>(n) * C + first) * H * W, BLOCK_C);
        __syncthreads();
#pragma unroll
        for (int i = 0; i < PER_THREAD; ++i) {
            const int item = threadIdx.x / LANES + i * (THREADS / LANES);
            if (item < ITEMS) {
                const int tap = item % BLOCK_TAPS, group = item / BLOCK_TAPS * THREAD_K;
                const int c = tap / (R * S), r = tap / S % R, s = tap % S;
                const float* window = tile + (c * TILE_H + r * DILATION_H) * TILE_W + s * DILATION_W;
                for (int h = lane; h < OH; h += LANES) {
#pragma unroll 4
                    for (int v = 0; v < OW; ++v)
                        multiply_add<THREAD_K>(
                            sums[i], window[h * STRIDE_H * TILE_W + v * STRIDE_W], gradient + (h * OW + v) * BLOCK_K + group);
                }
            }
        }
#pragma unroll
        for (int i = 0; i < BIASES; ++i) {
            const int k = threadIdx.x / 32 + i * WARPS;
            if (blockIdx.y == 0 && k < BLOCK_K)
                for (int p = threadIdx.x % 32; p < PIXELS; p += 32) bias[i] += gradient[p * BLOCK_K + k];
        }
    }

    float* result = partial + static_cast<long long>(blockIdx.x) * (K * TAPS + K);
#pragma unroll
    for (int i = 0; i < PER_THREAD; ++i) {
        const int item = threadIdx.x / LANES + i * (THREADS / LANES);
        const int tap = item % BLOCK_TAPS, group = item / BLOCK_TAPS * THREAD_K;
#pragma unroll
        for (int j = 0; j < THREAD_K; ++j) {
            const float sum = LANES > 1 ? sum_over_lanes<LANES>(sums[i][j]) : sums[i][j];
            if (lane == 0 && item < ITEMS) result[(first_k + group + j) * TAPS + first * R * S + tap] = sum;
        }
    }
#pragma unroll
    for (int i = 0; i < BIASES; ++i) {
        const int k = threadIdx.x / 32 + i * WARPS;
        const float sum = sum_over_lanes<32>(bias[i]);
        if (blockIdx.y == 0 && k < BLOCK_K && threadIdx.x % 32 == 0) result[K * TAPS + first_k + k] = sum;
    }
}
#endif

#ifdef BACKWARD_FILTER_SINGLE
// The same where the window is the whole input and the output one pixel: a thread holds all filters of one tap.
extern "C" __global__ void __launch_bounds__(THREADS)
    convolution_backward_filter_single(const float* x, const float* dy, float* partial, int images, int parts)
{
    const int tap = blockIdx.y * THREADS + threadIdx.x;
    float sums[K], bias = 0.0f;
#pragma unroll
    for (int k = 0; k < K; ++k) sums[k] = 0.0f;
#pragma unroll 4
    for (int n = blockIdx.x; n < images; n += parts) {
        const float value = tap < TAPS ? x[static_cast<long long>(n) * TAPS + tap] : 0.0f;
#pragma unroll
        for (int k = 0; k < K; ++k) sums[k] = fmaf(value, dy[n * K + k], sums[k]);
        if (tap < K) bias += dy[n * K + tap];
    }
    float* result = partial + static_cast<long long>(blockIdx.x) * (K * TAPS + K);
    if (tap < TAPS) {
#pragma unroll
        for (int k = 0; k < K; ++k) result[k * TAPS + tap] = sums[k];
    }
    if (tap < K) result[K * TAPS + tap] = bias;
}
#endif

#ifdef BACKWARD_DATA_SINGLE
// The data gradient where the window is the whole input and the output one pixel: one thread an element.
extern "C" __global__ void __launch_bounds__(THREADS)
    convolution_backward_data_single(const float* dy, const float* w, const float* x, float* dx, float parameter)
{
    const int tap = blockIdx.y * THREADS + threadIdx.x;
    if (tap >= TAPS) return;
    float sum = 0.0f;
#pragma unroll
    for (int k = 0; k < K; ++k) sum = fmaf(dy[blockIdx.x * K + k], w[k * TAPS + tap], sum);
    const long long at = static_cast<long long>(blockIdx.x) * TAPS + tap;
    dx[at] = KIND == 0 ? sum : activate_backward<KIND>(x[at], sum, parameter);
}
#endif
