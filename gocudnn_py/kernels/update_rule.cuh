// What an optimizer does with one element: RULE by number, as in gocunets/convnetgo/optimizers.py. `first` and `second`
// are the moments in the order of optim.py. The constants are: decay (momentum), epsilon (Adagrad), decay and epsilon
// (Adadelta), beta1, beta2 and epsilon (Adam); rest_0 and rest_1 are 1 less the first two; rate and root are corrected
// for the bias of Adam's moments.

#define SGD 0
#define MOMENTUM 1
#define ADAGRAD 2
#define ADADELTA 3
#define ADAM 4
#define NESTEROV 5

#define HAS_FIRST (RULE != SGD)
#define HAS_SECOND (RULE == ADADELTA || RULE == ADAM)

__device__ __forceinline__ float running_mean(float mean, float sample, float decay, float rest)
{
    return decay * mean + rest * sample;
}

// The gradient of the loss with its penalty.
__device__ __forceinline__ float regularized(float weight, float dw, float l1, float l2)
{
    float g = l2 * weight + dw;
    if (l1 != 0.0f) g += l1 * (weight > 0.0f ? 1.0f : weight < 0.0f ? -1.0f : 0.0f);
    return g;
}

#ifdef RULE
__device__ __forceinline__ float updated(
    float weight, float g, float& first, float& second, float rate, float root, float c0, float c1, float c2,
    float rest_0, float rest_1)
{
    float result = weight;
    if (RULE == SGD) result = weight - rate * g;
    if (RULE == MOMENTUM || RULE == NESTEROV) {
        first = c0 * first + rate * g;
        result = weight - (RULE == MOMENTUM ? first : c0 * first + rate * g);
    }
    if (RULE == ADAGRAD) {
        first += g * g;
        result = weight - rate * g / (sqrtf(first) + c0);
    }
    if (RULE == ADADELTA) {
        first = running_mean(first, g * g, c0, rest_0);
        const float change = sqrtf((second + c1) / (first + c1)) * g;
        second = running_mean(second, change * change, c0, rest_0);
        result = weight - rate * change;
    }
    if (RULE == ADAM) {
        first = running_mean(first, g, c0, rest_0);
        second = running_mean(second, g * g, c1, rest_1);
        result = weight - first / (sqrtf(second) / root + c2) * rate;
    }
    return result;
}
#endif
