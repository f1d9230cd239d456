// Constants, casts, sums and leaky ReLU, each number by itself; what is written may be what is read.

#include "pack.cuh"

#ifdef FILLED
// FILLED is an unsigned type of the elements' size.
extern "C" __global__ void __launch_bounds__(THREADS)
    fill(FILLED* y, unsigned long long bits, long long count, int packed)
{
    map(count, packed, [=](long long) { return [=] { return static_cast<FILLED>(bits); }; }, y);
}
#endif

#ifdef FROM
// A float that rounds to a half as the double itself would: where it is not exact, its last bit is odd.
__device__ __forceinline__ float narrowed(double x)
{
    const float near = static_cast<float>(x);
    const double back = near;
    const unsigned int bits = __float_as_uint(near);
    if (back == x || x != x || bits & 1u) return near;
    return __uint_as_float(fabs(x) > fabs(back) ? bits + 1u : bits - 1u);
}

template <typename To> struct Converted {
    template <typename From> static __device__ __forceinline__ To of(From x) { return static_cast<To>(x); }
};
template <> struct Converted<float16> {
    template <typename From> static __device__ __forceinline__ float16 of(From x) { return static_cast<float>(x); }
    static __device__ __forceinline__ float16 of(double x) { return narrowed(x); }
};
template <> struct Converted<bfloat16> {
    template <typename From> static __device__ __forceinline__ bfloat16 of(From x) { return static_cast<float>(x); }
    static __device__ __forceinline__ bfloat16 of(double x) { return narrowed(x); }
};

extern "C" __global__ void __launch_bounds__(THREADS) cast(const FROM* x, TO* y, long long count, int packed)
{
    map(count, packed, [=](long long) { return [=](FROM value) { return Converted<TO>::of(value); }; }, y, x);
}
#endif

#ifdef T
extern "C" __global__ void __launch_bounds__(THREADS) scale(const T* x, T* y, float alpha, long long count, int packed)
{
    map(count, packed, [=](long long) { return [=](float value) { return alpha * value; }; }, y, x);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    add(const T* x, const T* y, T* z, float alpha, float beta, long long count, int packed)
{
    const auto sum = [=](float a, float b) { return alpha * a + beta * b; };
    map(count, packed, [=](long long) { return sum; }, z, x, y);
}

// y = alpha leaky(x) + beta y; beta = 0 does not read y.
extern "C" __global__ void __launch_bounds__(THREADS)
    leaky_relu(const T* x, T* y, float slope, float alpha, float beta, long long count, int packed)
{
    const auto leaky = [=](float value) { return alpha * (value > 0.0f ? value : slope * value); };
    const auto blended = [=](float value, float before) { return leaky(value) + beta * before; };
    if (beta == 0.0f) map(count, packed, [=](long long) { return leaky; }, y, x);
    else map(count, packed, [=](long long) { return blended; }, y, x, static_cast<const T*>(y));
}

// dx = alpha leaky'(x) dy + beta dx.
extern "C" __global__ void __launch_bounds__(THREADS) leaky_relu_backward(
    const T* x, const T* dy, T* dx, float slope, float alpha, float beta, long long count, int packed)
{
    const auto leaky = [=](float value, float up) { return alpha * (value > 0.0f ? up : slope * up); };
    const auto blended = [=](float value, float up, float before) { return leaky(value, up) + beta * before; };
    if (beta == 0.0f) map(count, packed, [=](long long) { return leaky; }, dx, x, dy);
    else map(count, packed, [=](long long) { return blended; }, dx, x, dy, static_cast<const T*>(dx));
}
#endif
