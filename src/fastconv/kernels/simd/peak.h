/* Independent chains of multiply-adds in registers: what the core can do at best.
 *
 * 12 chains cover a latency of 4 to 5 cycles on two pipes and fit the 16 registers of AVX2.
 */
#define CHAINS 12

#define PEAK(name, type)                                                        \
    typedef type name##_vector __attribute__((vector_size(SIMD_BYTES)));        \
    static double name(int64_t rounds)                                          \
    {                                                                           \
        name##_vector chain[CHAINS], sum = {0};                                 \
        name##_vector scale = sum + (type)0.999, shift = sum + (type)0.001;     \
        for (int c = 0; c < CHAINS; c++)                                        \
            chain[c] = sum + (type)c;                                           \
        for (int64_t round = 0; round < rounds; round++)                        \
            _Pragma("GCC unroll 12")                                            \
            for (int c = 0; c < CHAINS; c++)                                    \
                chain[c] = chain[c] * scale + shift;                            \
        for (int c = 0; c < CHAINS; c++)                                        \
            sum += chain[c];                                                    \
        return (double)sum[0];                                                  \
    }

PEAK(peak_f32, float)
PEAK(peak_f64, double)
