/* Workspaces: sizes that must not overflow. */
#ifndef CASCADE_WORKSPACE_H
#define CASCADE_WORKSPACE_H

#include <stddef.h>
#include <stdint.h>

/* The largest workspace: more bytes than any sane image needs, and so few that sizes can be added without an overflow. */
#define CASCADE_MAX_WORKSPACE ((size_t)(SIZE_MAX > UINT32_MAX ? (uint64_t)1 << 40 : SIZE_MAX / 4))

/* Rounds a number of bytes up to whole cache lines. */
static inline size_t cascade_cache_lines(size_t bytes) { return (bytes + 63) / 64 * 64; }

static inline size_t cascade_max(size_t a, size_t b) { return a > b ? a : b; }

/* Computes a * b * c. Returns 0 if that comes near to an overflow. */
static inline int cascade_product(size_t *total, size_t a, size_t b, size_t c) {
    if (a && b && c && (a > SIZE_MAX / 64 / b || a * b > SIZE_MAX / 64 / c)) {
        return 0;
    }
    *total = a * b * c;
    return 1;
}

#endif
