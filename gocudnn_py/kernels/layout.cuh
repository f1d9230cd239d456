// Where an element of (samples, channels, plane) lies: row-major, or with the channels last.

template <bool last>
__device__ __forceinline__ long long place(long long n, long long c, long long p, int channels, long long plane)
{
    return last ? (n * plane + p) * channels + c : (n * channels + c) * plane + p;
}

struct Position {
    long long sample;
    int channel;
    long long pixel;
};

// Which element lies at i, neighbours in memory being neighbours in i.
template <bool last> __device__ __forceinline__ Position position(long long i, int channels, long long plane)
{
    if (last) return {i / (channels * plane), static_cast<int>(i % channels), i / channels % plane};
    return {i / (channels * plane), static_cast<int>(i / plane % channels), i % plane};
}
