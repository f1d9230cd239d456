// Matrix products and sums over all axes but the channels.

#include "launch.cuh"

#define TILE 16

// y (rows, columns) = a b + bias, with a (rows, inner) and b (inner, columns) of any strides; blocks of 16 x 16.
extern "C" __global__ void __launch_bounds__(TILE * TILE) multiply(
    const T* a, const T* b, const T* bias, T* y, long long rows, long long inner, long long columns,
    long long a_row, long long a_column, long long b_row, long long b_column)
{
    __shared__ float a_tile[TILE][TILE + 1], b_tile[TILE][TILE + 1];
    const int across = threadIdx.x % TILE, down = threadIdx.x / TILE;
    const long long tiles_across = (columns + TILE - 1) / TILE, tiles_down = (rows + TILE - 1) / TILE;
    for (long long tile = blockIdx.x; tile < tiles_across * tiles_down; tile += gridDim.x) {
        const long long row = tile / tiles_across * TILE + down, column = tile % tiles_across * TILE + across;
        float sum = 0.0f;
        for (long long start = 0; start < inner; start += TILE) {
            const bool in_a = row < rows && start + across < inner;
            const bool in_b = column < columns && start + down < inner;
            a_tile[down][across] = in_a ? static_cast<float>(a[row * a_row + (start + across) * a_column]) : 0.0f;
            b_tile[down][across] = in_b ? static_cast<float>(b[(start + down) * b_row + column * b_column]) : 0.0f;
            __syncthreads();
#pragma unroll
            for (int i = 0; i < TILE; ++i) sum += a_tile[down][i] * b_tile[i][across];
            __syncthreads();
        }
        if (row < rows && column < columns)
            y[row * columns + column] = bias ? sum + static_cast<float>(bias[column]) : sum;
    }
}

// db[c] = dy (samples, channels, plane) summed over samples and plane; one block a channel.
extern "C" __global__ void __launch_bounds__(MAX_THREADS)
    sum_of_channel(const T* dy, T* db, long long samples, long long channels, long long plane)
{
    __shared__ float memory[MAX_THREADS];
    for (long long channel = blockIdx.x; channel < channels; channel += gridDim.x) {
        float sum = 0.0f;
        for (long long i = threadIdx.x; i < samples * plane; i += blockDim.x)
            sum += static_cast<float>(dy[(i / plane * channels + channel) * plane + i % plane]);
        const float total = sum_over_block(sum, memory);
        if (threadIdx.x == 0) db[channel] = total;
    }
}
