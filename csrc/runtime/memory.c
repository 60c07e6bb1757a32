/*
 * Memory of workspaces, in huge pages where the system gives them on request.
 *
 * Every image walks through a workspace from end to end. With pages of 4 KiB a processor, above all a virtual one, spends a
 * good part of that time on address translation.
 */
#include "workspace.h"

#include <stdlib.h>

#if defined(__linux__)
#include <string.h>
#include <sys/mman.h>
#define HUGE_PAGE ((size_t)2 << 20)
#endif

void *cascade_alloc_zeroed(size_t size) {
#if defined(__linux__)
    if (size >= HUGE_PAGE / 2 && size <= SIZE_MAX - HUGE_PAGE) {
        size_t rounded = (size + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
        void *memory = aligned_alloc(HUGE_PAGE, rounded);
        if (memory != NULL) {
            madvise(memory, rounded, MADV_HUGEPAGE); /* only a hint: without huge pages it has no effect */
            memset(memory, 0, size);
        }
        return memory;
    }
#endif
    return calloc(size, 1);
}
