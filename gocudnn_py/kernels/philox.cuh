// Philox4x32-10, bit for bit that of gocunets/convnetgo/philox.py.

__device__ __forceinline__ uint4 philox4x32(uint4 counter, unsigned int key_low, unsigned int key_high)
{
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        const unsigned long long first = 0xD2511F53ull * counter.x, second = 0xCD9E8D57ull * counter.z;
        const unsigned int mixed = static_cast<unsigned int>(second >> 32) ^ counter.y ^ key_low;
        const unsigned int turned = static_cast<unsigned int>(first >> 32) ^ counter.w ^ key_high;
        counter.x = mixed;
        counter.y = static_cast<unsigned int>(second);
        counter.z = turned;
        counter.w = static_cast<unsigned int>(first);
        key_low += 0x9E3779B9u;
        key_high += 0xBB67AE85u;
    }
    return counter;
}

// The four random words of elements 4 block to 4 block + 3 of a draw: random_bits.
__device__ __forceinline__ uint4 random_words(
    unsigned long long block, unsigned int step, unsigned int node, unsigned long long seed)
{
    uint4 counter;
    counter.x = static_cast<unsigned int>(block);
    counter.y = static_cast<unsigned int>(block >> 32);
    counter.z = step;
    counter.w = node;
    return philox4x32(counter, static_cast<unsigned int>(seed), static_cast<unsigned int>(seed >> 32));
}
