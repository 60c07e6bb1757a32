/* Chance, the same in every run of a driver, and pixels of it. The driver brings `exactly`: memory of that many bytes. */
#ifndef RANDOM_NUMBERS_H
#define RANDOM_NUMBERS_H

#include <stddef.h>
#include <stdint.h>

static uint64_t state = 88172645463325252u;

/* Below `below`; xorshift (Marsaglia 2003). */
static uint64_t chance(uint64_t below) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % below;
}

static void *exactly(size_t bytes);

static uint8_t *pixels(size_t count) {
    uint8_t *bytes = exactly(count);
    for (size_t i = 0; i < count; i++) {
        bytes[i] = (uint8_t)chance(256);
    }
    return bytes;
}

#endif
