// Elementwise work at the speed of memory: blocks of THREADS threads take tiles of PACKS packs of 16 bytes a thread.

#include "number.cuh"

#define THREADS 256
#define PACKS 2

#ifndef INDEX
#define INDEX unsigned long long
#endif

template <typename Number, int N> struct alignas(sizeof(Number) * N) Pack {
    Number at[N];
};

template <typename First, typename... Rest> __device__ constexpr int widest()
{
    int bytes = sizeof(First);
    ((bytes = static_cast<int>(sizeof(Rest)) > bytes ? static_cast<int>(sizeof(Rest)) : bytes), ...);
    return bytes;
}

template <int N, typename Number>
__device__ __forceinline__ const Pack<Number, N>& pack_at(const Number* numbers, long long i)
{
    return *reinterpret_cast<const Pack<Number, N>*>(numbers + i);
}

// A pack of each of several arrays.
template <int N, typename... X> struct Packs {
    __device__ __forceinline__ void read(long long) {}
    template <typename Y, typename Function, typename... Read>
    __device__ __forceinline__ Pack<Y, N> map(Function function, const Pack<Read, N>&... x) const
    {
        Pack<Y, N> y;
#pragma unroll
        for (int k = 0; k < N; ++k) y.at[k] = static_cast<Y>(function(x.at[k]...));
        return y;
    }
};

template <int N, typename First, typename... Rest> struct Packs<N, First, Rest...> {
    Pack<First, N> first;
    Packs<N, Rest...> rest;
    __device__ __forceinline__ void read(long long i, const First* x, const Rest*... others)
    {
        first = pack_at<N>(x, i);
        rest.read(i, others...);
    }
    template <typename Y, typename Function, typename... Read>
    __device__ __forceinline__ Pack<Y, N> map(Function function, const Pack<Read, N>&... before) const
    {
        return rest.template map<Y>(function, before..., first);
    }
};

// y[i] = function(x[i]...) for i < count; y may be one of x. begin(i) gives the function for the elements from i on, in
// order. `packed` says that all lie on multiples of their packs. Grid: one block a tile.
template <typename Begin, typename Y, typename... X>
__device__ __forceinline__ void map(long long count, int packed, Begin begin, Y* y, const X*... x)
{
    constexpr int N = 16 / widest<Y, X...>(), EACH = N * PACKS;
    const long long first = static_cast<long long>(blockIdx.x) * (THREADS * EACH);
    if (packed && first + THREADS * EACH <= count) {
        Packs<N, X...> read[PACKS];
#pragma unroll
        for (int k = 0; k < PACKS; ++k) read[k].read(first + (k * THREADS + static_cast<long long>(threadIdx.x)) * N, x...);
#pragma unroll
        for (int k = 0; k < PACKS; ++k) {
            const long long i = first + (k * THREADS + static_cast<long long>(threadIdx.x)) * N;
            *reinterpret_cast<Pack<Y, N>*>(y + i) = read[k].template map<Y>(begin(i));
        }
        return;
    }
    Y made[EACH];  // all are read before the first is written, those beyond the end from the end
#pragma unroll
    for (int k = 0; k < EACH; ++k) {
        const long long i = first + k * THREADS + threadIdx.x, inside = i < count ? i : count - 1;
        made[k] = static_cast<Y>(begin(inside)(x[inside]...));
    }
#pragma unroll
    for (int k = 0; k < EACH; ++k) {
        const long long i = first + k * THREADS + threadIdx.x;
        if (i < count) y[i] = made[k];
    }
}

// Which channel elements of (outer, channels, plane) belong to, one after the other; INDEX counts elements.
struct Channels {
    INDEX channels, plane, left, channel;
    __device__ __forceinline__ Channels(long long i, long long channels, long long plane)
        : channels(static_cast<INDEX>(channels)), plane(static_cast<INDEX>(plane))
    {
        const INDEX row = static_cast<INDEX>(i) / this->plane;
        left = this->plane - (static_cast<INDEX>(i) - row * this->plane);
        channel = row % this->channels;
    }
    // Goes on by one; whether that is of another channel.
    __device__ __forceinline__ bool next()
    {
        if (--left) return false;
        left = plane;
        if (++channel == channels) channel = 0;
        return true;
    }
};
