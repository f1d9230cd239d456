// The updates of a list of tensors by one launch, and their penalties. W and G are the types of weights and gradients;
// moments are float32. Where weights in half precision have masters of float32, w are the masters and the weights are
// their copies, of type COPY.

#include "launch.cuh"
#include "pack.cuh"
#include "update_rule.cuh"

#ifndef COPY
#define COPY W
#endif

#define EACH 16  // elements of a chunk that a thread takes
#define CHUNK (MAX_THREADS * EACH)
#define WIDTH 4  // elements of a pack

struct Tensor {
    W* w;
    G* dw;
    float* first;  // moments and copy may be absent
    float* second;
    COPY* copy;
    long long count;
    long long first_chunk;
    // Whether all of it are whole packs, on multiples of these.
    __device__ __forceinline__ bool packed() const
    {
        return off(w) + off(dw) + off(first) + off(second) + off(copy) + count % WIDTH == 0;
    }
    template <typename Number> static __device__ __forceinline__ int off(const Number* numbers)
    {
        return static_cast<int>(reinterpret_cast<unsigned long long>(numbers) % sizeof(Pack<Number, WIDTH>));
    }
};

// A chunk as a tensor of its own, of at most CHUNK elements.
__device__ __forceinline__ Tensor chunk_of(const Tensor* tensors, int count, long long chunk)
{
    int low = 0, high = count;
    while (high - low > 1) {
        const int middle = (low + high) / 2;
        if (tensors[middle].first_chunk <= chunk) low = middle;
        else high = middle;
    }
    Tensor found = tensors[low];
    const long long begin = (chunk - found.first_chunk) * CHUNK;
    found.w += begin;
    found.dw += begin;
    if (found.first) found.first += begin;
    if (found.second) found.second += begin;
    if (found.copy) found.copy += begin;
    found.count = min(found.count - begin, static_cast<long long>(CHUNK));
    return found;
}

// The i-th pack.
template <int N, typename Number> __device__ __forceinline__ Pack<Number, N> got(const Number* numbers, int i)
{
    return reinterpret_cast<const Pack<Number, N>*>(numbers)[i];
}

template <int N, typename Number>
__device__ __forceinline__ void put(Number* numbers, int i, const Pack<float, N>& values)
{
    Pack<Number, N> made;
#pragma unroll
    for (int j = 0; j < N; ++j) made.at[j] = values.at[j];
    reinterpret_cast<Pack<Number, N>*>(numbers)[i] = made;
}

#ifdef RULE
#define AT_ONCE (HAS_FIRST || sizeof(W) + sizeof(G) > 4 ? 8 : 16)  // elements that a thread reads before it writes

// What a launch says to every element; see update_rule.cuh.
struct Constants {
    float rate, root, shrink, c0, c1, c2, rest_0, rest_1, l1, l2, factor, keep;
};

// The update of a chunk by packs of N.
template <int N> __device__ __forceinline__ void update_chunk(const Tensor& tensor, const Constants& by)
{
    constexpr int PACKS_AT_ONCE = AT_ONCE / N;
    const int count = tensor.count / N;
#pragma unroll 1
    for (int start = threadIdx.x; start < count; start += PACKS_AT_ONCE * MAX_THREADS) {
        Pack<W, N> w[PACKS_AT_ONCE];
        Pack<G, N> dw[PACKS_AT_ONCE];
        Pack<float, N> first[PACKS_AT_ONCE], second[PACKS_AT_ONCE];
#pragma unroll
        for (int k = 0; k < PACKS_AT_ONCE; ++k) {
            const int i = min(start + k * MAX_THREADS, count - 1);  // those beyond the end are read from the end
            w[k] = got<N>(tensor.w, i);
            dw[k] = got<N>(tensor.dw, i);
            if (HAS_FIRST) first[k] = got<N>(tensor.first, i);
            if (HAS_SECOND) second[k] = got<N>(tensor.second, i);
        }
#pragma unroll
        for (int k = 0; k < PACKS_AT_ONCE; ++k) {
            const int i = start + k * MAX_THREADS;
            if (i >= count) continue;
            Pack<float, N> made, kept;
#pragma unroll
            for (int j = 0; j < N; ++j) {
                const float weight = w[k].at[j], up = dw[k].at[j];
                const float g = regularized(weight, by.factor * up, by.l1, by.l2);
                made.at[j] = updated(
                    by.shrink * weight, g, first[k].at[j], second[k].at[j], by.rate, by.root, by.c0, by.c1, by.c2,
                    by.rest_0, by.rest_1);
                kept.at[j] = by.keep == 0.0f ? 0.0f : by.keep * up;
            }
            put(tensor.w, i, made);
            if (tensor.copy) put(tensor.copy, i, made);
            if (HAS_FIRST) put(tensor.first, i, first[k]);
            if (HAS_SECOND) put(tensor.second, i, second[k]);
            if (by.keep != 1.0f) put(tensor.dw, i, kept);
        }
    }
}

// Of the rule's constants see update_rule.cuh. The gradient is factor dw, dw becomes keep dw, and weights shrink by
// rate decay of themselves beforehand. Step and rate are those at step_at and rate_at, if these are there.
extern "C" __global__ void __launch_bounds__(MAX_THREADS) update_all(
    const Tensor* tensors, int count, long long chunks, const long long* step_at, const float* rate_at, long long step,
    double rate, double l1, double l2, double decay, double factor, double keep, double constant_0, double constant_1,
    double constant_2)
{
    __shared__ float shared_rate, shared_root, shared_shrink;
    if (threadIdx.x == 0) {
        double root = 1.0;
        if (rate_at) rate = *rate_at;
        shared_shrink = static_cast<float>(1.0 - rate * decay);
        if (RULE == ADAM) {
            const double number = static_cast<double>(step_at ? *step_at : step);
            rate /= 1.0 - pow(constant_0, number);
            root = sqrt(1.0 - pow(constant_1, number));
        }
        shared_rate = static_cast<float>(rate);
        shared_root = static_cast<float>(root);
    }
    __syncthreads();
    const float c0 = constant_0, c1 = constant_1, c2 = constant_2, rest_0 = 1.0 - constant_0, rest_1 = 1.0 - constant_1;
    const float l1_factor = l1, l2_factor = l2, up = factor, kept = keep;
    const Constants by{
        shared_rate, shared_root, shared_shrink, c0, c1, c2, rest_0, rest_1, l1_factor, l2_factor, up, kept};
    for (long long chunk = blockIdx.x; chunk < chunks; chunk += gridDim.x) {
        const Tensor tensor = chunk_of(tensors, count, chunk);
        if (tensor.packed()) update_chunk<WIDTH>(tensor, by);
        else update_chunk<1>(tensor, by);
    }
}
#else
// dw becomes factor dw + l1 sign(w) + l2 w for a chunk, by packs of N; a thread's |w| and w^2 are added to the sums.
template <int N> __device__ __forceinline__ void regularize_chunk(
    const Tensor& tensor, float factor, float l1, float l2, double& magnitudes, double& squares)
{
    const int count = tensor.count / N;
    Pack<W, N> w[EACH / N];
    Pack<G, N> dw[EACH / N];
    float magnitude = 0.0f, square = 0.0f;
#pragma unroll
    for (int k = 0; k < EACH / N; ++k) {
        const int i = min(static_cast<int>(k * MAX_THREADS + threadIdx.x), count - 1);  // beyond the end: the last
        w[k] = got<N>(tensor.w, i);
        dw[k] = got<N>(tensor.dw, i);
    }
#pragma unroll
    for (int k = 0; k < EACH / N; ++k) {
        const int i = k * MAX_THREADS + threadIdx.x;
        if (i >= count) continue;
        Pack<float, N> made;
#pragma unroll
        for (int j = 0; j < N; ++j) {
            const float weight = w[k].at[j];
            made.at[j] = regularized(weight, factor * static_cast<float>(dw[k].at[j]), l1, l2);
            magnitude += fabsf(weight);
            square += weight * weight;
        }
        put(tensor.dw, i, made);
    }
    magnitudes += magnitude;
    squares += square;
}

// dw becomes factor dw + l1 sign(w) + l2 w; sums (gridDim.x, 2) of |w| and of w^2.
extern "C" __global__ void __launch_bounds__(MAX_THREADS) regularize_all(
    const Tensor* tensors, int count, long long chunks, double* sums, double factor, double l1, double l2)
{
    __shared__ double memory[MAX_THREADS];
    const float l1_factor = l1, l2_factor = l2, up = factor;
    double magnitudes = 0.0, squares = 0.0;
    for (long long chunk = blockIdx.x; chunk < chunks; chunk += gridDim.x) {
        const Tensor tensor = chunk_of(tensors, count, chunk);
        if (tensor.packed()) regularize_chunk<WIDTH>(tensor, up, l1_factor, l2_factor, magnitudes, squares);
        else regularize_chunk<1>(tensor, up, l1_factor, l2_factor, magnitudes, squares);
    }
    const double magnitude = sum_over_block(magnitudes, memory), square = sum_over_block(squares, memory);
    if (threadIdx.x) return;
    sums[2 * blockIdx.x] = magnitude;
    sums[2 * blockIdx.x + 1] = square;
}
#endif

// penalties = l1 and l2 / 2 times the sums of the blocks; one block.
extern "C" __global__ void __launch_bounds__(MAX_THREADS)
    finish_penalties(const double* sums, float* penalties, int blocks, double l1, double l2)
{
    __shared__ double memory[MAX_THREADS];
    double magnitudes = 0.0, squares = 0.0;
    for (int block = threadIdx.x; block < blocks; block += blockDim.x) {
        magnitudes += sums[2 * block];
        squares += sums[2 * block + 1];
    }
    const double magnitude = sum_over_block(magnitudes, memory), square = sum_over_block(squares, memory);
    if (threadIdx.x) return;
    penalties[0] = static_cast<float>(l1 * magnitude);
    penalties[1] = static_cast<float>(l2 / 2.0 * square);
}
