// Planes resized, by the nearest element or bilinearly: RUN units of y at a time. `rows` are of y, with FACTOR of x.

#include "resize.cuh"

#ifdef UNIT
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
// Where RUN units of a row of y, from `first` on, lie in a row of x: between which two, and how near the second.
struct Columns {
#ifdef FACTOR
    // FACTOR of them begin half of that before an element of x and end half of it before the next.
    static constexpr int OWN = RUN / FACTOR;
    INDEX before, own, after;
    __device__ __forceinline__ Columns(INDEX first, INDEX, int width, float, float)
        : before(max(first / FACTOR, static_cast<INDEX>(1)) - 1), own(first / FACTOR),
          after(min(first / FACTOR + OWN, static_cast<INDEX>(width - 1)))
    {
    }
    __device__ __forceinline__ void blend(const Unit* row, float (&made)[RUN]) const
    {
        const Pack<T, OWN> read = *reinterpret_cast<const Pack<T, OWN>*>(row + own);
        float x[OWN + 2];
        x[0] = static_cast<float>(row[before].at[0]);
        x[OWN + 1] = static_cast<float>(row[after].at[0]);
#pragma unroll
        for (int k = 0; k < OWN; ++k) x[k + 1] = static_cast<float>(read.at[k]);
#pragma unroll
        for (int k = 0; k < RUN; ++k) {
            const int beyond = 2 * (k % FACTOR) + 1 - FACTOR, low = k / FACTOR + (beyond >= 0);
            const float weight = (beyond < 0 ? beyond + 2 * FACTOR : beyond) / (2.0f * FACTOR);
            made[k] = (1.0f - weight) * x[low] + weight * x[low + 1];
        }
    }
#else
    INDEX low[RUN], high[RUN];
    float weight[RUN];
    __device__ __forceinline__ Columns(INDEX first, INDEX channels, int width, float scale, float shift)
    {
        const INDEX column = first / channels;
        Between across(static_cast<int>(column), scale, shift, width);
        INDEX c = first - column * channels;
#pragma unroll
        for (int k = 0; k < RUN; ++k) {
            low[k] = across.low * channels + c;
            high[k] = across.high * channels + c;
            weight[k] = across.weight;
            if (++c == channels) {
                c = 0;
                across.next();
            }
        }
    }
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
#endif
};

// A part of a row of y, made of the upper of two rows of x and, by `weight`, of the lower.
__device__ __forceinline__ void
put(Unit* y, float weight, const float (&upper)[RUN * PACK], const float (&lower)[RUN * PACK])
{
    Pack<T, RUN * PACK> made;
#pragma unroll
    for (int e = 0; e < RUN * PACK; ++e) made.at[e] = (1.0f - weight) * upper[e] + weight * lower[e];
    *reinterpret_cast<Pack<T, RUN * PACK>*>(y) = made;
}

extern "C" __global__ void __launch_bounds__(THREADS) resize_bilinear(
    const Unit* __restrict__ x, Unit* __restrict__ y, long long samples, long long rows, long long inner, int height,
    int width, int y_height, int y_width, float h_scale, float w_scale, float shift)
{
    const INDEX channels = CHANNELS, x_row = width * channels, y_row = y_width * channels;
#ifdef FACTOR
    const Strip strip(y_row / RUN, rows, height);
#else
    const Strip strip(y_row / RUN, rows, y_height);
#endif
    if (strip.sample >= samples) return;
    const INDEX first = strip.part * RUN;
    const Columns columns(first, channels, width, w_scale, shift);
    const INDEX plane = strip.sample * height * x_row;
    float upper[RUN * PACK], lower[RUN * PACK];
#ifdef FACTOR
    INDEX to = (strip.sample * y_height + strip.top * FACTOR - FACTOR / 2) * y_row + first;
    columns.blend(x + (plane + max(strip.top - 1, 0) * x_row), upper);
#pragma unroll 2
    for (int row = strip.top; row <= strip.bottom; ++row) {  // what lies between row - 1 and row
        columns.blend(x + (plane + min(row, height - 1) * x_row), lower);
#pragma unroll
        for (int k = 0; k < FACTOR; ++k, to += y_row)
            if (k < FACTOR / 2 ? row > strip.top : row < strip.bottom)
                put(y + to, (2 * k + 1) / (2.0f * FACTOR), upper, lower);
#pragma unroll
        for (int e = 0; e < RUN; ++e) upper[e] = lower[e];
    }
#else
    INDEX to = (strip.sample * y_height + strip.top) * y_row + first;
    Between down(strip.top, h_scale, shift, height);
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
        put(y + to, down.weight, upper, lower);
    }
#endif
}
#endif
