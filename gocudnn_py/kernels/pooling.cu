// Max and average pooling. Three spatial axes (leading ones of extent 1 where there are fewer): for axis 0 to 2,
// X0 Y0 W0 (extents of x, y and the window), S0 (stride), P0 (padding). x is (N, C, X0, X1, X2), with LAST the channels
// lie innermost; one thread an element of the output.

#include "launch.cuh"
#include "layout.cuh"

#define X_PLANE (static_cast<long long>(X0) * X1 * X2)
#define Y_PLANE (static_cast<long long>(Y0) * Y1 * Y2)

// The cells of one axis that window o covers, and how many.
#define START(o, axis) (max((o) * S##axis - P##axis, 0))
#define STOP(o, axis) (min((o) * S##axis - P##axis + W##axis, X##axis))
#define CELLS(o, axis) (STOP(o, axis) - START(o, axis))

// The windows of one axis that cover cell p: from the first to before the last.
#define FIRST(p, axis) ((p) + P##axis < W##axis ? 0 : ((p) + P##axis - W##axis) / S##axis + 1)
#define BEYOND(p, axis) (min(((p) + P##axis) / S##axis + 1, Y##axis))

#define SPLIT(pixel, name, axis_1, axis_2)                                \
    const int name##2 = pixel % axis_2, name##1 = pixel / axis_2 % axis_1, \
              name##0 = pixel / (static_cast<long long>(axis_1) * axis_2)

// The first of equal values wins, and a NaN wins over every number. indices are positions in x's plane.
extern "C" __global__ void max_pool_forward(const T* x, T* y, int* indices, long long count)
{
    FOR_EACH(i, count) {
        const Position at = position<LAST>(i, C, Y_PLANE);
        SPLIT(at.pixel, o, Y1, Y2);
        float best = 0.0f;
        int index = -1;
        for (int p0 = START(o0, 0); p0 < STOP(o0, 0); ++p0)
            for (int p1 = START(o1, 1); p1 < STOP(o1, 1); ++p1)
                for (int p2 = START(o2, 2); p2 < STOP(o2, 2); ++p2) {
                    const int cell = (p0 * X1 + p1) * X2 + p2;
                    const float value = x[place<LAST>(at.sample, at.channel, cell, C, X_PLANE)];
                    if (index < 0 || (!(value <= best) && best == best)) {
                        best = value;
                        index = cell;
                    }
                }
        y[i] = best;
        indices[i] = index;
    }
}

// Each cell of x gathers from the windows that it won.
extern "C" __global__ void max_pool_backward(const T* dy, const int* indices, T* dx, long long count)
{
    FOR_EACH(i, count) {
        const Position at = position<LAST>(i, C, X_PLANE);
        SPLIT(at.pixel, p, X1, X2);
        float sum = 0.0f;
        for (int o0 = FIRST(p0, 0); o0 < BEYOND(p0, 0); ++o0)
            for (int o1 = FIRST(p1, 1); o1 < BEYOND(p1, 1); ++o1)
                for (int o2 = FIRST(p2, 2); o2 < BEYOND(p2, 2); ++o2) {
                    const long long window = (static_cast<long long>(o0) * Y1 + o1) * Y2 + o2;
                    const long long from = place<LAST>(at.sample, at.channel, window, C, Y_PLANE);
                    if (indices[from] == at.pixel) sum += static_cast<float>(dy[from]);
                }
        dx[i] = sum;
    }
}

// What the sum under a window is divided by.
__device__ __forceinline__ float divisor(int o0, int o1, int o2)
{
    if (INCLUDE_PADDING) return static_cast<float>(W0) * W1 * W2;
    return static_cast<float>(CELLS(o0, 0)) * CELLS(o1, 1) * CELLS(o2, 2);
}

extern "C" __global__ void average_pool_forward(const T* x, T* y, long long count)
{
    FOR_EACH(i, count) {
        const Position at = position<LAST>(i, C, Y_PLANE);
        SPLIT(at.pixel, o, Y1, Y2);
        float sum = 0.0f;
        for (int p0 = START(o0, 0); p0 < STOP(o0, 0); ++p0)
            for (int p1 = START(o1, 1); p1 < STOP(o1, 1); ++p1)
                for (int p2 = START(o2, 2); p2 < STOP(o2, 2); ++p2) {
                    const long long cell = (static_cast<long long>(p0) * X1 + p1) * X2 + p2;
                    sum += static_cast<float>(x[place<LAST>(at.sample, at.channel, cell, C, X_PLANE)]);
                }
        y[i] = sum / divisor(o0, o1, o2);
    }
}

extern "C" __global__ void average_pool_backward(const T* dy, T* dx, long long count)
{
    FOR_EACH(i, count) {
        const Position at = position<LAST>(i, C, X_PLANE);
        SPLIT(at.pixel, p, X1, X2);
        float sum = 0.0f;
        for (int o0 = FIRST(p0, 0); o0 < BEYOND(p0, 0); ++o0)
            for (int o1 = FIRST(p1, 1); o1 < BEYOND(p1, 1); ++o1)
                for (int o2 = FIRST(p2, 2); o2 < BEYOND(p2, 2); ++o2) {
                    const long long window = (static_cast<long long>(o0) * Y1 + o1) * Y2 + o2;
                    const long long from = place<LAST>(at.sample, at.channel, window, C, Y_PLANE);
                    sum += static_cast<float>(dy[from]) / divisor(o0, o1, o2);
                }
        dx[i] = sum;
    }
}
