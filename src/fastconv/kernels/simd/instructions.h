#ifndef FASTCONV_INSTRUCTIONS_H
#define FASTCONV_INSTRUCTIONS_H

/* The instructions of networks of comparisons (network.h), X(name, targets, sources). A word each for the code and for
 * the columns that are computed beyond a block's, and one for each operand, the targets first: a slot, shifted by some
 * columns; the complement of a tap's number; or where results go: NETWORK_TARGET, and one less for the second row. */
#define INSTRUCTIONS(X)                                                                                       \
    X(LOWER, 1, 2) X(HIGHER, 1, 2) X(EXCHANGE, 2, 2) X(SORT, 3, 3) X(MEDIAN, 1, 3) X(LOWEST, 1, 3)            \
    X(HIGHEST, 1, 3) X(MERGE, 4, 4) X(CHOOSE, 1, 4) X(MEDIAN_OF_9, 1, 9) X(MEDIAN_OF_25, 1, 25) X(CONTINUE, 1, 0)
enum { MOST_OPERANDS = 26, SHIFT_BITS = 16, NETWORK_TARGET = 0x7fffffff };

#endif
