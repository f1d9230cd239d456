// The end of a step: the non-finite flag, the updates by RULE as in convnetgo/optimizers.py, the counter.

#include "launch.cuh"
#include "overlap.cuh"
#include "step_state.cuh"
#include "update_rule.cuh"

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

#ifdef RULE
// first and second are absent where the rule has no such moment.
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
        float moment = HAS_FIRST ? first[i] : 0.0f;
        float other = HAS_SECOND ? second[i] : 0.0f;
        float result = weight;
        if (!skip) {
            const float g = regularized(weight, dw[i], l1_factor, l2_factor);
            result = updated(weight, g, moment, other, rate, root, c0, c1, c2, rest_0, rest_1);
        }
        new_w[i] = result;
        if (HAS_FIRST) new_first[i] = moment;
        if (HAS_SECOND) new_second[i] = other;
    }
}
#endif
