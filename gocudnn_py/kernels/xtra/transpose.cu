// Boxes whose neighbours in x become far apart in y, and the other way round. T is an unsigned type of the elements'
// size, SIDE elements are a pack.
//
// A thread reads a pack of SIDE columns from each of SIDE rows, turns this square in its registers, and leaves it as
// SIDE packs of rows in shared memory, from where they are written in y's order; TIMES such squares. A tile is THREADS /
// DOWN squares wide and DOWN x TIMES high. Lanes that follow one another read, and write, what lies together.

#include "pack.cuh"

#define ACROSS (THREADS / DOWN)
#define HEIGHT (DOWN * TIMES)          // in packs
#define BANKS (128 / sizeof(Pack<T, SIDE>))  // packs that shared memory gives at a time
#define TURNS (HEIGHT < BANKS ? HEIGHT : BANKS)

// Where a pack of rows of a column lies in shared memory, so that neither those who write nor those who read meet in a
// bank.
__device__ __forceinline__ int cell(int column, int pack) { return column * HEIGHT + (pack ^ column / SIDE % TURNS); }

// x has columns next to one another and rows `row_step` apart, y rows next to one another and columns `column_step`
// apart; of such matrices there are as many as coordinates along BATCH axes. Rows, columns and steps are multiples of
// SIDE. Grid: one block a tile.
extern "C" __global__ void __launch_bounds__(THREADS) transpose(
    const T* __restrict__ x, T* __restrict__ y, long long rows, long long columns, long long row_step,
    long long column_step, unsigned int tiles_down, unsigned int tiles_across,
    unsigned int extent_0, unsigned int extent_1, unsigned int extent_2,
    unsigned int extent_3, unsigned int extent_4, unsigned int extent_5,
    long long from_0, long long from_1, long long from_2, long long from_3, long long from_4, long long from_5,
    long long to_0, long long to_1, long long to_2, long long to_3, long long to_4, long long to_5)
{
    __shared__ Pack<T, SIDE> memory[ACROSS * SIDE * HEIGHT];
    const unsigned int extent[] = {extent_0, extent_1, extent_2, extent_3, extent_4, extent_5};
    const long long from[] = {from_0, from_1, from_2, from_3, from_4, from_5};
    const long long to[] = {to_0, to_1, to_2, to_3, to_4, to_5};
    unsigned int tile = blockIdx.x;
    const long long left = static_cast<long long>(tile % tiles_across) * (ACROSS * SIDE);
    tile /= tiles_across;
    const long long top = static_cast<long long>(tile % tiles_down) * (HEIGHT * SIDE);
    tile /= tiles_down;
#pragma unroll
    for (int a = 0; a < BATCH; ++a) {
        const unsigned int at = tile % extent[a];
        tile /= extent[a];
        x += at * from[a];
        y += at * to[a];
    }
    const int right = threadIdx.x % ACROSS, below = threadIdx.x / ACROSS;
    const long long column = left + right * SIDE;
    Pack<T, SIDE> read[TIMES][SIDE];
#pragma unroll
    for (int t = 0; t < TIMES; ++t) {
        const long long row = top + (below + t * DOWN) * SIDE;
#pragma unroll
        for (int k = 0; k < SIDE; ++k)
            if (row < rows && column < columns) read[t][k] = pack_at<SIDE>(x, (row + k) * row_step + column);
    }
#pragma unroll
    for (int t = 0; t < TIMES; ++t)
#pragma unroll
        for (int k = 0; k < SIDE; ++k) {
            Pack<T, SIDE> turned;
#pragma unroll
            for (int j = 0; j < SIDE; ++j) turned.at[j] = read[t][j].at[k];
            memory[cell(right * SIDE + k, below + t * DOWN)] = turned;
        }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < SIDE * TIMES; ++i) {
        const int number = threadIdx.x + i * THREADS, along = number / HEIGHT, pack = number % HEIGHT;
        const long long row = top + pack * SIDE;
        if (row < rows && left + along < columns)
            *reinterpret_cast<Pack<T, SIDE>*>(y + (left + along) * column_step + row) = memory[cell(along, pack)];
    }
}
