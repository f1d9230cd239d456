// The same numbers in other places; T is any type of the elements' size.

#include "launch.cuh"

// Rows of `width` elements, from a matrix with rows of `from_width` into one with rows of `to_width`.
extern "C" __global__ void copy_columns(
    const T* x, T* y, long long rows, long long width, long long from_width, long long to_width)
{
    FOR_EACH(i, rows * width) y[i / width * to_width + i % width] = x[i / width * from_width + i % width];
}

// y[n, i, j, k, l] = x[n, i + start_1, ...], or `value` where that lies outside x. y is (*, y_1, ..., y_4).
extern "C" __global__ void move_window(
    const T* x, T* y, long long count, double value,
    long long x_1, long long x_2, long long x_3, long long x_4,
    long long y_1, long long y_2, long long y_3, long long y_4,
    long long start_1, long long start_2, long long start_3, long long start_4)
{
    FOR_EACH(i, count) {
        long long rest = i;
        const long long l = rest % y_4 + start_4;
        rest /= y_4;
        const long long k = rest % y_3 + start_3;
        rest /= y_3;
        const long long j = rest % y_2 + start_2;
        rest /= y_2;
        const long long h = rest % y_1 + start_1;
        const long long n = rest / y_1;
        const bool inside =
            h >= 0 && h < x_1 && j >= 0 && j < x_2 && k >= 0 && k < x_3 && l >= 0 && l < x_4;
        y[i] = inside ? x[(((n * x_1 + h) * x_2 + j) * x_3 + k) * x_4 + l] : static_cast<T>(value);
    }
}
