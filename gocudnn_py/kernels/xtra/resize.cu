// Planes resized: x (samples, height, width, inner) to y (samples, y_height, y_width, inner), where inner is 1 for
// NCHW and the channels for NHWC. A thread works out its place in the plane once and goes through the samples, a block
// through `group` of them at a time where planes are small. Gradients gather, so their sums have one order.

#include "pack.cuh"

#define FOR_EACH_OF_PLANE(j, count)                                                                     \
    for (long long i = static_cast<long long>(blockIdx.x) * THREADS + threadIdx.x, j; i < (count) * group; \
         i += static_cast<long long>(gridDim.x) * THREADS)                                                \
        if (j = i % (count), true)
#define FOR_EACH_SAMPLE(n, count) \
    for (long long n = static_cast<long long>(blockIdx.y) * group + i / (count); n < samples; n += gridDim.y * group)

#ifdef UNIT
// Nearest: element o of y is element (o num + add) / den of x, along either axis. UNIT is what moves as one.
extern "C" __global__ void __launch_bounds__(THREADS) resize_nearest(
    const UNIT* __restrict__ x, UNIT* __restrict__ y, long long samples, long long group, long long inner, int height,
    int width, int y_height, int y_width, long long h_num, long long h_add, long long h_den, long long w_num,
    long long w_add, long long w_den)
{
    const long long x_plane = static_cast<long long>(height) * width * inner;
    const long long y_plane = static_cast<long long>(y_height) * y_width * inner;
    FOR_EACH_OF_PLANE(j, y_plane) {
        const long long pixel = j / inner;
        const long long h = (pixel / y_width * h_num + h_add) / h_den, w = (pixel % y_width * w_num + w_add) / w_den;
        const long long from = (min(h, height - 1ll) * width + min(w, width - 1ll)) * inner + j % inner;
#pragma unroll 4
        FOR_EACH_SAMPLE(n, y_plane) y[n * y_plane + j] = x[n * x_plane + from];
    }
}
#endif

#ifdef T
// The first o of `count` whose source is i or beyond.
__device__ __forceinline__ int first_from(long long i, long long num, long long add, long long den, int count)
{
    const long long rest = i * den - add;
    if (rest <= 0) return 0;
    if (num == 0) return count;
    const long long o = (rest + num - 1) / num;
    return o < count ? static_cast<int>(o) : count;
}

extern "C" __global__ void __launch_bounds__(THREADS) resize_nearest_backward(
    const T* __restrict__ dy, T* __restrict__ dx, long long samples, long long group, long long inner, int height,
    int width, int y_height, int y_width, long long h_num, long long h_add, long long h_den, long long w_num,
    long long w_add, long long w_den)
{
    const long long x_plane = static_cast<long long>(height) * width * inner;
    const long long y_plane = static_cast<long long>(y_height) * y_width * inner;
    FOR_EACH_OF_PLANE(j, x_plane) {
        const long long pixel = j / inner, c = j % inner;
        const int h = static_cast<int>(pixel / width), w = static_cast<int>(pixel % width);
        const int top = first_from(h, h_num, h_add, h_den, y_height);
        const int left = first_from(w, w_num, w_add, w_den, y_width);
        const int bottom = h == height - 1 ? y_height : first_from(h + 1, h_num, h_add, h_den, y_height);
        const int right = w == width - 1 ? y_width : first_from(w + 1, w_num, w_add, w_den, y_width);
        FOR_EACH_SAMPLE(n, x_plane) {
            const T* plane = dy + n * y_plane + c;
            float sum = 0.0f;
            for (int p = top; p < bottom; ++p)
#pragma unroll 4
                for (int q = left; q < right; ++q)
                    sum += static_cast<float>(plane[(static_cast<long long>(p) * y_width + q) * inner]);
            dx[n * x_plane + j] = sum;
        }
    }
}

// Between which two elements of `count` an element lies, and how near the second; products and sums rounded one by one,
// as on the host.
struct Between {
    int low, high;
    float weight;
    __device__ __forceinline__ Between(int o, float scale, float shift, int count)
    {
        const float exact = __fsub_rn(__fmul_rn(__fadd_rn(static_cast<float>(o), shift), scale), shift);
        const float place = exact > 0.0f ? exact : 0.0f;
        low = static_cast<int>(place);
        if (low > count - 1) low = count - 1;
        high = low < count - 1 ? low + 1 : low;
        weight = place - static_cast<float>(low);
    }
    // How much of it is element i's.
    __device__ __forceinline__ float share(int i) const
    {
        return (low == i ? 1.0f - weight : 0.0f) + (high == i ? weight : 0.0f);
    }
};

// AT_ONCE channels at a time.
extern "C" __global__ void __launch_bounds__(THREADS) resize_bilinear(
    const T* __restrict__ x, T* __restrict__ y, long long samples, long long group, long long inner, int height,
    int width, int y_height, int y_width, float h_scale, float w_scale, float shift)
{
    const long long x_plane = static_cast<long long>(height) * width * inner;
    const long long y_plane = static_cast<long long>(y_height) * y_width * inner;
    FOR_EACH_OF_PLANE(j, y_plane / AT_ONCE) {
        const long long pixel = j * AT_ONCE / inner, c = j * AT_ONCE % inner;
        const Between h(static_cast<int>(pixel / y_width), h_scale, shift, height);
        const Between w(static_cast<int>(pixel % y_width), w_scale, shift, width);
        const long long top = static_cast<long long>(h.low) * width, bottom = static_cast<long long>(h.high) * width;
        const long long places[4] = {top + w.low, top + w.high, bottom + w.low, bottom + w.high};
#pragma unroll 2
        FOR_EACH_SAMPLE(n, y_plane / AT_ONCE) {
            const T* plane = x + n * x_plane + c;
            Pack<T, AT_ONCE> corner[4], made;
#pragma unroll
            for (int k = 0; k < 4; ++k) corner[k] = pack_at<AT_ONCE>(plane, places[k] * inner);
#pragma unroll
            for (int k = 0; k < AT_ONCE; ++k) {
                const float upper = (1.0f - w.weight) * static_cast<float>(corner[0].at[k]) +
                                    w.weight * static_cast<float>(corner[1].at[k]);
                const float lower = (1.0f - w.weight) * static_cast<float>(corner[2].at[k]) +
                                    w.weight * static_cast<float>(corner[3].at[k]);
                made.at[k] = (1.0f - h.weight) * upper + h.weight * lower;
            }
            *reinterpret_cast<Pack<T, AT_ONCE>*>(y + n * y_plane + j * AT_ONCE) = made;
        }
    }
}

// An element of y at which those may begin that take from element i of x.
__device__ __forceinline__ int first_near(int i, float scale, float shift, int count)
{
    if (!(scale > 0.0f)) return 0;
    const float o = (static_cast<float>(i) - 1.0f + shift) / scale - shift - 2.0f;
    return o > 0.0f ? (o < static_cast<float>(count) ? static_cast<int>(o) : count) : 0;
}

extern "C" __global__ void __launch_bounds__(THREADS) resize_bilinear_backward(
    const T* __restrict__ dy, T* __restrict__ dx, long long samples, long long group, long long inner, int height,
    int width, int y_height, int y_width, float h_scale, float w_scale, float shift)
{
    const long long x_plane = static_cast<long long>(height) * width * inner;
    const long long y_plane = static_cast<long long>(y_height) * y_width * inner;
    FOR_EACH_OF_PLANE(j, x_plane / AT_ONCE) {
        const long long pixel = j * AT_ONCE / inner, c = j * AT_ONCE % inner;
        const int h = static_cast<int>(pixel / width), w = static_cast<int>(pixel % width);
        const int top = first_near(h, h_scale, shift, y_height), left = first_near(w, w_scale, shift, y_width);
        FOR_EACH_SAMPLE(n, x_plane / AT_ONCE) {
            const T* plane = dy + n * y_plane + c;
            float sum[AT_ONCE] = {};
            for (int p = top; p < y_height; ++p) {
                const Between down(p, h_scale, shift, height);
                if (down.low > h) break;
                const float share = down.share(h);
                if (share == 0.0f) continue;
                for (int q = left; q < y_width; ++q) {
                    const Between across(q, w_scale, shift, width);
                    if (across.low > w) break;
                    const float part = share * across.share(w);
                    if (part == 0.0f) continue;
                    const auto up = pack_at<AT_ONCE>(plane, (static_cast<long long>(p) * y_width + q) * inner);
#pragma unroll
                    for (int k = 0; k < AT_ONCE; ++k) sum[k] += part * static_cast<float>(up.at[k]);
                }
            }
            Pack<T, AT_ONCE> made;
#pragma unroll
            for (int k = 0; k < AT_ONCE; ++k) made.at[k] = sum[k];
            *reinterpret_cast<Pack<T, AT_ONCE>*>(dx + n * x_plane + j * AT_ONCE) = made;
        }
    }
}
#endif
