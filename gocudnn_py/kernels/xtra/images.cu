// Images of bytes as floating-point numbers: channel c of y is factor_c x + offset_c, for CHANNELS channels, 1 to 4.

#include "layout.cuh"
#include "pack.cuh"

// The factor and the offset of the present channel, and of those after it.
struct Scales {
    float factor[CHANNELS], offset[CHANNELS];
    __device__ __forceinline__ Scales(int channel, const float* factors, const float* offsets)
    {
#pragma unroll
        for (int c = 0; c < CHANNELS; ++c) {
            factor[c] = factors[c];
            offset[c] = offsets[c];
        }
#pragma unroll
        for (int c = 1; c < CHANNELS; ++c)
            if (c <= channel) turn();
    }
    __device__ __forceinline__ void turn()
    {
        const float first_factor = factor[0], first_offset = offset[0];
#pragma unroll
        for (int c = 0; c + 1 < CHANNELS; ++c) {
            factor[c] = factor[c + 1];
            offset[c] = offset[c + 1];
        }
        factor[CHANNELS - 1] = first_factor;
        offset[CHANNELS - 1] = first_offset;
    }
    __device__ __forceinline__ float of(unsigned char byte) const
    {
        return factor[0] * static_cast<float>(byte) + offset[0];
    }
};

// In the layout that they have: x and y (outer, CHANNELS, plane).
extern "C" __global__ void __launch_bounds__(THREADS) normalize_images(
    const unsigned char* x, T* y, long long plane, long long count, int packed,
    float factor_0, float factor_1, float factor_2, float factor_3,
    float offset_0, float offset_1, float offset_2, float offset_3)
{
    const auto started = [=](int channel) {
        const float factors[4] = {factor_0, factor_1, factor_2, factor_3};
        const float offsets[4] = {offset_0, offset_1, offset_2, offset_3};
        return Scales(channel, factors, offsets);
    };
    const auto last = [=](long long i) {  // where plane is 1: every element is of the next channel
        Scales scales = started(static_cast<int>(static_cast<INDEX>(i) % CHANNELS));
        return [=](unsigned char byte) mutable {
            const float made = scales.of(byte);
            scales.turn();
            return made;
        };
    };
    const auto first = [=](long long i) {
        Channels at(i, CHANNELS, plane);
        Scales scales = started(static_cast<int>(at.channel));
        return [=](unsigned char byte) mutable {
            const float made = scales.of(byte);
            if (at.next()) scales.turn();
            return made;
        };
    };
    if (plane == 1) map(count, packed, last, y, x);
    else map(count, packed, first, y, x);
}

#ifdef X_LAST
#define PIXELS 4  // that lie together in what a thread takes
#define TIMES 2   // such runs

// Bytes of a run of pixels, pixel by pixel, and where they lie: with PACKED as CHANNELS packs of PIXELS elements, either
// of neighbouring channels or of neighbouring pixels.
template <bool last> struct Run {
    const long long pixel, plane;
    __device__ __forceinline__ long long pack(int q) const
    {
        const INDEX image = static_cast<INDEX>(pixel) / static_cast<INDEX>(plane);
        if (last) return pixel * CHANNELS + q * PIXELS;
        return image * (CHANNELS - 1ll) * plane + q * plane + pixel;
    }
    static __device__ __forceinline__ int byte(int q, int k) { return last ? q * PIXELS + k : k * CHANNELS + q; }
    __device__ __forceinline__ long long element(int q, int k) const
    {
        const long long at = pixel + k;
        return place<last>(at / plane, q, at % plane, CHANNELS, plane);
    }
};

// From one layout to another: x has its channels last if X_LAST, y if Y_LAST. `pixels` are those of all images; PACKED
// says that runs of PIXELS of them lie on multiples of their packs, and in one image.
extern "C" __global__ void __launch_bounds__(THREADS) turn_images(
    const unsigned char* __restrict__ x, T* __restrict__ y, long long pixels, long long plane,
    float factor_0, float factor_1, float factor_2, float factor_3,
    float offset_0, float offset_1, float offset_2, float offset_3)
{
    const float factor[4] = {factor_0, factor_1, factor_2, factor_3};
    const float offset[4] = {offset_0, offset_1, offset_2, offset_3};
    unsigned char bytes[TIMES][PIXELS * CHANNELS];
    const auto pixel_of = [](int t) {
        return (static_cast<long long>(blockIdx.x) * TIMES * THREADS + t * THREADS + threadIdx.x) * PIXELS;
    };
#pragma unroll
    for (int t = 0; t < TIMES; ++t) {
        const Run<X_LAST> run{pixel_of(t), plane};
#pragma unroll
        for (int q = 0; q < CHANNELS; ++q) {
            Pack<unsigned char, PIXELS> read;
            if (PACKED && run.pixel < pixels) read = pack_at<PIXELS>(x, run.pack(q));
#pragma unroll
            for (int k = 0; k < PIXELS; ++k)
                if (PACKED) bytes[t][run.byte(q, k)] = read.at[k];
                else if (run.pixel + k < pixels) bytes[t][k * CHANNELS + q] = x[run.element(q, k)];
        }
    }
#pragma unroll
    for (int t = 0; t < TIMES; ++t) {
        const Run<Y_LAST> run{pixel_of(t), plane};
#pragma unroll
        for (int q = 0; q < CHANNELS; ++q) {
            Pack<T, PIXELS> made;
#pragma unroll
            for (int k = 0; k < PIXELS; ++k) {
                const int byte = PACKED ? run.byte(q, k) : k * CHANNELS + q, c = byte % CHANNELS;
                made.at[k] = factor[c] * static_cast<float>(bytes[t][byte]) + offset[c];
                if (!PACKED && run.pixel + k < pixels) y[run.element(q, k)] = made.at[k];
            }
            if (PACKED && run.pixel < pixels) *reinterpret_cast<Pack<T, PIXELS>*>(y + run.pack(q)) = made;
        }
    }
}
#endif
