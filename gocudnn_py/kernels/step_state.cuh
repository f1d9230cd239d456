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
    double learning_rate[MAX_GROUPS];
};

static_assert(sizeof(StepState) == 136, "STEP_STATE has 136 bytes");
