// What the kernels use of CUDA C++, for a C++ compiler of the host. A block's threads are fibers that are switched at
// barriers and shuffles; blocks run one after another. Dynamic shared memory starts as NaNs.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <ucontext.h>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static

struct Dim3 { unsigned int x = 1, y = 1, z = 1; };
static Dim3 threadIdx, blockIdx, blockDim, gridDim;
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(16) uint4 { unsigned int x, y, z, w; };
struct alignas(8) float2 { float x, y; };

using std::isfinite;
using std::max;
using std::min;

static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fsub_rn(float a, float b) { return a - b; }
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline int atomicExch(int* place, int value) { const int old = *place; *place = value; return old; }
static inline float __uint_as_float(unsigned int bits) { float value; std::memcpy(&value, &bits, 4); return value; }
static inline unsigned int __float_as_uint(float value) { unsigned int bits; std::memcpy(&bits, &value, 4); return bits; }

static inline float half_to_float(unsigned short bits) { _Float16 half; std::memcpy(&half, &bits, 2); return half; }
static inline unsigned short float_to_half(float value)
{
    const _Float16 half = static_cast<_Float16>(value);
    unsigned short bits;
    std::memcpy(&bits, &half, 2);
    return bits;
}

namespace host {

enum State { READY, AT_BARRIER, AT_SHUFFLE, DONE };
constexpr std::size_t STACK = 64 * 1024;
constexpr int WARP = 32;

struct Fiber {
    ucontext_t context;
    std::unique_ptr<char[]> stack{new char[STACK]};
    State state = DONE;
    Dim3 index;
    std::uint64_t slot = 0;
};

static ucontext_t scheduler;
static std::vector<Fiber> fibers;
static int current = 0;
static std::function<void()> body;
static std::vector<char> dynamic_shared;

static void wait(State state)
{
    fibers[current].state = state;
    swapcontext(&fibers[current].context, &scheduler);
}

static void enter()
{
    body();
    fibers[current].state = DONE;
}

// Lets threads on whose whole warp waits to shuffle; false when there are none.
static bool release_warps(int threads)
{
    bool released = false;
    for (int first = 0; first < threads; first += WARP) {
        const int last = std::min(first + WARP, threads);
        bool waiting = false, all = true;
        for (int t = first; t < last; ++t) {
            waiting = waiting || fibers[t].state == AT_SHUFFLE;
            all = all && (fibers[t].state == AT_SHUFFLE || fibers[t].state == DONE);
        }
        if (!waiting || !all) continue;
        for (int t = first; t < last; ++t)
            if (fibers[t].state == AT_SHUFFLE) fibers[t].state = READY;
        released = true;
    }
    return released;
}

static bool release_block(int threads)
{
    bool waiting = false;
    for (int t = 0; t < threads; ++t) {
        if (fibers[t].state == AT_SHUFFLE) return false;
        waiting = waiting || fibers[t].state == AT_BARRIER;
    }
    for (int t = 0; t < threads; ++t)
        if (fibers[t].state == AT_BARRIER) fibers[t].state = READY;
    return waiting;
}

static void run_block(int threads)
{
    for (int t = 0; t < threads; ++t) {
        Fiber& fiber = fibers[t];
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.get();
        fiber.context.uc_stack.ss_size = STACK;
        fiber.context.uc_link = &scheduler;
        makecontext(&fiber.context, enter, 0);
        fiber.state = READY;
        fiber.index.x = t % blockDim.x;
        fiber.index.y = t / blockDim.x % blockDim.y;
        fiber.index.z = t / (blockDim.x * blockDim.y);
    }
    for (;;) {
        for (current = 0; current < threads; ++current) {
            if (fibers[current].state != READY) continue;
            threadIdx = fibers[current].index;
            swapcontext(&scheduler, &fibers[current].context);
        }
        if (release_warps(threads) || release_block(threads)) continue;
        for (int t = 0; t < threads; ++t)
            if (fibers[t].state != DONE) std::abort();  // some wait at a barrier, some at a shuffle: a deadlock
        return;
    }
}

static void run_plain(int threads)
{
    for (int t = 0; t < threads; ++t) {
        threadIdx.x = t % blockDim.x;
        threadIdx.y = t / blockDim.x % blockDim.y;
        threadIdx.z = t / (blockDim.x * blockDim.y);
        body();
    }
}

// dims: grid x y z, block x y z.
static void run(const unsigned int* dims, unsigned int shared, bool meets, std::function<void()> kernel)
{
    gridDim = {dims[0], dims[1], dims[2]};
    blockDim = {dims[3], dims[4], dims[5]};
    const int threads = blockDim.x * blockDim.y * blockDim.z;
    body = std::move(kernel);
    if (meets && static_cast<int>(fibers.size()) < threads) fibers.resize(threads);
    for (unsigned int z = 0; z < gridDim.z; ++z)
        for (unsigned int y = 0; y < gridDim.y; ++y)
            for (unsigned int x = 0; x < gridDim.x; ++x) {
                blockIdx = {x, y, z};
                dynamic_shared.assign(shared + 16, static_cast<char>(0xff));
                meets ? run_block(threads) : run_plain(threads);
            }
}

static void* shared_memory()
{
    const auto address = reinterpret_cast<std::uintptr_t>(dynamic_shared.data());
    return reinterpret_cast<void*>((address + 15) / 16 * 16);
}

template <typename Number> static Number exchange(Number value, int source)
{
    static_assert(sizeof(Number) <= sizeof(std::uint64_t), "a shuffle moves at most 8 bytes");
    std::memcpy(&fibers[current].slot, &value, sizeof value);
    const int self = current;
    wait(AT_SHUFFLE);
    Number result;
    std::memcpy(&result, &fibers[source < static_cast<int>(fibers.size()) ? source : self].slot, sizeof result);
    wait(AT_SHUFFLE);
    return result;
}

}  // namespace host

static inline void __syncthreads() { host::wait(host::AT_BARRIER); }
static inline void __syncwarp(unsigned int = 0xffffffffu) { host::exchange(0, host::current); }

template <typename Number> static Number __shfl_xor_sync(unsigned int, Number value, int mask, int width = host::WARP)
{
    const int lane = host::current % host::WARP, partner = lane ^ mask;
    const bool inside = partner / width <= lane / width;
    return host::exchange(value, inside ? host::current - lane + partner : host::current);
}

template <typename Number>
static Number __shfl_down_sync(unsigned int, Number value, unsigned int delta, int width = host::WARP)
{
    const int lane = host::current % host::WARP;
    const bool inside = lane % width + static_cast<int>(delta) < width;
    return host::exchange(value, inside ? host::current + static_cast<int>(delta) : host::current);
}
