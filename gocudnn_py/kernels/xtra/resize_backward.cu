// Gradients of resized planes. They gather, so their sums have one order: dx in TOGETHER samples, a divisor of all.

#include "resize.cuh"

#ifdef FACTOR
#define BLOCKS 4  // of a multiprocessor, at least
#else
#define BLOCKS 3
#endif

// An axis along which y has `count` elements: at(o) is element o, from(i) the first that takes from element i of x, or
// from those beyond.
struct NearestAxis {
    using Place = Nearest;
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
    using Place = Between;
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

// What there is no share in does not count, even if it is infinite.
template <int N> __device__ __forceinline__ void add(float (&sum)[N], float share, const float (&part)[N])
{
    if (share == 0.0f) return;
#pragma unroll
    for (int k = 0; k < N; ++k) sum[k] += share * part[k];
}

#ifdef FACTOR
// Where RUN neighbours of a row of dx, from `first` on, have their shares in a row of dy: in FACTOR columns each of
// their own, and with OVER in half as many on both sides, which have a share each in two of dx, or all of it in the
// first or the last. There is nothing beyond the row.
template <int OVER, typename Axis> struct Across {
    static constexpr int EACH = RUN, N = TOGETHER * EACH, OWN = RUN * FACTOR;
    static constexpr int SIDE = OVER * FACTOR / 2, TAPS = FACTOR + 2 * SIDE;
    INDEX own;
    bool begins, ends;
    __device__ __forceinline__ Across(INDEX first, INDEX, const Axis& h)
        : own(first * FACTOR), begins(own == 0), ends(own + OWN == static_cast<INDEX>(h.count))
    {
    }
    __device__ __forceinline__ float share(int k, int t) const
    {
        if (!OVER) return 1.0f;
        if (k == 0 && t >= SIDE && t < FACTOR && begins) return 1.0f;
        if (k == RUN - 1 && t >= FACTOR && t < FACTOR + SIDE && ends) return 1.0f;
        return (t < FACTOR ? 2 * t + 1 : 4 * FACTOR - 1 - 2 * t) / (2.0f * FACTOR);
    }
    __device__ __forceinline__ void add(const Unit* rows, INDEX y_plane, float (&part)[N]) const
    {
        Pack<T, OWN> read[TOGETHER];
        Unit before[TOGETHER][SIDE + 1], after[TOGETHER][SIDE + 1];
#pragma unroll
        for (int s = 0; s < TOGETHER; ++s) {
            const Unit* row = rows + (own + s * y_plane);
            read[s] = *reinterpret_cast<const Pack<T, OWN>*>(row);
#pragma unroll
            for (int t = 0; t < SIDE; ++t) {
                before[s][t] = begins ? row[t] : *(row - SIDE + t);
                after[s][t] = ends ? row[t] : row[OWN + t];
            }
        }
#pragma unroll
        for (int s = 0; s < TOGETHER; ++s) {
            float up[OWN + 2 * SIDE];
#pragma unroll
            for (int t = 0; t < SIDE; ++t) {
                up[t] = begins ? 0.0f : static_cast<float>(before[s][t].at[0]);
                up[SIDE + OWN + t] = ends ? 0.0f : static_cast<float>(after[s][t].at[0]);
            }
#pragma unroll
            for (int o = 0; o < OWN; ++o) up[SIDE + o] = static_cast<float>(read[s].at[o]);
#pragma unroll
            for (int k = 0; k < RUN; ++k)
#pragma unroll
                for (int t = 0; t < TAPS; ++t) part[s * RUN + k] += share(k, t) * up[k * FACTOR + t];
        }
    }
};
#else
// Where a unit of a row of dx has its shares in a row of dy: those in TAPS <= h.count columns are worked out once; more
// columns that it has a share in follow those.
template <int OVER, typename Axis> struct Across {
    static constexpr int EACH = PACK, N = TOGETHER * EACH;
    const Axis& h;
    INDEX channels, channel, left;
    int w;
    typename Axis::Place beyond;
    float share[TAPS];
    __device__ __forceinline__ Across(INDEX first, INDEX channels, const Axis& h)
        : h(h), channels(channels), channel(first % channels), w(static_cast<int>(first / channels)),
          beyond(h.at(min(h.from(w).o, h.count - TAPS)))
    {
        left = beyond.o * channels + channel;
#pragma unroll
        for (int t = 0; t < TAPS; ++t, beyond.next()) share[t] = beyond.share(w);
    }
    __device__ __forceinline__ void add(const Unit* rows, INDEX y_plane, float (&part)[N]) const
    {
        Unit up[TOGETHER][TAPS];
#pragma unroll
        for (int s = 0; s < TOGETHER; ++s) {
            const Unit* first = rows + (left + s * y_plane);
#pragma unroll
            for (int t = 0; t < TAPS; ++t) up[s][t] = first[t * channels];
        }
#pragma unroll
        for (int t = 0; t < TAPS; ++t) {
            if (share[t] == 0.0f) continue;
#pragma unroll
            for (int k = 0; k < N; ++k) part[k] += share[t] * static_cast<float>(up[k / PACK][t].at[k % PACK]);
        }
        for (auto more = beyond; more.o < h.count && more.low <= w; more.next()) {
            const float also = more.share(w);
            if (also == 0.0f) continue;
#pragma unroll
            for (int s = 0; s < TOGETHER; ++s) up[s][0] = rows[more.o * channels + channel + s * y_plane];
#pragma unroll
            for (int k = 0; k < N; ++k) part[k] += also * static_cast<float>(up[k / PACK][0].at[k % PACK]);
        }
    }
};
#endif

template <int OVER, typename Axis>
__device__ __forceinline__ void gather(
    const Unit* __restrict__ dy, Unit* __restrict__ dx, INDEX samples, INDEX rows, INDEX channels, int height,
    int width, const Axis& v, const Axis& h)
{
    using Columns = Across<OVER, Axis>;
    constexpr int N = Columns::N, EACH = Columns::EACH;
    const INDEX x_row = width * channels, y_row = h.count * channels;
    const INDEX x_plane = height * x_row, y_plane = v.count * y_row;
    const Strip strip(x_row / (EACH / PACK), rows, height);
    const INDEX sample = strip.sample * TOGETHER, first = strip.part * (EACH / PACK);
    if (sample >= samples) return;
    const Columns across(first, channels, h);
#ifndef FACTOR
    auto down = v.from(strip.top);
#endif
    const INDEX plane = sample * y_plane;
    INDEX to = sample * x_plane + strip.top * x_row + first;
    float sum[N] = {}, below[N] = {};  // of a row of dx and of the next
    for (int row = strip.top - 1; row < strip.bottom; ++row) {
#ifdef FACTOR
        // Of dy what lies between this row and the next, or is the next one's own; beyond the first and the last of dx
        // is half as much, and theirs.
        const bool begins = OVER && row < 0, ends = row + 1 == (OVER ? height : strip.bottom);
#pragma unroll
        for (int k = 0; k < FACTOR; ++k) {
            const bool first_half = OVER && k < FACTOR / 2;
            if (first_half ? begins : ends) continue;
            float part[N] = {};
            across.add(dy + (plane + ((row + 1) * FACTOR - Columns::SIDE + k) * y_row), y_plane, part);
            const float weight = OVER ? (2 * k + 1) / (2.0f * FACTOR) : 1.0f;
            add(sum, first_half && ends ? 1.0f : 1.0f - weight, part);
            add(below, begins ? 1.0f : weight, part);
        }
#else
        for (; down.o < v.count && down.low <= row; down.next()) {
            float part[N] = {};
            across.add(dy + (plane + down.o * y_row), y_plane, part);
            add(sum, 1.0f - down.beyond(), part);
            add(below, down.beyond(), part);
        }
#endif
        if (row >= strip.top) {
            Pack<T, EACH> made[TOGETHER];
#pragma unroll
            for (int k = 0; k < N; ++k) made[k / EACH].at[k % EACH] = sum[k];
#pragma unroll
            for (int s = 0; s < TOGETHER; ++s) *reinterpret_cast<Pack<T, EACH>*>(dx + (to + s * x_plane)) = made[s];
            to += x_row;
        }
#pragma unroll
        for (int k = 0; k < N; ++k) {
            sum[k] = below[k];
            below[k] = 0.0f;
        }
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) resize_nearest_backward(
    const Unit* __restrict__ dy, Unit* __restrict__ dx, long long samples, long long rows, long long inner, int height,
    int width, int y_height, int y_width, long long h_num, long long h_add, long long h_den, long long w_num,
    long long w_add, long long w_den)
{
    const NearestAxis v{static_cast<INDEX>(h_num), static_cast<INDEX>(h_add), static_cast<INDEX>(h_den), y_height};
    const NearestAxis h{static_cast<INDEX>(w_num), static_cast<INDEX>(w_add), static_cast<INDEX>(w_den), y_width};
    gather<0>(dy, dx, samples, rows, CHANNELS, height, width, v, h);
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) resize_bilinear_backward(
    const Unit* __restrict__ dy, Unit* __restrict__ dx, long long samples, long long rows, long long inner, int height,
    int width, int y_height, int y_width, float h_scale, float w_scale, float shift)
{
    const BetweenAxis v{h_scale, shift, height, y_height}, h{w_scale, shift, width, y_width};
    gather<1>(dy, dx, samples, rows, CHANNELS, height, width, v, h);
}
