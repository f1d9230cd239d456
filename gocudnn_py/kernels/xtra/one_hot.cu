// y (outer, classes, inner) has `on` where the class is the label of (outer, inner), `off` elsewhere.

#include "pack.cuh"

// A label that is no class makes `off` alone.
extern "C" __global__ void __launch_bounds__(THREADS) one_hot(
    const LABEL* labels, T* y, double on, double off, long long classes, long long inner, long long count, int packed)
{
    const T high = static_cast<T>(on), low = static_cast<T>(off);
    const auto begin = [=](long long i) {
        Channels at(i, classes, inner);
        long long outer = i / inner / classes;
        return [=]() mutable {
            const long long pixel = at.pixel, c = at.next();
            const bool found = labels[outer * inner + pixel] == c;
            if (c == classes - 1 && at.pixel == 0) ++outer;
            return found ? high : low;
        };
    };
    map(count, packed, begin, y);
}
