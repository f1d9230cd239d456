// y (outer, classes, inner) has `on` where the class is the label of (outer, inner), `off` elsewhere.

#include "pack.cuh"

#define NOWHERE ~static_cast<INDEX>(0)

// A label that is no class makes `off` alone.
extern "C" __global__ void __launch_bounds__(THREADS, sizeof(T) == 1 ? 3 : sizeof(T) == 2 ? 8 : 6) one_hot(
    const LABEL* __restrict__ labels, T* __restrict__ y, double on, double off, long long classes, long long inner,
    long long count, int packed)
{
    constexpr int MOST = 16;  // elements of a pack
    const T high = static_cast<T>(on), low = static_cast<T>(off);
    const INDEX all = static_cast<INDEX>(classes), columns = static_cast<INDEX>(inner);
    const auto class_of = [=](INDEX row) {
        const long long label = labels[row];
        return label >= 0 && label < classes ? static_cast<INDEX>(label) : NOWHERE;
    };
    // Where inner is 1 and a pack lies within a row: how far away `on` is.
    const auto within_row = [=](long long i) {
        const INDEX row = static_cast<INDEX>(i) / all, c = static_cast<INDEX>(i) - row * all, here = class_of(row);
        const INDEX one = here < c ? NOWHERE : here - c;
        INDEX at = 0;
        return [=]() mutable { return at++ == one ? high : low; };
    };
    // Where inner is 1: how far away `on` is in the present row, and in the next.
    const auto along_rows = [=](long long i) {
        const INDEX row = static_cast<INDEX>(i) / all, c = static_cast<INDEX>(i) - row * all, here = class_of(row);
        const bool ends = c + MOST > all && i + (all - c) < count;
        const INDEX there = ends ? class_of(row + 1) : NOWHERE;
        const INDEX one = here < c ? NOWHERE : here - c, other = there == NOWHERE ? NOWHERE : there + (all - c);
        INDEX at = 0;
        return [=]() mutable {
            const bool found = at == one || at == other;
            ++at;
            return found ? high : low;
        };
    };
    const auto across_rows = [=](long long i) {
        Channels at(i, classes, inner);
        INDEX row = static_cast<INDEX>(i) / columns / all;
        return [=]() mutable {
            const INDEX c = at.channel;
            const T found = class_of(row * columns + (columns - at.left)) == c ? high : low;
            if (at.next() && c == all - 1) ++row;
            return found;
        };
    };
    if (inner == 1 && all % (16 / sizeof(T)) == 0) map(count, packed, within_row, y);
    else if (inner == 1 && classes >= MOST) map(count, packed, along_rows, y);
    else map(count, packed, across_rows, y);
}
