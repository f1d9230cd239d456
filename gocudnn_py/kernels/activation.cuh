// Activations and their gradients from the output y, by the numbers of lowerings/elementwise.activation_code.
// The comparisons are so written that a NaN stays one.

#define IDENTITY 0
#define LOGISTIC 1
#define TANH 2
#define RELU 3
#define LEAKY_RELU 4
#define CLIPPED_RELU 5
#define ELU 6

template <int WHICH> __device__ __forceinline__ float activate(float x, float parameter)
{
    if constexpr (WHICH == LOGISTIC) return expf(x > 0.0f ? 0.0f : x) / (1.0f + expf(-fabsf(x)));
    if constexpr (WHICH == TANH) return tanhf(x);
    if constexpr (WHICH == RELU) return x <= 0.0f ? 0.0f : x;
    if constexpr (WHICH == LEAKY_RELU) return x > 0.0f ? x : parameter * x;
    if constexpr (WHICH == CLIPPED_RELU) return x <= 0.0f ? 0.0f : x >= parameter ? parameter : x;
    if constexpr (WHICH == ELU) return x > 0.0f ? x : parameter * expm1f(x);
    return x;
}

template <int WHICH> __device__ __forceinline__ float activate_backward(float y, float dy, float parameter)
{
    if constexpr (WHICH == LOGISTIC) return dy * y * (1.0f - y);
    if constexpr (WHICH == TANH) return dy * (1.0f - y * y);
    if constexpr (WHICH == RELU) return dy * (y > 0.0f ? 1.0f : 0.0f);
    if constexpr (WHICH == LEAKY_RELU) return dy * (y > 0.0f ? 1.0f : parameter);
    if constexpr (WHICH == CLIPPED_RELU) return dy * (y > 0.0f && y < parameter ? 1.0f : 0.0f);
    if constexpr (WHICH == ELU) return dy * (y > 0.0f ? 1.0f : y + parameter);
    return dy;
}
