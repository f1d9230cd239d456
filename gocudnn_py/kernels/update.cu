// The end of a step: the non-finite flag, the updates by RULE as in convnetgo/optimizers.py, the counter.

#include "launch.cuh"
#include "overlap.cuh"
#include "step_state.cuh"

#define LOSS_SCALE_PERIOD 2000  // convnetgo.optimizers

extern "C" __global__ void loss_scale(const StepState* state, float* y) { *y = state->loss_scale; }

extern "C" __global__ void unscale(const StepState* state, const float* dw, float* y, long long count)
{
    FOR_EACH(i, count) y[i] = dw[i] / state->loss_scale;
}

// `scaled` marks gradients that are to be forgiven where a smaller loss scale may help.
extern "C" __global__ void flag_non_finite(const T* x, StepState* state, int scaled, long long count)
{
    bool bad = false;
    FOR_EACH(i, count) bad = bad || !isfinite(static_cast<float>(x[i]));
    if (!bad) return;
    if (scaled && state->loss_scale > 1.0f) state->steady = -1;
    else if (atomicExch(&state->nonfinite, 1) == 0) state->first_bad_step = state->step;
}

// y = the new content, or the old one where the flag is set; y may lie on the old one.
extern "C" __global__ void unless_flagged(
    const StepState* state, const T* before, const T* after, T* y, long long count)
{
    const T* chosen = skips(state) ? before : after;
    if (chosen != y) FOR_EACH(i, count) y[i] = chosen[i];
}

// One thread. `correct` may be absent.
extern "C" __global__ void advance_step(StepState* state, const T* loss, const long long* correct, int scaled)
{
    wait_for_inputs();
    if (state->nonfinite || blockIdx.x || threadIdx.x) return;
    state->step += !skips(state);
    state->cursor += state->batch_size;
    state->loss_sum += state->batch_size * static_cast<double>(*loss);
    if (correct) state->correct += *correct;
    if (!scaled) return;
    if (state->steady < 0) state->loss_scale = fmaxf(1.0f, state->loss_scale / 2);
    else if (state->steady + 1 < LOSS_SCALE_PERIOD) {
        state->steady += 1;
        return;
    } else state->loss_scale *= 2;
    state->steady = 0;
}

#define SGD 0
#define MOMENTUM 1
#define ADAGRAD 2
#define ADADELTA 3
#define ADAM 4

#ifdef RULE
__device__ __forceinline__ float running_mean(float mean, float sample, float decay, float rest)
{
    return decay * mean + rest * sample;
}

// first and second are the moments, in the order of optim.py, absent where the rule has none. The three
// constants are: decay (momentum), epsilon (Adagrad), decay and epsilon (Adadelta), beta1, beta2 and epsilon (Adam).
extern "C" __global__ void __launch_bounds__(MAX_THREADS) update(
    const StepState* state, const float* w, const float* dw, const float* first, const float* second,
    float* new_w, float* new_first, float* new_second, long long count, int group,
    double l1, double l2, double constant_0, double constant_1, double constant_2)
{
    __shared__ float shared_rate, shared_root;
    // The step's number and its rate are older than this step's kernels: the counter moves on at its end.
    if (threadIdx.x == 0) {
        double rate = state->learning_rate[group], root = 1.0;
        if (RULE == ADAM) {
            const double step = static_cast<double>(state->step + 1);
            rate /= 1.0 - pow(constant_0, step);
            root = sqrt(1.0 - pow(constant_1, step));
        }
        shared_rate = static_cast<float>(rate);
        shared_root = static_cast<float>(root);
    }
    __syncthreads();
    wait_for_inputs();
    const bool skip = skips(state);
    const float rate = shared_rate, root = shared_root;
    const float c0 = constant_0, c1 = constant_1, c2 = constant_2, l1_factor = l1, l2_factor = l2;
    const float rest_0 = 1.0 - constant_0, rest_1 = 1.0 - constant_1;
    FOR_EACH(i, count) {
        const float weight = w[i];
        float moment = RULE == SGD ? 0.0f : first[i];
        float other = RULE >= ADADELTA ? second[i] : 0.0f;
        float result = weight;
        if (!skip) {
            float g = l2_factor * weight + dw[i];
            if (l1_factor != 0.0f) g += l1_factor * (weight > 0.0f ? 1.0f : weight < 0.0f ? -1.0f : 0.0f);
            if (RULE == SGD) result = weight - rate * g;
            if (RULE == MOMENTUM) {
                moment = c0 * moment + rate * g;
                result = weight - moment;
            }
            if (RULE == ADAGRAD) {
                moment += g * g;
                result = weight - rate * g / (sqrtf(moment) + c0);
            }
            if (RULE == ADADELTA) {
                moment = running_mean(moment, g * g, c0, rest_0);
                const float change = sqrtf((other + c1) / (moment + c1)) * g;
                other = running_mean(other, change * change, c0, rest_0);
                result = weight - rate * change;
            }
            if (RULE == ADAM) {
                moment = running_mean(moment, g, c0, rest_0);
                other = running_mean(other, g * g, c1, rest_1);
                result = weight - moment / (sqrtf(other) / root + c2) * rate;
            }
        }
        new_w[i] = result;
        if (RULE != SGD) new_first[i] = moment;
        if (RULE >= ADADELTA) new_second[i] = other;
    }
}
#endif
