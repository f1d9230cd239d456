// Max and average pooling. Three spatial axes (leading ones of extent 1 where there are fewer): for axis 0 to 2,
// X0 Y0 W0 (extents of x, y and the window), S0 (stride), P0 (padding). x is (planes, X0, X1, X2); one thread an
// element of the output.

#include "launch.cuh"

#define X_PLANE (static_cast<long long>(X0) * X1 * X2)
#define Y_PLANE (static_cast<long long>(Y0) * Y1 * Y2)

// The cells of one axis that window o covers, and how many.
#define START(o, axis) (max((o) * S##axis - P##axis, 0))
#define STOP(o, axis) (min((o) * S##axis - P##axis + W##axis, X##axis))
#define CELLS(o, axis) (STOP(o, axis) - START(o, axis))

// The windows of one axis that cover cell p: from the first to before the last.
#define FIRST(p, axis) ((p) + P##axis < W##axis ? 0 : ((p) + P##axis - W##axis) / S##axis + 1)
#define LAST(p, axis) (min(((p) + P##axis) / S##axis + 1, Y##axis))

#define SPLIT(i, name, axis_1, axis_2, axis_0) \
    const int name##2 = i % axis_2, name##1 = i / axis_2 % axis_1, \
              name##0 = i / (static_cast<long long>(axis_1) * axis_2) % axis_0

// The first of equal values wins, and a NaN wins over every number. indices are positions in x's plane.
extern "C" __global__ void max_pool_forward(const T* x, T* y, int* indices, long long count)
{
    FOR_EACH(i, count) {
        SPLIT(i, o, Y1, Y2, Y0);
        const T* plane = x + i / Y_PLANE * X_PLANE;
        float best = 0.0f;
        int index = -1;
        for (int p0 = START(o0, 0); p0 < STOP(o0, 0); ++p0)
            for (int p1 = START(o1, 1); p1 < STOP(o1, 1); ++p1)
                for (int p2 = START(o2, 2); p2 < STOP(o2, 2); ++p2) {
                    const int position = (p0 * X1 + p1) * X2 + p2;
                    const float value = plane[position];
                    if (index < 0 || (!(value <= best) && best == best)) {
                        best = value;
                        index = position;
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
        SPLIT(i, p, X1, X2, X0);
        const int position = i % X_PLANE;
        const long long first = i / X_PLANE * Y_PLANE;
        float sum = 0.0f;
        for (int o0 = FIRST(p0, 0); o0 < LAST(p0, 0); ++o0)
            for (int o1 = FIRST(p1, 1); o1 < LAST(p1, 1); ++o1)
                for (int o2 = FIRST(p2, 2); o2 < LAST(p2, 2); ++o2) {
                    const long long at = first + (static_cast<long long>(o0) * Y1 + o1) * Y2 + o2;
                    if (indices[at] == position) sum += static_cast<float>(dy[at]);
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
        SPLIT(i, o, Y1, Y2, Y0);
        const T* plane = x + i / Y_PLANE * X_PLANE;
        float sum = 0.0f;
        for (int p0 = START(o0, 0); p0 < STOP(o0, 0); ++p0)
            for (int p1 = START(o1, 1); p1 < STOP(o1, 1); ++p1)
                for (int p2 = START(o2, 2); p2 < STOP(o2, 2); ++p2)
                    sum += static_cast<float>(plane[(static_cast<long long>(p0) * X1 + p1) * X2 + p2]);
        y[i] = sum / divisor(o0, o1, o2);
    }
}

extern "C" __global__ void average_pool_backward(const T* dy, T* dx, long long count)
{
    FOR_EACH(i, count) {
        SPLIT(i, p, X1, X2, X0);
        const T* plane = dy + i / X_PLANE * Y_PLANE;
        float sum = 0.0f;
        for (int o0 = FIRST(p0, 0); o0 < LAST(p0, 0); ++o0)
            for (int o1 = FIRST(p1, 1); o1 < LAST(p1, 1); ++o1)
                for (int o2 = FIRST(p2, 2); o2 < LAST(p2, 2); ++o2)
                    sum += static_cast<float>(plane[(static_cast<long long>(o0) * Y1 + o1) * Y2 + o2]) /
                           divisor(o0, o1, o2);
        dx[i] = sum;
    }
}
