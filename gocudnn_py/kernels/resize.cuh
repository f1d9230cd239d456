// Planes resized: of x (samples, height, width, inner) and y (samples, y_height, y_width, inner), where inner is 1 for NCHW
// and the channels for NHWC, all in units of elements that move as one. A thread takes a part of a row of what is
// written, in up to `rows` rows one after another: it works out its columns once and keeps what rows have in common.
// CHANNELS is `inner`, or the number 1 where it is 1. INDEX is an unsigned type for the places of units, and for what
// nearest divides. FACTOR, where there is one, says that y is so many times as wide and as high as x, a power of two, of
// CHANNELS 1.

#include "pack.cuh"

// What a thread takes: of a row of `parts` one, from row `top` to before `bottom` of a sample.
struct Strip {
    INDEX part, sample;
    int top, bottom;
    __device__ __forceinline__ Strip(INDEX parts, INDEX rows, int height)
    {
        const INDEX i = static_cast<INDEX>(blockIdx.x) * THREADS + threadIdx.x;
        const INDEX band = i / parts, bands = (height + rows - 1) / rows;
        part = i - band * parts;
        sample = band / bands;
        top = static_cast<int>((band - sample * bands) * rows);
        bottom = static_cast<int>(min(static_cast<INDEX>(height), top + rows));
    }
};

// The element of x, `low`, that is nearest to element o of y: (o num + add) / den.
struct Nearest {
    INDEX den, part, rest;
    int o, step, low;
    __device__ __forceinline__ Nearest(int o, INDEX num, INDEX add, INDEX den)
        : den(den), part(num % den), rest((o * num + add) % den), o(o), step(static_cast<int>(num / den)),
          low(static_cast<int>((o * num + add) / den))
    {
    }
    __device__ __forceinline__ void next()
    {
        ++o;
        low += step;
        rest += part;
        if (rest >= den) {
            rest -= den;
            ++low;
        }
    }
    // How much of it is element low + 1's, and how much element i's.
    __device__ __forceinline__ float beyond() const { return 0.0f; }
    __device__ __forceinline__ float share(int i) const { return low == i ? 1.0f : 0.0f; }
};

#ifdef T
using Unit = Pack<T, PACK>;

// Between which two elements of `count` element o lies, and how near the second; products and sums rounded one by one,
// as on the host.
struct Between {
    float scale, shift, weight;
    int count, o, low, high;
    __device__ __forceinline__ Between(int o, float scale, float shift, int count)
        : scale(scale), shift(shift), count(count), o(o - 1)
    {
        next();
    }
    __device__ __forceinline__ void next()
    {
        ++o;
        const float exact = __fsub_rn(__fmul_rn(__fadd_rn(static_cast<float>(o), shift), scale), shift);
        const float place = exact > 0.0f ? exact : 0.0f;
        low = static_cast<int>(place);
        if (low > count - 1) low = count - 1;
        high = low < count - 1 ? low + 1 : low;
        weight = place - static_cast<float>(low);
    }
    // How much of it is element low + 1's, and how much element i's.
    __device__ __forceinline__ float beyond() const { return high > low ? weight : 0.0f; }
    __device__ __forceinline__ float share(int i) const
    {
        return low == i ? 1.0f - beyond() : low + 1 == i ? beyond() : 0.0f;
    }
};
#endif
