// Activations (KIND), sums, scaling, casts and copies into another order (FROM, TO), constants; any of x, dy, y may lie on the output.

#include "launch.cuh"
#include "activation.cuh"

#ifdef KIND
extern "C" __global__ void activation_forward(const T* x, T* y, float parameter, long long count)
{
    FOR_EACH(i, count) y[i] = activate<KIND>(x[i], parameter);
}

extern "C" __global__ void activation_backward(const T* y, const T* dy, T* dx, float parameter, long long count)
{
    FOR_EACH(i, count) dx[i] = activate_backward<KIND>(y[i], dy[i], parameter);
}

// y (samples, channels, plane) = activation(y + b (channels)); b may be absent.
extern "C" __global__ void finish(
    const T* b, T* y, float parameter, long long channels, long long plane, long long count)
{
    FOR_EACH(i, count) {
        const float product = y[i];
        y[i] = activate<KIND>(b ? product + static_cast<float>(b[i / plane % channels]) : product, parameter);
    }
}
#endif

extern "C" __global__ void add(const T* a, const T* b, T* y, long long count)
{
    FOR_EACH(i, count) y[i] = static_cast<float>(a[i]) + static_cast<float>(b[i]);
}

extern "C" __global__ void scale(const T* x, T* y, double factor, long long count)
{
    FOR_EACH(i, count) y[i] = static_cast<float>(factor) * static_cast<float>(x[i]);
}

extern "C" __global__ void fill(T* y, double value, long long count)
{
    FOR_EACH(i, count) y[i] = static_cast<T>(value);
}

#ifdef FROM
extern "C" __global__ void cast(const FROM* x, TO* y, long long count)
{
    FOR_EACH(i, count) y[i] = static_cast<TO>(x[i]);
}

// y (*, y_1, ..., y_4) of an x whose elements lie apart by those strides along y's axes.
extern "C" __global__ void reorder(
    const FROM* x, TO* y, long long y_1, long long y_2, long long y_3, long long y_4,
    long long stride_0, long long stride_1, long long stride_2, long long stride_3, long long stride_4, long long count)
{
    FOR_EACH(i, count) {
        const long long plane = i / y_4, volume = plane / y_3, block = volume / y_2;
        const long long from = i % y_4 * stride_4 + plane % y_3 * stride_3 + volume % y_2 * stride_2 +
                               block % y_1 * stride_1 + block / y_1 * stride_0;
        y[i] = static_cast<TO>(x[from]);
    }
}
#endif
