// Losses and their gradients in one pass. Sums are float32 within a thread, double beyond, in an order that
// hangs on shapes and alignment alone. What lies beyond an end is read from the end, and not used.

#include "launch.cuh"
#include "pack.cuh"

#define EACH 16  // elements that a thread takes at a time
#define SPAN (MAX_THREADS * EACH)

#ifdef T
constexpr int WIDTH = 16 / sizeof(T);  // elements of a pack of 16 bytes

// dy = slope (y - target), if dy is there, for up to SPAN elements by packs of N; a thread's sum of (y - target)^2.
template <int N>
__device__ __forceinline__ float errors(const T* y, const T* target, T* dy, int elements, float slope)
{
    typedef Pack<T, N> Elements;
    constexpr int AT_ONCE = 2 * WIDTH / N;
    const int count = elements / N;
    float sum = 0.0f;
#pragma unroll 1
    for (int start = threadIdx.x; start < count; start += AT_ONCE * MAX_THREADS) {
        Elements found[AT_ONCE], wanted[AT_ONCE];
#pragma unroll
        for (int k = 0; k < AT_ONCE; ++k) {
            const int i = min(start + k * MAX_THREADS, count - 1);  // those beyond the end are read from the end
            found[k] = reinterpret_cast<const Elements*>(y)[i];
            wanted[k] = reinterpret_cast<const Elements*>(target)[i];
        }
#pragma unroll
        for (int k = 0; k < AT_ONCE; ++k) {
            const int i = start + k * MAX_THREADS;
            if (i >= count) continue;
            Elements up;
#pragma unroll
            for (int j = 0; j < N; ++j) {
                const float difference = static_cast<float>(found[k].at[j]) - static_cast<float>(wanted[k].at[j]);
                sum += difference * difference;
                up.at[j] = slope * difference;
            }
            if (dy) reinterpret_cast<Elements*>(dy)[i] = up;
        }
    }
    return sum;
}

// dy = 2 factor (y - target), if dy is there; sums[row * parts + part] of (y - target)^2 over a part of each row.
// `packed` says that every row lies on a multiple of its packs. Grid: rows x parts.
extern "C" __global__ void __launch_bounds__(MAX_THREADS) squared_error(
    const T* y, const T* target, T* dy, double* sums, long long rows, long long size, int parts, double factor,
    int packed)
{
    __shared__ double memory[MAX_THREADS];
    const long long row = blockIdx.x / parts, part = blockIdx.x % parts;
    const float slope = static_cast<float>(2.0 * factor);
    float sum = 0.0f;
    for (long long first = part * SPAN; first < size; first += static_cast<long long>(parts) * SPAN) {
        const long long at = row * size + first;
        const int count = min(size - first, static_cast<long long>(SPAN));
        T* const up = dy ? dy + at : dy;
        if (packed && count % WIDTH == 0) sum += errors<WIDTH>(y + at, target + at, up, count, slope);
        else sum += errors<1>(y + at, target + at, up, count, slope);
    }
    const double total = sum_over_block(static_cast<double>(sum), memory);
    if (threadIdx.x == 0) sums[blockIdx.x] = total;
}
#endif

#ifdef HELD
#define LOG2E 1.4426950408889634f
#define FINITE 3.402823466e38f               // the greatest number
#define LEAST __uint_as_float(0xff800000u)  // minus infinity

// 2^x, which is 0 below 2^-126.
__device__ __forceinline__ float power_of_two(float x)
{
#ifdef __CUDACC_RTC__
    asm("ex2.approx.ftz.f32 %0, %0;" : "+f"(x));
    return x;
#else
    return exp2f(x);
#endif
}

// What LANES neighbouring threads have, joined, in each of them.
template <typename Join> __device__ __forceinline__ float over_lanes(float value, Join join)
{
#pragma unroll
    for (int step = LANES / 2; step > 0; step /= 2) value = join(value, __shfl_xor_sync(0xffffffffu, value, step));
    return value;
}

// A row of so many packs of logits, of which a thread has HELD; the last may lie beyond the end.
struct Row {
    typedef Pack<T, WIDTH> Logits;
    Logits logits[HELD];
    int packs, label;  // or -1
    // When it has been raised: the greatest logit, the one at the label, the powers of e of all less `greatest`, and
    // their sum. An infinite greatest makes powers 0 or infinite, whose quotients with the sum are 0 or NaN.
    float greatest, wanted, powers[HELD * WIDTH], sum;
    // The number of the k-th pack within the row.
    static __device__ __forceinline__ int place(int k) { return k * LANES + threadIdx.x % LANES; }
    __device__ __forceinline__ bool inside(int k) const { return k + 1 < HELD || place(k) < packs; }
    // Whether the i-th of the thread's logits is the label's.
    __device__ __forceinline__ bool chosen(int i) const
    {
        return label - place(0) * WIDTH == i / WIDTH * (LANES * WIDTH) + i % WIDTH;
    }
    __device__ __forceinline__ void read(const Logits* row, int count, LABEL number)
    {
        packs = count;
        label = number >= 0 && number < static_cast<long long>(count) * WIDTH ? static_cast<int>(number) : -1;
#pragma unroll
        for (int k = 0; k < HELD; ++k)
            if (inside(k)) logits[k] = row[place(k)];
    }
    __device__ __forceinline__ void raise()
    {
        greatest = LEAST;
        wanted = label < 0 ? nanf("") : 0.0f;
        sum = 0.0f;
#pragma unroll
        for (int i = 0; i < HELD * WIDTH; ++i) {
            powers[i] = inside(i / WIDTH) ? static_cast<float>(logits[i / WIDTH].at[i % WIDTH]) : LEAST;
            greatest = fmaxf(greatest, powers[i]);
            if (chosen(i)) wanted = powers[i];
        }
        greatest = over_lanes(greatest, [](float a, float b) { return fmaxf(a, b); });
        wanted = over_lanes(wanted, [](float a, float b) { return a + b; });
        const float from = fmaxf(fminf(greatest, FINITE), -FINITE);
#pragma unroll
        for (int i = 0; i < HELD * WIDTH; ++i) {
            powers[i] = power_of_two(LOG2E * (powers[i] - from));
            sum += powers[i];
        }
        sum = over_lanes(sum, [](float a, float b) { return a + b; });
    }
    __device__ __forceinline__ float loss() const { return logf(sum) - (wanted - greatest); }
    // drow = factor (softmax - one at the label).
    __device__ __forceinline__ void write(Logits* drow, float factor) const
    {
        const float scale = label < 0 ? nanf("") : factor, by = scale / sum;
#pragma unroll
        for (int k = 0; k < HELD; ++k) {
            Logits made;
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                const float part = by * powers[k * WIDTH + j];
                made.at[j] = chosen(k * WIDTH + j) ? part - scale : part;
            }
            if (inside(k)) drow[place(k)] = made;
        }
    }
};

// The kernel below for inner = 1 and classes that are whole packs, on multiples of these: a row stays in the registers
// of LANES neighbouring threads, HELD packs a thread, which has ROWS rows at a time.
extern "C" __global__ void __launch_bounds__(MAX_THREADS, HELD * WIDTH > 32 ? 2 : 4) softmax_cross_entropy(
    const T* logits, const LABEL* labels, float* losses, T* dlogits, double* sums, long long outer, long long classes,
    long long inner, float factor)
{
    constexpr int APART = MAX_THREADS / LANES, TILE = APART * ROWS;
    __shared__ double memory[MAX_THREADS];
    const int packs = static_cast<int>(classes / WIDTH);
    double total = 0.0;
    for (long long first = static_cast<long long>(blockIdx.x) * TILE; first < outer;
         first += static_cast<long long>(gridDim.x) * TILE) {
        const int count = min(outer - first, static_cast<long long>(TILE));
        const Row::Logits* const from = reinterpret_cast<const Row::Logits*>(logits + first * classes);
        Row::Logits* const to = reinterpret_cast<Row::Logits*>(dlogits + first * classes);
        Row of[ROWS];
#pragma unroll
        for (int r = 0; r < ROWS; ++r) {
            const int row = min(static_cast<int>(r * APART + threadIdx.x / LANES), count - 1);
            of[r].read(from + row * packs, packs, labels[first + row]);
        }
#pragma unroll
        for (int r = 0; r < ROWS; ++r) {
            const int row = r * APART + threadIdx.x / LANES;
            of[r].raise();  // by whole warps
            if (row >= count) continue;
            const float loss = of[r].loss();
            if (threadIdx.x % LANES == 0) {
                losses[first + row] = loss;
                total += loss;
            }
            if (dlogits) of[r].write(to + row * packs, factor);
        }
    }
    total = sum_over_block(total, memory);
    if (sums && threadIdx.x == 0) sums[blockIdx.x] = total;
}
#elif defined LABEL
// The greatest of some logits and the sum of the exponentials of what they are below it.
struct Exponentials {
    float greatest = __uint_as_float(0xff800000u), sum = 0.0f;  // minus infinity
    __device__ __forceinline__ void take(float logit)
    {
        if (logit > greatest) {
            sum = sum * expf(greatest - logit) + 1.0f;
            greatest = logit;
        } else sum += logit == greatest ? 1.0f : expf(logit - greatest);
    }
    __device__ __forceinline__ void join(float other_greatest, float other_sum)
    {
        const float most = fmaxf(greatest, other_greatest);
        const float mine = greatest == most ? sum : sum * expf(greatest - most);
        sum = mine + (other_greatest == most ? other_sum : other_sum * expf(other_greatest - most));
        greatest = most;
    }
};

// Logits (outer, classes, inner), labels and losses (outer, inner): losses = -log softmax[label], dlogits = factor
// (softmax - one at the label), even where the logits lie; sums[block] of the losses. dlogits and sums may be absent.
// LANES neighbouring threads share a row. A label that is no class makes NaNs.
extern "C" __global__ void __launch_bounds__(MAX_THREADS) softmax_cross_entropy(
    const T* logits, const LABEL* labels, float* losses, T* dlogits, double* sums, long long outer, long long classes,
    long long inner, float factor)
{
    __shared__ double memory[MAX_THREADS];
    const long long rows = outer * inner;
    double total = 0.0;
    FOR_EACH(i, (rows * LANES + 31) / 32 * 32) {  // whole warps, for the threads of one exchange what they have
        const bool there = i < rows * LANES;
        const long long row = there ? i / LANES : rows - 1, first = row / inner * classes * inner + row % inner;
        const int lane = i % LANES;
        const long long label = labels[row];
        const bool known = label >= 0 && label < classes;
        const float wanted = known ? static_cast<float>(logits[first + label * inner]) : nanf("");
        Exponentials of;
#pragma unroll 4
        for (long long c = lane; c < classes; c += LANES) of.take(logits[first + c * inner]);
#pragma unroll
        for (int step = LANES / 2; step > 0; step /= 2) {
            const float greatest = __shfl_xor_sync(0xffffffffu, of.greatest, step);
            of.join(greatest, __shfl_xor_sync(0xffffffffu, of.sum, step));
        }
        if (!there) continue;
        const float loss = logf(of.sum) - (wanted - of.greatest);
        if (lane == 0) {
            losses[row] = loss;
            total += loss;
        }
        if (!dlogits) continue;
        const float scale = known ? factor : nanf(""), share = 1.0f / of.sum;
#pragma unroll 4
        for (long long c = lane; c < classes; c += LANES) {
            const float p = expf(static_cast<float>(logits[first + c * inner]) - of.greatest) * share;
            dlogits[first + c * inner] = scale * (c == label ? p - 1.0f : p);
        }
    }
    total = sum_over_block(total, memory);
    if (sums && threadIdx.x == 0) sums[blockIdx.x] = total;
}
#endif

// y[row] = factor times the sum of a row's parts; one block a row.
extern "C" __global__ void __launch_bounds__(MAX_THREADS)
    finish_sums(const double* sums, float* y, long long rows, int parts, double factor)
{
    __shared__ double memory[MAX_THREADS];
    for (long long row = blockIdx.x; row < rows; row += gridDim.x) {
        double sum = 0.0;
        for (int part = threadIdx.x; part < parts; part += blockDim.x) sum += sums[row * parts + part];
        const double total = sum_over_block(sum, memory);
        if (threadIdx.x == 0) y[row] = static_cast<float>(factor * total);
    }
}
