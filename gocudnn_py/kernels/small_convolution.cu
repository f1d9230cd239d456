// Two-dimensional convolutions of few channels and narrow images, specialised at compile time:
// C H W K R S OH OW STRIDE_H STRIDE_W PAD_H PAD_W DILATION_H DILATION_W KIND THREADS, and the tiles of each kernel.
//
// Rows of images lie in shared memory. A thread holds a whole row in registers and multiplies it with the taps of one
// row of filters, so that every column is known at compile time and those in the padding fall away. SPLITS threads share
// the terms of a result; their sums meet in shared memory and are added in order, so repeats agree bit for bit.
// W_IS_OLD says that no kernel since the last but one wrote w, which then need not be waited for.

#include "activation.cuh"
#include "overlap.cuh"

#define PIXELS (OH * OW)
#define TAPS (C * R * S)
#define ROUNDED(count) (((count) + 3) / 4 * 4)

// Floats between rows in shared memory: whole float4s, and rows `step` apart not all in the same banks.
__device__ constexpr int pitch(int width, int step)
{
    return ROUNDED(width) * step % 32 == 0 ? ROUNDED(width) + 4 : ROUNDED(width);
}
#define X_PITCH pitch(W, STRIDE_H)
#define Y_PITCH pitch(OW, 1)

// Column of x that output column `ow` reads with tap column `s`.
#define COLUMN(ow, s) ((ow) * STRIDE_W - PAD_W + (s) * DILATION_W)

template <int rows, int width, int distance>
__device__ __forceinline__ void load_rows(float* tile, const float* source)
{
    if constexpr (width % 4 == 0) {
        constexpr int quads = width / 4;
#pragma unroll 4
        for (int i = threadIdx.x; i < rows * quads; i += THREADS)
            *reinterpret_cast<float4*>(tile + i / quads * distance + i % quads * 4) =
                reinterpret_cast<const float4*>(source)[i];
    } else {
#pragma unroll 8
        for (int i = threadIdx.x; i < rows * width; i += THREADS) tile[i / width * distance + i % width] = source[i];
    }
}

template <int width> __device__ __forceinline__ void load_row(float* row, const float* source)
{
#pragma unroll
    for (int i = 0; i < width; i += 4)
        *reinterpret_cast<float4*>(row + i) = *reinterpret_cast<const float4*>(source + i);
}

template <int width> __device__ __forceinline__ void store_row(float* target, const float* row)
{
    if constexpr (width % 4 == 0) {
#pragma unroll
        for (int i = 0; i < width; i += 4)
            *reinterpret_cast<float4*>(target + i) = *reinterpret_cast<const float4*>(row + i);
    } else {
#pragma unroll
        for (int i = 0; i < width; ++i) target[i] = row[i];
    }
}

// `count` neighbouring factors, which lie at a multiple of `count`.
template <int count> __device__ __forceinline__ void load_factors(float* factors, const float* source)
{
    if constexpr (count == 4) {
        *reinterpret_cast<float4*>(factors) = *reinterpret_cast<const float4*>(source);
    } else if constexpr (count == 2) {
        *reinterpret_cast<float2*>(factors) = *reinterpret_cast<const float2*>(source);
    } else {
#pragma unroll
        for (int j = 0; j < count; ++j) factors[j] = source[j];
    }
}

template <int splits, int size> __device__ __forceinline__ float sum_of_splits(const float* parts, int i)
{
    float sum = parts[i];
#pragma unroll
    for (int split = 1; split < splits; ++split) sum += parts[split * size + i];
    return sum;
}

template <int width> __device__ __forceinline__ float sum_over_lanes(float value)
{
#pragma unroll
    for (int step = width / 2; step > 0; step /= 2) value += __shfl_down_sync(0xffffffffu, value, step, width);
    return value;
}

#ifdef FORWARD
// y = activation(w * x + b). A block makes BLOCK_K filters of one image, a thread one row of THREAD_K of them.
// Grid: images, K / BLOCK_K.
extern "C" __global__ void __launch_bounds__(THREADS)
    convolution_forward(const float* x, const float* w, const float* b, float* y, float parameter)
{
    extern __shared__ float4 memory[];
    float* weights = reinterpret_cast<float*>(memory);  // TAPS x BLOCK_K
    float* tile = weights + ROUNDED(TAPS * BLOCK_K);    // C x H rows
    const int first = blockIdx.y * BLOCK_K;
    if (!W_IS_OLD) wait_for_inputs();
#pragma unroll 8
    for (int i = threadIdx.x; i < TAPS * BLOCK_K; i += THREADS)
        weights[i % TAPS * BLOCK_K + i / TAPS] = w[first * TAPS + i];
    if (W_IS_OLD) wait_for_inputs();
    load_rows<C * H, W, X_PITCH>(tile, x + static_cast<long long>(blockIdx.x) * C * H * W);
    __syncthreads();

    constexpr int items = OH * (BLOCK_K / THREAD_K);
    const int item = threadIdx.x % items, split = threadIdx.x / items;
    const int oh = item % OH, group = item / OH * THREAD_K;
    alignas(16) float sums[THREAD_K][ROUNDED(OW)] = {};
    if (split < SPLITS) {
        for (int line = split; line < C * R; line += SPLITS) {
            const int h = oh * STRIDE_H - PAD_H + line % R * DILATION_H;
            if (h < 0 || h >= H) continue;
            alignas(16) float row[ROUNDED(W)];
            load_row<W>(row, tile + (line / R * H + h) * X_PITCH);
#pragma unroll
            for (int s = 0; s < S; ++s) {
                alignas(16) float factors[THREAD_K];
                load_factors<THREAD_K>(factors, weights + (line * S + s) * BLOCK_K + group);
#pragma unroll
                for (int ow = 0; ow < OW; ++ow) {
                    if (COLUMN(ow, s) < 0 || COLUMN(ow, s) >= W) continue;
#pragma unroll
                    for (int j = 0; j < THREAD_K; ++j)
                        sums[j][ow] = fmaf(row[COLUMN(ow, s)], factors[j], sums[j][ow]);
                }
            }
        }
    }
    __syncthreads();
    float* parts = reinterpret_cast<float*>(memory);  // SPLITS x BLOCK_K x PIXELS
    if (split < SPLITS) {
#pragma unroll
        for (int j = 0; j < THREAD_K; ++j)
            store_row<OW>(parts + ((split * BLOCK_K + group + j) * OH + oh) * OW, sums[j]);
    }
    __syncthreads();
    float* result = y + (static_cast<long long>(blockIdx.x) * K + first) * PIXELS;
    for (int i = threadIdx.x; i < BLOCK_K * PIXELS; i += THREADS) {
        const float bias = HAS_BIAS ? b[first + i / PIXELS] : 0.0f;
        result[i] = activate<KIND>(sum_of_splits<SPLITS, BLOCK_K * PIXELS>(parts, i) + bias, parameter);
    }
}
#endif

#ifdef FORWARD_WHOLE
// The same where the window is the whole input and the output one pixel: a warp a filter. Grid: images.
extern "C" __global__ void __launch_bounds__(THREADS)
    convolution_forward_whole(const float* x, const float* w, const float* b, float* y, float parameter)
{
    wait_for_inputs();
    const float* image = x + static_cast<long long>(blockIdx.x) * TAPS;
    const int lane = threadIdx.x % 32;
    for (int k = threadIdx.x / 32; k < K; k += THREADS / 32) {
        float sum = 0.0f;
#pragma unroll 8
        for (int tap = lane; tap < TAPS; tap += 32) sum = fmaf(image[tap], w[k * TAPS + tap], sum);
        sum = sum_over_lanes<32>(sum);
        if (lane == 0) y[blockIdx.x * K + k] = activate<KIND>(HAS_BIAS ? sum + b[k] : sum, parameter);
    }
}
#endif

#ifdef BACKWARD_DATA
// dx = (w transposed * dy) activation'(x), x being the output of the activation before the convolution. A block makes
// BLOCK_C channels of one image, a thread one row of THREAD_C of them. Rows are taken by their phase in the stride, so
// that neighbouring threads use the same taps.
#define PHASE_ROWS ((H + STRIDE_H - 1) / STRIDE_H)
__device__ __forceinline__ void backward_data(
    float* memory, long long image, int first, const float* dy, const float* w, const float* x, float* dx,
    float parameter)
{
    float* weights = memory;                             // K x R x S x BLOCK_C
    float* tile = weights + ROUNDED(K * R * S * BLOCK_C);  // K x OH rows
    if (!W_IS_OLD) wait_for_inputs();
#pragma unroll 8
    for (int i = threadIdx.x; i < K * R * S * BLOCK_C; i += THREADS) {
        const int tap = i % (R * S), c = i / (R * S) % BLOCK_C, k = i / (R * S * BLOCK_C);
        weights[(k * R * S + tap) * BLOCK_C + c] = w[(k * C + first + c) * R * S + tap];
    }
    if (W_IS_OLD) wait_for_inputs();
    load_rows<K * OH, OW, Y_PITCH>(tile, dy + image * K * PIXELS);
    __syncthreads();

    constexpr int groups = BLOCK_C / THREAD_C, items = STRIDE_H * PHASE_ROWS * groups;
    const int item = threadIdx.x % items, split = threadIdx.x / items;
    const int group = item / PHASE_ROWS % groups * THREAD_C;
    const int h = item % PHASE_ROWS * STRIDE_H + item / (PHASE_ROWS * groups);
    const bool busy = split < DATA_SPLITS && h < H;
    alignas(16) float sums[THREAD_C][ROUNDED(W)] = {};
    if (busy) {
        for (int r = 0; r < R; ++r) {
            const int shifted = h + PAD_H - r * DILATION_H;
            if (shifted < 0 || shifted % STRIDE_H != 0 || shifted / STRIDE_H >= OH) continue;
            for (int k = split; k < K; k += DATA_SPLITS) {
                alignas(16) float row[ROUNDED(OW)];
                load_row<OW>(row, tile + (k * OH + shifted / STRIDE_H) * Y_PITCH);
#pragma unroll
                for (int s = 0; s < S; ++s) {
                    alignas(16) float factors[THREAD_C];
                    load_factors<THREAD_C>(factors, weights + ((k * R + r) * S + s) * BLOCK_C + group);
#pragma unroll
                    for (int ow = 0; ow < OW; ++ow) {
                        if (COLUMN(ow, s) < 0 || COLUMN(ow, s) >= W) continue;
#pragma unroll
                        for (int j = 0; j < THREAD_C; ++j)
                            sums[j][COLUMN(ow, s)] = fmaf(row[ow], factors[j], sums[j][COLUMN(ow, s)]);
                    }
                }
            }
        }
    }
    __syncthreads();
    float* parts = memory;  // DATA_SPLITS x BLOCK_C x H x W
    if (busy) {
#pragma unroll
        for (int j = 0; j < THREAD_C; ++j)
            store_row<W>(parts + ((split * BLOCK_C + group + j) * H + h) * W, sums[j]);
    }
    __syncthreads();
    const long long start = (image * C + first) * H * W;
    for (int i = threadIdx.x; i < BLOCK_C * H * W; i += THREADS) {
        const float sum = sum_of_splits<DATA_SPLITS, BLOCK_C * H * W>(parts, i);
        dx[start + i] = KIND == 0 ? sum : activate_backward<KIND>(x[start + i], sum, parameter);
    }
}
#endif

#ifdef BACKWARD_FILTER
// Sums of dw and db over the images part, part + parts, ...: partial[part][TAPS of K filters, then K biases]. A block
// makes FILTER_C channels of FILTER_K filters, a thread one row of the taps of one channel of FILTER_THREAD_K filters.
#define FILTER_TAPS (FILTER_C * R * S)
#define WARPS (THREADS / 32)
#define BIASES ((FILTER_K + WARPS - 1) / WARPS)
__device__ __forceinline__ void backward_filter(
    float* memory, int part, int parts, int first, int first_k, const float* x, const float* dy, float* partial,
    int images)
{
    float* gradient = memory;                        // FILTER_K x OH rows
    float* tile = gradient + FILTER_K * OH * Y_PITCH;  // FILTER_C x H rows
    constexpr int lines = FILTER_C * R, items = lines * (FILTER_K / FILTER_THREAD_K);
    const int item = threadIdx.x % items, split = threadIdx.x / items;
    const int line = item % lines, group = item / lines * FILTER_THREAD_K;
    alignas(16) float sums[FILTER_THREAD_K][ROUNDED(S)] = {};
    float bias[BIASES] = {};

    for (int n = part; n < images; n += parts) {
        __syncthreads();
        load_rows<FILTER_K * OH, OW, Y_PITCH>(gradient, dy + (static_cast<long long>(n) * K + first_k) * PIXELS);
        load_rows<FILTER_C * H, W, X_PITCH>(tile, x + (static_cast<long long>(n) * C + first) * H * W);
        __syncthreads();
        for (int oh = split; oh < OH && split < FILTER_SPLITS; oh += FILTER_SPLITS) {
            const int h = oh * STRIDE_H - PAD_H + line % R * DILATION_H;
            if (h < 0 || h >= H) continue;
            alignas(16) float row[ROUNDED(W)];
            load_row<W>(row, tile + (line / R * H + h) * X_PITCH);
#pragma unroll
            for (int j = 0; j < FILTER_THREAD_K; ++j) {
                alignas(16) float factors[ROUNDED(OW)];
                load_row<OW>(factors, gradient + ((group + j) * OH + oh) * Y_PITCH);
#pragma unroll
                for (int s = 0; s < S; ++s)
#pragma unroll
                    for (int ow = 0; ow < OW; ++ow) {
                        if (COLUMN(ow, s) < 0 || COLUMN(ow, s) >= W) continue;
                        sums[j][s] = fmaf(row[COLUMN(ow, s)], factors[ow], sums[j][s]);
                    }
            }
        }
#pragma unroll
        for (int i = 0; i < BIASES; ++i) {
            const int k = threadIdx.x / 32 + i * WARPS;
            if (first == 0 && k < FILTER_K)
                for (int p = threadIdx.x % 32; p < PIXELS; p += 32)
                    bias[i] += gradient[(k * OH + p / OW) * Y_PITCH + p % OW];
        }
    }

    __syncthreads();
    float* shared = memory;  // FILTER_SPLITS x FILTER_K x FILTER_TAPS
    if (split < FILTER_SPLITS) {
#pragma unroll
        for (int j = 0; j < FILTER_THREAD_K; ++j)
            store_row<S>(shared + ((split * FILTER_K + group + j) * lines + line) * S, sums[j]);
    }
    __syncthreads();
    float* result = partial + static_cast<long long>(part) * (K * TAPS + K);
    for (int i = threadIdx.x; i < FILTER_K * FILTER_TAPS; i += THREADS)
        result[(first_k + i / FILTER_TAPS) * TAPS + first * R * S + i % FILTER_TAPS] =
            sum_of_splits<FILTER_SPLITS, FILTER_K * FILTER_TAPS>(shared, i);
#pragma unroll
    for (int i = 0; i < BIASES; ++i) {
        const int k = threadIdx.x / 32 + i * WARPS;
        const float sum = sum_over_lanes<32>(bias[i]);
        if (first == 0 && k < FILTER_K && threadIdx.x % 32 == 0) result[K * TAPS + first_k + k] = sum;
    }
}
#endif

#if defined(BACKWARD_DATA) || defined(BACKWARD_FILTER)
// Both gradients, whose blocks fill the card together: first those of the filters, part by part, then those of the data,
// image by image. Either may be left out.
extern "C" __global__ void __launch_bounds__(THREADS) convolution_backward(
    const float* x, const float* dy, const float* w, float* partial, float* dx, float parameter, int images, int parts)
{
    extern __shared__ float4 memory[];
    float* shared = reinterpret_cast<float*>(memory);
    int block = blockIdx.x;
#ifdef BACKWARD_FILTER
    constexpr int across = C / FILTER_C, down = K / FILTER_K;
    if (block < parts * across * down) {
        wait_for_inputs();
        const int first = block / parts % across * FILTER_C, first_k = block / (parts * across) * FILTER_K;
        backward_filter(shared, block % parts, parts, first, first_k, x, dy, partial, images);
        return;
    }
    block -= parts * across * down;
#endif
#ifdef BACKWARD_DATA
    backward_data(shared, block % images, block / images * BLOCK_C, dy, w, x, dx, parameter);
#endif
}
#endif

#ifdef BACKWARD_WHOLE
// Both where the window is the whole input and the output one pixel: a thread makes all filters of one tap of a part,
// or one element of dx. DATA and FILTER say which are wanted.
extern "C" __global__ void __launch_bounds__(THREADS) convolution_backward_whole(
    const float* x, const float* dy, const float* w, float* partial, float* dx, float parameter, int images, int parts)
{
    wait_for_inputs();
    constexpr int across = (TAPS + THREADS - 1) / THREADS;
    int block = blockIdx.x;
    if (FILTER && block < parts * across) {
        const int part = block / across, tap = block % across * THREADS + threadIdx.x;
        float sums[K], bias = 0.0f;
#pragma unroll
        for (int k = 0; k < K; ++k) sums[k] = 0.0f;
#pragma unroll 4
        for (int n = part; n < images; n += parts) {
            const float value = tap < TAPS ? x[static_cast<long long>(n) * TAPS + tap] : 0.0f;
#pragma unroll
            for (int k = 0; k < K; ++k) sums[k] = fmaf(value, dy[n * K + k], sums[k]);
            if (tap < K) bias += dy[n * K + tap];
        }
        float* result = partial + static_cast<long long>(part) * (K * TAPS + K);
        if (tap < TAPS) {
#pragma unroll
            for (int k = 0; k < K; ++k) result[k * TAPS + tap] = sums[k];
        }
        if (tap < K) result[K * TAPS + tap] = bias;
        return;
    }
    if (FILTER) block -= parts * across;
    const int image = block / across, tap = block % across * THREADS + threadIdx.x;
    if (!DATA || tap >= TAPS) return;
    float sum = 0.0f;
#pragma unroll
    for (int k = 0; k < K; ++k) sum = fmaf(dy[image * K + k], w[k * TAPS + tap], sum);
    const long long at = static_cast<long long>(image) * TAPS + tap;
    dx[at] = KIND == 0 ? sum : activate_backward<KIND>(x[at], sum, parameter);
}
#endif
