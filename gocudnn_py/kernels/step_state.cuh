// The step state of gocunets/state.py, field by field.

#define MAX_GROUPS 8

struct StepState {
    long long step;
    unsigned long long seed;
    long long epoch;
    long long cursor;
    long long correct;
    double loss_sum;
    long long first_bad_step;
    int nonfinite;
    int batch_size;
    float loss_scale;
    int steady;
    double learning_rate[MAX_GROUPS];
};

// Whether this step makes no update: the flag is set, or a gradient overflowed by the loss scale.
__device__ __forceinline__ bool skips(const StepState* state)
{
    return state->nonfinite || state->steady < 0;
}

static_assert(sizeof(StepState) == 136, "STEP_STATE has 136 bytes");
