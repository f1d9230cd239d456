// Convolutions of any geometry, directly. Three spatial axes (leading ones of extent 1 where there are fewer):
// C K GROUPS and, for axis 0 to 2, X0 Y0 W0 (extents of x, y and the filter), S0 (stride), P0 (padding),
// D0 (dilation). x is (N, C, X0, X1, X2), w (K, C / GROUPS, W0, W1, W2), y (N, K, Y0, Y1, Y2); X_LAST, W_LAST and
// Y_LAST say whether axis 1 lies innermost.

#include "launch.cuh"
#include "layout.cuh"

#define GROUP_C (C / GROUPS)
#define GROUP_K (K / GROUPS)
#define X_PLANE (static_cast<long long>(X0) * X1 * X2)
#define Y_PLANE (static_cast<long long>(Y0) * Y1 * Y2)
#define TAPS (W0 * W1 * W2)

// y[n, k, o] = b[k] + sum of w[k, c, tap] x[n, c, o S + tap D - P]; one thread an element of y.
extern "C" __global__ void convolution_forward(const T* x, const T* w, const T* b, T* y, long long count)
{
    FOR_EACH(i, count) {
        const Position at = position<Y_LAST>(i, K, Y_PLANE);
        const int o2 = at.pixel % Y2, o1 = at.pixel / Y2 % Y1, o0 = at.pixel / (static_cast<long long>(Y1) * Y2);
        const int k = at.channel, first = k / GROUP_K * GROUP_C;
        const int h0 = o0 * S0 - P0, h1 = o1 * S1 - P1, h2 = o2 * S2 - P2;
        float sum = 0.0f;
        for (int c = 0; c < GROUP_C; ++c)
            for (int a0 = 0; a0 < W0; ++a0) {
                const int p0 = h0 + a0 * D0;
                if (p0 < 0 || p0 >= X0) continue;
                for (int a1 = 0; a1 < W1; ++a1) {
                    const int p1 = h1 + a1 * D1;
                    if (p1 < 0 || p1 >= X1) continue;
                    for (int a2 = 0; a2 < W2; ++a2) {
                        const int p2 = h2 + a2 * D2;
                        if (p2 < 0 || p2 >= X2) continue;
                        const long long pixel = (static_cast<long long>(p0) * X1 + p1) * X2 + p2;
                        const float value = x[place<X_LAST>(at.sample, first + c, pixel, C, X_PLANE)];
                        sum += value * static_cast<float>(w[place<W_LAST>(k, c, (a0 * W1 + a1) * W2 + a2, GROUP_C, TAPS)]);
                    }
                }
            }
        y[i] = b ? sum + static_cast<float>(b[k]) : sum;
    }
}

// dx[n, c, p] = b[c] + sum of w[k, c, tap] dy[n, k, o] over k and taps with o S + tap D - P = p; one thread an
// element of dx. b is absent in the gradient and may be there in a transposed convolution.
extern "C" __global__ void convolution_backward_data(const T* dy, const T* w, const T* b, T* dx, long long count)
{
    FOR_EACH(i, count) {
        const Position at = position<X_LAST>(i, C, X_PLANE);
        const int p2 = at.pixel % X2, p1 = at.pixel / X2 % X1, p0 = at.pixel / (static_cast<long long>(X1) * X2);
        const int c = at.channel, first = c / GROUP_C * GROUP_K;
        float sum = 0.0f;
        for (int k = first; k < first + GROUP_K; ++k)
            for (int a0 = 0; a0 < W0; ++a0) {
                const int h0 = p0 + P0 - a0 * D0;
                if (h0 < 0 || h0 % S0 || h0 / S0 >= Y0) continue;
                for (int a1 = 0; a1 < W1; ++a1) {
                    const int h1 = p1 + P1 - a1 * D1;
                    if (h1 < 0 || h1 % S1 || h1 / S1 >= Y1) continue;
                    for (int a2 = 0; a2 < W2; ++a2) {
                        const int h2 = p2 + P2 - a2 * D2;
                        if (h2 < 0 || h2 % S2 || h2 / S2 >= Y2) continue;
                        const long long pixel = (static_cast<long long>(h0 / S0) * Y1 + h1 / S1) * Y2 + h2 / S2;
                        const float value = dy[place<Y_LAST>(at.sample, k, pixel, K, Y_PLANE)];
                        const int tap = (a0 * W1 + a1) * W2 + a2;
                        sum += value * static_cast<float>(w[place<W_LAST>(k, c % GROUP_C, tap, GROUP_C, TAPS)]);
                    }
                }
            }
        dx[i] = b ? sum + static_cast<float>(b[c]) : sum;
    }
}

// dw[k, c, tap] = sum over n and o of x[n, c, o S + tap D - P] dy[n, k, o]; one block an element of dw.
extern "C" __global__ void __launch_bounds__(MAX_THREADS)
    convolution_backward_filter(const T* x, const T* dy, T* dw, long long images)
{
    __shared__ float memory[MAX_THREADS];
    const Position at = position<W_LAST>(blockIdx.x, GROUP_C, TAPS);
    const int k = at.sample, c = k / GROUP_K * GROUP_C + at.channel, tap = at.pixel;
    const int a0 = tap / (W1 * W2), a1 = tap / W2 % W1, a2 = tap % W2;
    float sum = 0.0f;
    for (long long i = threadIdx.x; i < images * Y_PLANE; i += blockDim.x) {
        const long long n = i / Y_PLANE, o = i % Y_PLANE;
        const int p0 = static_cast<int>(o / (Y1 * Y2)) * S0 + a0 * D0 - P0;
        const int p1 = static_cast<int>(o / Y2 % Y1) * S1 + a1 * D1 - P1;
        const int p2 = static_cast<int>(o % Y2) * S2 + a2 * D2 - P2;
        if (p0 < 0 || p0 >= X0 || p1 < 0 || p1 >= X1 || p2 < 0 || p2 >= X2) continue;
        const long long pixel = (static_cast<long long>(p0) * X1 + p1) * X2 + p2;
        const float value = x[place<X_LAST>(n, c, pixel, C, X_PLANE)];
        sum += value * static_cast<float>(dy[place<Y_LAST>(n, k, o, K, Y_PLANE)]);
    }
    const float total = sum_over_block(sum, memory);
    if (threadIdx.x == 0) dw[blockIdx.x] = total;
}
