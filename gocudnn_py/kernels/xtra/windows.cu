// The sum of overlapping windows: x (n, c, h, w) from y (n, i, j, c, a, b), window (i, j) beginning at (i H_STRIDE,
// j W_STRIDE); with LAST the channels lie innermost in both.

#include "launch.cuh"

extern "C" __global__ void __launch_bounds__(MAX_THREADS) sum_windows(
    const T* __restrict__ y, T* __restrict__ x, long long count, long long channels, int height, int width, int rows,
    int columns, int window_height, int window_width, int h_stride, int w_stride)
{
    const long long window = channels * window_height * window_width;
    FOR_EACH(at, count) {
        long long rest = at, c = 0;
        if (LAST) {
            c = rest % channels;
            rest /= channels;
        }
        const int w = rest % width;
        rest /= width;
        const int h = rest % height;
        rest /= height;
        if (!LAST) {
            c = rest % channels;
            rest /= channels;
        }
        const int first_i = h < window_height ? 0 : (h - window_height) / h_stride + 1;
        const int first_j = w < window_width ? 0 : (w - window_width) / w_stride + 1;
        float sum = 0.0f;
        for (int i = first_i; i < rows && i * h_stride <= h; ++i)
            for (int j = first_j; j < columns && j * w_stride <= w; ++j) {
                const long long a = h - i * h_stride, b = w - j * w_stride;
                const long long within = LAST ? (a * window_width + b) * channels + c
                                              : (c * window_height + a) * window_width + b;
                sum += static_cast<float>(y[((rest * rows + i) * columns + j) * window + within]);
            }
        x[at] = sum;
    }
}
