// Softmax cross-entropy of a small batch in one block: the mean loss over the valid samples, the number of right
// answers, and the gradient of the logits, times the loss scale if `scaled`, CLASSES known at compile time.

#include "launch.cuh"
#include "overlap.cuh"
#include "step_state.cuh"

#define THREADS MAX_THREADS

extern "C" __global__ void __launch_bounds__(THREADS) softmax_loss(
    const float* logits, const long long* labels, const StepState* state, float* loss, long long* correct,
    float* dlogits, int samples, int scaled)
{
    __shared__ float losses[THREADS];
    __shared__ int counts[THREADS];
    wait_for_inputs();
    const int valid = state->batch_size;
    const float share = 1.0f / valid, dshare = scaled ? share * state->loss_scale : share;
    float total = 0.0f;
    int right = 0;
    for (int n = threadIdx.x; n < samples; n += THREADS) {
        float values[CLASSES], largest = logits[n * CLASSES], sum = 0.0f;
        int best = 0;
#pragma unroll
        for (int k = 0; k < CLASSES; ++k) {
            values[k] = logits[n * CLASSES + k];
            if (values[k] > largest) { largest = values[k]; best = k; }
        }
        const long long label = labels[n];
        float wanted = 0.0f;
#pragma unroll
        for (int k = 0; k < CLASSES; ++k) {
            if (k == label) wanted = values[k];
            values[k] = expf(values[k] - largest);
            sum += values[k];
        }
        const bool counted = n < valid;
        if (counted) {
            total += logf(sum) - (wanted - largest);
            right += best == label;
        }
#pragma unroll
        for (int k = 0; k < CLASSES; ++k)
            dlogits[n * CLASSES + k] = counted ? (values[k] / sum - (k == label)) * dshare : 0.0f;
    }
    const float all = sum_over_block(total, losses);
    const int answers = sum_over_block(right, counts);
    if (threadIdx.x == 0) {
        *loss = all * share;
        *correct = answers;
    }
}
