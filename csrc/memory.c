/*
 * The memory of a workspace, in huge pages where the system gives them on request.
 *
 * A workspace is walked through from end to end for every image. In pages of 4 KiB a processor, a virtual one above all,
 * spends a good part of that time on looking up where they are.
 */
#include "cascade.h"

#include <stdlib.h>

#if defined(__linux__)
#include <string.h>
#include <sys/mman.h>
#define HUGE_PAGE ((size_t)2 << 20)
#endif

void *cascade_memory(size_t size) {
#if defined(__linux__)
    if (size >= HUGE_PAGE / 2 && size <= SIZE_MAX - HUGE_PAGE) {
        size_t rounded = (size + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
        void *memory = aligned_alloc(HUGE_PAGE, rounded);
        if (memory != NULL) {
            madvise(memory, rounded, MADV_HUGEPAGE); /* where there are none it changes nothing */
            memset(memory, 0, size);
        }
        return memory;
    }
#endif
    return calloc(size, 1);
}
