/* Random words that depend on nothing but a key and their position: Threefry-4x32 with 20 rounds (Salmon, Moraes, Dror and
 * Shaw, Parallel random numbers: as easy as 1, 2, 3, 2011). Any thread can begin anywhere, and all instruction sets give
 * the same words. Philox, which multiplies, took as long, and needs a product of each instruction set's own.
 */
#ifndef FASTCONV_THREEFRY_H
#define FASTCONV_THREEFRY_H

#include <stdint.h>

#include "isa.h"

/* Blocks that are computed side by side, and the words of these. */
#define BLOCKS_OF_WORDS 16
#define WORDS (4 * BLOCKS_OF_WORDS)

static inline uint32_t rotated(uint32_t x, int by) { return x << by | x >> (32 - by); }

/* Words `group` * WORDS and following of those that a key of 128 bits gives: the first words of 16 blocks, then their
 * second ones, and so on. */
static inline void threefry(const uint64_t key[2], uint64_t group, uint32_t words[WORDS])
{
    static const int by[8][2] = {{10, 26}, {11, 21}, {13, 27}, {23, 5}, {6, 20}, {17, 11}, {25, 10}, {18, 20}};
    uint32_t part[5] = {(uint32_t)key[0], (uint32_t)(key[0] >> 32), (uint32_t)key[1], (uint32_t)(key[1] >> 32)};
    part[4] = 0x1BD11BDA ^ part[0] ^ part[1] ^ part[2] ^ part[3];
    const uint64_t first = group * BLOCKS_OF_WORDS;
    INDEPENDENT
    for (int block = 0; block < BLOCKS_OF_WORDS; block++) {
        uint32_t x[4] = {(uint32_t)first + block + part[0], (uint32_t)(first >> 32) + part[1], part[2], part[3]};
        UNROLL
        for (int round = 0; round < 20; round++) {
            const int odd = round % 2 ? 3 : 1, other = 4 - odd;
            x[0] += x[odd];
            x[odd] = rotated(x[odd], by[round % 8][0]) ^ x[0];
            x[2] += x[other];
            x[other] = rotated(x[other], by[round % 8][1]) ^ x[2];
            if (round % 4 == 3) {
                const int added = round / 4 + 1;
                UNROLL
                for (int i = 0; i < 4; i++)
                    x[i] += part[(added + i) % 5];
                x[3] += added;
            }
        }
        UNROLL
        for (int i = 0; i < 4; i++)
            words[i * BLOCKS_OF_WORDS + block] = x[i];
    }
}

#endif
