// float16 and bfloat16 as they lie in memory; every computation is in float32, rounded to the nearest even when stored.
// Bits, not cuda_fp16.h: no header need be found, and every architecture rounds alike, but for the bits of a NaN.

#ifdef __CUDACC_RTC__
__device__ __forceinline__ float half_to_float(unsigned short bits)
{
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
}

__device__ __forceinline__ unsigned short float_to_half(float value)
{
    unsigned short bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}
#endif

struct float16 {
    unsigned short bits;
    float16() = default;
    __device__ __forceinline__ float16(float value) : bits(float_to_half(value)) {}
    __device__ __forceinline__ operator float() const { return half_to_float(bits); }
};

struct bfloat16 {
    unsigned short bits;
    bfloat16() = default;
    __device__ __forceinline__ bfloat16(float value)
    {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
        asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));
#else
        const unsigned int wide = __float_as_uint(value);
        const bool nan = (wide & 0x7fffffffu) > 0x7f800000u;
        bits = nan ? (wide >> 16) | 0x40u : (wide + 0x7fffu + (wide >> 16 & 1u)) >> 16;
#endif
    }
    __device__ __forceinline__ operator float() const { return __uint_as_float(static_cast<unsigned int>(bits) << 16); }
};
