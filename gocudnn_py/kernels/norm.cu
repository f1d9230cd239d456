// Batch normalisation of (samples, channels, plane): one block a channel, sums in double. Without spatial axes to
// share, a channel is one activation and the plane 1.

#include "launch.cuh"

#define FOR_EACH_OF_CHANNEL(at)                                                                    \
    for (long long i = threadIdx.x, at; i < samples * plane; i += blockDim.x)                      \
        if ((at = (i / plane * channels + channel) * plane + i % plane, true))

extern "C" __global__ void __launch_bounds__(MAX_THREADS) batch_norm_forward(
    const T* x, const T* gamma, const T* beta, T* y, T* means, T* invstds, long long samples, long long channels,
    long long plane, double epsilon)
{
    __shared__ double memory[MAX_THREADS];
    const long long count = samples * plane;
    for (long long channel = blockIdx.x; channel < channels; channel += gridDim.x) {
        double sum = 0.0, squares = 0.0;
        FOR_EACH_OF_CHANNEL(at) sum += static_cast<double>(x[at]);
        const float mean = static_cast<float>(sum_over_block(sum, memory) / count);
        FOR_EACH_OF_CHANNEL(at) {
            const double centred = static_cast<float>(x[at]) - mean;
            squares += centred * centred;
        }
        const double variance = sum_over_block(squares, memory) / count;
        const float invstd = static_cast<float>(1.0 / sqrt(variance + epsilon));
        const float factor = static_cast<float>(gamma[channel]) * invstd, shift = beta[channel];
        FOR_EACH_OF_CHANNEL(at) y[at] = (static_cast<float>(x[at]) - mean) * factor + shift;
        if (threadIdx.x == 0) {
            means[channel] = mean;
            invstds[channel] = invstd;
        }
    }
}

extern "C" __global__ void __launch_bounds__(MAX_THREADS) batch_norm_backward(
    const T* x, const T* dy, const T* gamma, const T* means, const T* invstds, T* dx, T* dgammas, T* dbetas,
    long long samples, long long channels, long long plane)
{
    __shared__ double memory[MAX_THREADS];
    const long long count = samples * plane;
    for (long long channel = blockIdx.x; channel < channels; channel += gridDim.x) {
        const float mean = means[channel], invstd = invstds[channel];
        double up = 0.0, turned = 0.0;
        FOR_EACH_OF_CHANNEL(at) {
            const float xhat = (static_cast<float>(x[at]) - mean) * invstd;
            up += static_cast<double>(dy[at]);
            turned += static_cast<double>(static_cast<float>(dy[at]) * xhat);
        }
        const float dbeta = static_cast<float>(sum_over_block(up, memory));
        const float dgamma = static_cast<float>(sum_over_block(turned, memory));
        const float factor = static_cast<float>(gamma[channel]) * invstd;
        const float dbeta_share = dbeta / count, dgamma_share = dgamma / count;
        FOR_EACH_OF_CHANNEL(at) {
            const float xhat = (static_cast<float>(x[at]) - mean) * invstd;
            dx[at] = factor * (static_cast<float>(dy[at]) - dbeta_share - xhat * dgamma_share);
        }
        if (threadIdx.x == 0) {
            dgammas[channel] = dgamma;
            dbetas[channel] = dbeta;
        }
    }
}

extern "C" __global__ void batch_norm_inference(
    const T* x, const T* gamma, const T* beta, const T* mean, const T* variance, T* y, long long count,
    long long channels, long long plane, double epsilon)
{
    FOR_EACH(i, count) {
        const long long channel = i / plane % channels;
        const float spread = static_cast<float>(variance[channel]) + static_cast<float>(epsilon);
        const float factor = static_cast<float>(gamma[channel]) / sqrtf(spread);
        y[i] = (static_cast<float>(x[i]) - static_cast<float>(mean[channel])) * factor + static_cast<float>(beta[channel]);
    }
}

// `unbiased` is count / (count - 1) of the elements that each statistic saw. The new ones may lie on the old.
extern "C" __global__ void running_statistics(
    const T* running_mean, const T* running_variance, const T* mean, const T* invstd, T* new_mean, T* new_variance,
    long long channels, double momentum, double epsilon, double unbiased)
{
    const float keep = static_cast<float>(1.0 - momentum), take = static_cast<float>(momentum);
    FOR_EACH(i, channels) {
        const double spread = static_cast<double>(invstd[i]);
        const float variance = static_cast<float>((1.0 / (spread * spread) - epsilon) * unbiased);
        new_mean[i] = keep * static_cast<float>(running_mean[i]) + take * static_cast<float>(mean[i]);
        new_variance[i] = keep * static_cast<float>(running_variance[i]) + take * variance;
    }
}
