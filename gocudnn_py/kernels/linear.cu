// Matrix products and sums over all axes but the channels.

#include "launch.cuh"

#define TILE 16

#ifdef SLICES
// y (rows, columns) = a b + bias, with a (rows, inner) and b (inner, columns) of any strides; blocks of 16 x 16, whose
// SLICES teams of threads share the inner axis.
extern "C" __global__ void __launch_bounds__(SLICES * TILE * TILE) multiply(
    const T* a, const T* b, const T* bias, T* y, long long rows, long long inner, long long columns,
    long long a_row, long long a_column, long long b_row, long long b_column)
{
    __shared__ float a_tiles[SLICES][TILE][TILE + 1], b_tiles[SLICES][TILE][TILE + 1];
    const int across = threadIdx.x % TILE, down = threadIdx.x / TILE % TILE, slice = threadIdx.x / (TILE * TILE);
    auto a_tile = a_tiles[slice], b_tile = b_tiles[slice];
    const long long tiles_across = (columns + TILE - 1) / TILE, tiles_down = (rows + TILE - 1) / TILE;
    for (long long tile = blockIdx.x; tile < tiles_across * tiles_down; tile += gridDim.x) {
        const long long row = tile / tiles_across * TILE + down, column = tile % tiles_across * TILE + across;
        float sum = 0.0f;
        for (long long base = 0; base < inner; base += SLICES * TILE) {
            const long long start = base + slice * TILE;
            const bool in_a = row < rows && start + across < inner;
            const bool in_b = column < columns && start + down < inner;
            a_tile[down][across] = in_a ? static_cast<float>(a[row * a_row + (start + across) * a_column]) : 0.0f;
            b_tile[down][across] = in_b ? static_cast<float>(b[(start + down) * b_row + column * b_column]) : 0.0f;
            __syncthreads();
#pragma unroll
            for (int i = 0; i < TILE; ++i) sum += a_tile[down][i] * b_tile[i][across];
            __syncthreads();
        }
        a_tile[down][across] = sum;
        __syncthreads();
        if (slice == 0 && row < rows && column < columns) {
            for (int other = 1; other < SLICES; ++other) sum += a_tiles[other][down][across];
            y[row * columns + column] = bias ? sum + static_cast<float>(bias[column]) : sum;
        }
        __syncthreads();
    }
}
#endif

#ifdef FROM
// sums[part][c] = dy (samples, channels, plane) summed over the plane and over samples part, part + parts, ... Grid:
// channels, parts.
extern "C" __global__ void __launch_bounds__(MAX_THREADS)
    sum_planes(const FROM* dy, TO* sums, long long samples, long long channels, long long plane)
{
    __shared__ float memory[MAX_THREADS];
    float sum = 0.0f;
    for (long long n = blockIdx.y; n < samples; n += gridDim.y)
        for (long long p = threadIdx.x; p < plane; p += blockDim.x)
            sum += static_cast<float>(dy[(n * channels + blockIdx.x) * plane + p]);
    const float total = sum_over_block(sum, memory);
    if (threadIdx.x == 0) sums[blockIdx.y * channels + blockIdx.x] = total;
}

// The same of dy (samples, channels): a block takes 32 neighbouring channels, a warp every ROWS-th of its samples. Grid:
// channels / 32, parts.
#define ROWS (MAX_THREADS / 32)
extern "C" __global__ void __launch_bounds__(MAX_THREADS)
    sum_rows(const FROM* dy, TO* sums, long long samples, long long channels)
{
    __shared__ float memory[MAX_THREADS];
    const long long channel = blockIdx.x * 32ll + threadIdx.x % 32;
    float sum = 0.0f;
    if (channel < channels)
        for (long long n = blockIdx.y * ROWS + threadIdx.x / 32; n < samples; n += gridDim.y * ROWS)
            sum += static_cast<float>(dy[n * channels + channel]);
    memory[threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.x >= 32 || channel >= channels) return;
    for (int row = 1; row < ROWS; ++row) sum += memory[row * 32 + threadIdx.x];
    sums[blockIdx.y * channels + channel] = sum;
}
#endif
