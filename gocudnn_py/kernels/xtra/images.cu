// Images of bytes as floating-point numbers: channel c of y is factor_c x + offset_c, for 1 to 4 channels.

#include "layout.cuh"
#include "pack.cuh"

// In the layout that they have: x and y (outer, channels, plane).
extern "C" __global__ void __launch_bounds__(THREADS) normalize_images(
    const unsigned char* x, T* y, long long channels, long long plane, long long count, int packed,
    float factor_0, float factor_1, float factor_2, float factor_3,
    float offset_0, float offset_1, float offset_2, float offset_3)
{
    const auto begin = [=](long long i) {
        Channels at(i, channels, plane);
        return [=](unsigned char byte) mutable {
            const long long c = at.next();
            const float factor = c == 0 ? factor_0 : c == 1 ? factor_1 : c == 2 ? factor_2 : factor_3;
            const float offset = c == 0 ? offset_0 : c == 1 ? offset_1 : c == 2 ? offset_2 : offset_3;
            return factor * static_cast<float>(byte) + offset;
        };
    };
    map(count, packed, begin, y, x);
}

#ifdef CHANNELS
#define EACH 4  // pixels that a thread takes at a time

// From one layout to another: x has its channels last if X_LAST, y if Y_LAST. `pixels` are those of all images.
extern "C" __global__ void __launch_bounds__(THREADS) turn_images(
    const unsigned char* __restrict__ x, T* __restrict__ y, long long pixels, long long plane,
    float factor_0, float factor_1, float factor_2, float factor_3,
    float offset_0, float offset_1, float offset_2, float offset_3)
{
    const float factor[4] = {factor_0, factor_1, factor_2, factor_3};
    const float offset[4] = {offset_0, offset_1, offset_2, offset_3};
    const long long first = static_cast<long long>(blockIdx.x) * (THREADS * EACH) + threadIdx.x;
    unsigned char bytes[EACH][CHANNELS];
#pragma unroll
    for (int k = 0; k < EACH; ++k) {
        const long long pixel = first + k * THREADS, inside = pixel < pixels ? pixel : pixels - 1;
#pragma unroll
        for (int c = 0; c < CHANNELS; ++c)
            bytes[k][c] = x[place<X_LAST>(inside / plane, c, inside % plane, CHANNELS, plane)];
    }
#pragma unroll
    for (int k = 0; k < EACH; ++k) {
        const long long pixel = first + k * THREADS;
        if (pixel >= pixels) continue;
#pragma unroll
        for (int c = 0; c < CHANNELS; ++c)
            y[place<Y_LAST>(pixel / plane, c, pixel % plane, CHANNELS, plane)] =
                factor[c] * static_cast<float>(bytes[k][c]) + offset[c];
    }
}
#endif
