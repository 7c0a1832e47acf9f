/* Independent chains of multiply-adds in registers: what the core can do at best.
 *
 * 12 chains cover a latency of 4 to 5 cycles on two pipes and fit the 16 registers of AVX2. Returns the number of
 * operations. The chains start from `value`, which the compiler does not know, and end in it: a chain whose result it
 * could foresee (1 stays 1) would not be computed.
 */
#define CHAINS 12

static double NAME(peak)(int64_t rounds, double *value)
{
    const VECTOR scale = NAME(broadcast)((REAL)0.999), shift = NAME(broadcast)((REAL)0.001);
    VECTOR chain[CHAINS], sum = {0};
    for (int c = 0; c < CHAINS; c++)
        chain[c] = NAME(broadcast)((REAL)(*value + c));
    for (int64_t round = 0; round < rounds; round++)
        UNROLL
        for (int c = 0; c < CHAINS; c++)
            chain[c] = chain[c] * scale + shift;
    for (int c = 0; c < CHAINS; c++)
        sum += chain[c];
    *value = (double)sum[0];
    return 2.0 * CHAINS * LANES * (double)rounds;
}
