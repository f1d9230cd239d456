// Planes resized: x (samples, height, width, inner) to y (samples, y_height, y_width, inner), where inner is 1 for
// NCHW and the channels for NHWC, all in units of elements that move as one. A thread takes a part of a row of what is
// written, in up to `rows` rows one after another: it works out its columns once and keeps what rows have in common.
// Gradients gather, so their sums have one order. CHANNELS is `inner`, or the number 1 where it is 1. INDEX is an
// unsigned type for the places of units, and for what nearest divides.

#include "pack.cuh"

// What a thread takes: of a row of `parts` one, from row `top` to before `bottom` of a sample.
struct Strip {
    INDEX part, sample;
    int top, bottom;
    __device__ __forceinline__ Strip(INDEX parts, INDEX rows, int height)
    {
        const INDEX i = static_cast<INDEX>(blockIdx.x) * THREADS + threadIdx.x;
        const INDEX band = i / parts, bands = (height + rows - 1) / rows;
        part = i - band * parts;
        sample = band / bands;
        top = static_cast<int>((band - sample * bands) * rows);
        bottom = static_cast<int>(min(static_cast<INDEX>(height), top + rows));
    }
};

// The element of x, `low`, that is nearest to element o of y: (o num + add) / den.
struct Nearest {
    INDEX den, part, rest;
    int o, step, low;
    __device__ __forceinline__ Nearest(int o, INDEX num, INDEX add, INDEX den)
        : den(den), part(num % den), rest((o * num + add) % den), o(o), step(static_cast<int>(num / den)),
          low(static_cast<int>((o * num + add) / den))
    {
    }
    __device__ __forceinline__ void next()
    {
        ++o;
        low += step;
        rest += part;
        if (rest >= den) {
            rest -= den;
            ++low;
        }
    }
    // How much of it is element low + 1's, and how much element i's.
    __device__ __forceinline__ float beyond() const { return 0.0f; }
    __device__ __forceinline__ float share(int i) const { return low == i ? 1.0f : 0.0f; }
};

#ifdef UNIT
// RUN units of y at a time.
extern "C" __global__ void __launch_bounds__(THREADS) resize_nearest(
    const UNIT* __restrict__ x, UNIT* __restrict__ y, long long samples, long long rows, long long inner, int height,
    int width, int y_height, int y_width, long long h_num, long long h_add, long long h_den, long long w_num,
    long long w_add, long long w_den)
{
    const INDEX channels = CHANNELS, x_row = width * channels, y_row = y_width * channels;
    const Strip strip(y_row / RUN, rows, y_height);
    if (strip.sample >= samples) return;
    const INDEX first = strip.part * RUN, column = first / channels;
    Nearest across(static_cast<int>(column), w_num, w_add, w_den), down(strip.top, h_num, h_add, h_den);
    INDEX from[RUN], c = first - column * channels;
#pragma unroll
    for (int k = 0; k < RUN; ++k) {
        from[k] = across.low * channels + c;
        if (++c == channels) {
            c = 0;
            across.next();
        }
    }
    const INDEX plane = strip.sample * height * x_row;
    INDEX to = (strip.sample * y_height + strip.top) * y_row + first;
    Pack<UNIT, RUN> made;
    for (int held = -1; down.o < strip.bottom; down.next(), to += y_row) {
        if (down.low != held) {
            held = down.low;
            const UNIT* row = x + (plane + held * x_row);
#pragma unroll
            for (int k = 0; k < RUN; ++k) made.at[k] = row[from[k]];
        }
        *reinterpret_cast<Pack<UNIT, RUN>*>(y + to) = made;
    }
}
#endif

#ifdef T
using Unit = Pack<T, PACK>;

// Between which two elements of `count` element o lies, and how near the second; products and sums rounded one by one,
// as on the host.
struct Between {
    float scale, shift, weight;
    int count, o, low, high;
    __device__ __forceinline__ Between(int o, float scale, float shift, int count)
        : scale(scale), shift(shift), count(count), o(o - 1)
    {
        next();
    }
    __device__ __forceinline__ void next()
    {
        ++o;
        const float exact = __fsub_rn(__fmul_rn(__fadd_rn(static_cast<float>(o), shift), scale), shift);
        const float place = exact > 0.0f ? exact : 0.0f;
        low = static_cast<int>(place);
        if (low > count - 1) low = count - 1;
        high = low < count - 1 ? low + 1 : low;
        weight = place - static_cast<float>(low);
    }
    // How much of it is element low + 1's, and how much element i's.
    __device__ __forceinline__ float beyond() const { return high > low ? weight : 0.0f; }
    __device__ __forceinline__ float share(int i) const
    {
        return low == i ? 1.0f - beyond() : low + 1 == i ? beyond() : 0.0f;
    }
};
#endif

#if defined(T) && defined(RUN)
// Where RUN units of a row of y lie in a row of x: between which two, and how near the second.
struct Columns {
    INDEX low[RUN], high[RUN];
    float weight[RUN];
    __device__ __forceinline__ void blend(const Unit* row, float (&made)[RUN * PACK]) const
    {
        Unit left[RUN], right[RUN];
#pragma unroll
        for (int k = 0; k < RUN; ++k) {
            left[k] = row[low[k]];
            right[k] = row[high[k]];
        }
#pragma unroll
        for (int e = 0; e < RUN * PACK; ++e)
            made[e] = (1.0f - weight[e / PACK]) * static_cast<float>(left[e / PACK].at[e % PACK]) +
                      weight[e / PACK] * static_cast<float>(right[e / PACK].at[e % PACK]);
    }
};

// RUN units of y at a time.
extern "C" __global__ void __launch_bounds__(THREADS) resize_bilinear(
    const Unit* __restrict__ x, Unit* __restrict__ y, long long samples, long long rows, long long inner, int height,
    int width, int y_height, int y_width, float h_scale, float w_scale, float shift)
{
    const INDEX channels = CHANNELS, x_row = width * channels, y_row = y_width * channels;
    const Strip strip(y_row / RUN, rows, y_height);
    if (strip.sample >= samples) return;
    const INDEX first = strip.part * RUN, column = first / channels;
    Between across(static_cast<int>(column), w_scale, shift, width), down(strip.top, h_scale, shift, height);
    INDEX c = first - column * channels;
    Columns columns;
#pragma unroll
    for (int k = 0; k < RUN; ++k) {
        columns.low[k] = across.low * channels + c;
        columns.high[k] = across.high * channels + c;
        columns.weight[k] = across.weight;
        if (++c == channels) {
            c = 0;
            across.next();
        }
    }
    const INDEX plane = strip.sample * height * x_row;
    INDEX to = (strip.sample * y_height + strip.top) * y_row + first;
    float upper[RUN * PACK], lower[RUN * PACK];
    for (int above = -1, below = -1; down.o < strip.bottom; down.next(), to += y_row) {
        if (down.low != above) {
            above = down.low;
            if (above == below) {
#pragma unroll
                for (int e = 0; e < RUN * PACK; ++e) upper[e] = lower[e];
            } else {
                columns.blend(x + (plane + above * x_row), upper);
            }
        }
        if (down.high != below) {
            below = down.high;
            columns.blend(x + (plane + below * x_row), lower);
        }
        Pack<T, RUN * PACK> made;
#pragma unroll
        for (int e = 0; e < RUN * PACK; ++e) made.at[e] = (1.0f - down.weight) * upper[e] + down.weight * lower[e];
        *reinterpret_cast<Pack<T, RUN * PACK>*>(y + to) = made;
    }
}
#endif

#ifdef TAPS
// An axis along which y has `count` elements: at(o) is element o, from(i) the first that takes from element i of x, or
// from those beyond.
struct NearestAxis {
    INDEX num, add, den;
    int count;
    __device__ __forceinline__ Nearest at(int o) const { return Nearest(o, num, add, den); }
    __device__ __forceinline__ Nearest from(int i) const
    {
        const INDEX end = i * den;
        const INDEX o = end <= add ? 0 : num == 0 ? count : (end - add + num - 1) / num;
        return at(o < count ? static_cast<int>(o) : count);
    }
};

struct BetweenAxis {
    float scale, shift;
    int size, count;
    __device__ __forceinline__ Between at(int o) const { return Between(o, scale, shift, size); }
    __device__ __forceinline__ Between from(int i) const
    {
        float near = 0.0f;  // not beyond the first, whatever is rounded
        if (scale > 0.0f) near = (static_cast<float>(i) - 1.0f + shift) / scale * 0.999999f - shift - 1.0f;
        Between place = at(near > 0.0f ? (near < static_cast<float>(count) ? static_cast<int>(near) : count) : 0);
        while (place.o < count && place.high < i) place.next();
        return place;
    }
};

// sum + share value; what there is no share in does not count, even if it is infinite.
__device__ __forceinline__ float plus(float sum, float share, float value)
{
    return share != 0.0f ? sum + share * value : sum;
}

// dx of a unit in TOGETHER samples, a divisor of all. The unit's shares in TAPS <= h.count columns of dy are worked out
// once; more columns that it has a share in follow those.
template <typename Axis>
__device__ __forceinline__ void gather(
    const Unit* __restrict__ dy, Unit* __restrict__ dx, INDEX samples, INDEX rows, INDEX channels, int height,
    int width, const Axis& v, const Axis& h)
{
    constexpr int N = TOGETHER * PACK;
    const INDEX x_row = width * channels, y_row = h.count * channels;
    const INDEX x_plane = height * x_row, y_plane = v.count * y_row;
    const Strip strip(x_row, rows, height);
    const INDEX sample = strip.sample * TOGETHER;
    if (sample >= samples) return;
    const int w = static_cast<int>(strip.part / channels);
    auto down = v.from(strip.top), across = h.at(min(h.from(w).o, h.count - TAPS));
    const INDEX plane = sample * y_plane + strip.part - w * channels, left = across.o * channels;
    float share[TAPS];
#pragma unroll
    for (int t = 0; t < TAPS; ++t, across.next()) share[t] = across.share(w);
    INDEX to = sample * x_plane + strip.top * x_row + strip.part;
    float sum[N] = {}, below[N] = {};  // of a row of dx and of the next
    for (int row = strip.top - 1; row < strip.bottom; ++row) {
        for (; down.o < v.count && down.low <= row; down.next()) {
            const INDEX from = plane + down.o * y_row;
            Unit up[TOGETHER][TAPS];
#pragma unroll
            for (int s = 0; s < TOGETHER; ++s) {
                const Unit* first = dy + (from + left + s * y_plane);
#pragma unroll
                for (int t = 0; t < TAPS; ++t) up[s][t] = first[t * channels];
            }
            float part[N] = {};
#pragma unroll
            for (int t = 0; t < TAPS; ++t)
#pragma unroll
                for (int k = 0; k < N; ++k) part[k] = plus(part[k], share[t], up[k / PACK][t].at[k % PACK]);
            for (auto more = across; more.o < h.count && more.low <= w; more.next()) {
#pragma unroll
                for (int s = 0; s < TOGETHER; ++s) up[s][0] = dy[from + more.o * channels + s * y_plane];
#pragma unroll
                for (int k = 0; k < N; ++k) part[k] = plus(part[k], more.share(w), up[k / PACK][0].at[k % PACK]);
            }
#pragma unroll
            for (int k = 0; k < N; ++k) {
                sum[k] = plus(sum[k], 1.0f - down.beyond(), part[k]);
                below[k] = plus(below[k], down.beyond(), part[k]);
            }
        }
        if (row >= strip.top) {
            Unit made[TOGETHER];
#pragma unroll
            for (int k = 0; k < N; ++k) made[k / PACK].at[k % PACK] = sum[k];
#pragma unroll
            for (int s = 0; s < TOGETHER; ++s) dx[to + s * x_plane] = made[s];
            to += x_row;
        }
#pragma unroll
        for (int k = 0; k < N; ++k) {
            sum[k] = below[k];
            below[k] = 0.0f;
        }
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, 3) resize_nearest_backward(
    const Unit* __restrict__ dy, Unit* __restrict__ dx, long long samples, long long rows, long long inner, int height,
    int width, int y_height, int y_width, long long h_num, long long h_add, long long h_den, long long w_num,
    long long w_add, long long w_den)
{
    const NearestAxis v{static_cast<INDEX>(h_num), static_cast<INDEX>(h_add), static_cast<INDEX>(h_den), y_height};
    const NearestAxis h{static_cast<INDEX>(w_num), static_cast<INDEX>(w_add), static_cast<INDEX>(w_den), y_width};
    gather(dy, dx, samples, rows, CHANNELS, height, width, v, h);
}

extern "C" __global__ void __launch_bounds__(THREADS, 3) resize_bilinear_backward(
    const Unit* __restrict__ dy, Unit* __restrict__ dx, long long samples, long long rows, long long inner, int height,
    int width, int y_height, int y_width, float h_scale, float w_scale, float shift)
{
    const BetweenAxis v{h_scale, shift, height, y_height}, h{w_scale, shift, width, y_width};
    gather(dy, dx, samples, rows, CHANNELS, height, width, v, h);
}
#endif
