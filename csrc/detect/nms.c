/* Greedy non-maximum suppression. */
#include <string.h>

#include "detect.h"

static float area(const float *box) {
    float width = box[2] - box[0], height = box[3] - box[1];
    return width > 0.0f && height > 0.0f ? width * height : 0.0f;
}

/* Merges two neighbouring runs, each from best to worst. */
static void merge(const float *scores, const int64_t *from, size_t middle, size_t end, int64_t *to) {
    size_t a = 0, b = middle;
    for (size_t i = 0; i < end; i++) {
        int second = a == middle || (b < end && scores[from[b]] > scores[from[a]]);
        to[i] = from[second ? b++ : a++];
    }
}

void cascade_argsort(const float *scores, size_t n, int64_t *order, int64_t *scratch) {
    int64_t *from = order, *to = scratch;
    for (size_t i = 0; i < n; i++) {
        order[i] = (int64_t)i;
    }
    for (size_t run = 1; run < n; run *= 2) {
        for (size_t first = 0; first < n; first += 2 * run) {
            size_t left = n - first, end = left < 2 * run ? left : 2 * run;
            merge(scores, from + first, end < run ? end : run, end, to + first);
        }
        int64_t *done = to;
        to = from;
        from = done;
    }
    if (from != order) {
        memcpy(order, from, n * sizeof *order);
    }
}

size_t cascade_nms(const cascade_kernels *kernels, const float *boxes, const int64_t *order, size_t n, float threshold,
                   int mode, int64_t *keep, float *workspace) {
    /* from best to worst, with one array per coordinate: the loop over the rest is then plain vector arithmetic */
    float *sorted = workspace, *alive = workspace + 5 * n;
    for (size_t i = 0; i < n; i++) {
        const float *box = boxes + 4 * order[i];
        for (size_t k = 0; k < 4; k++) {
            sorted[k * n + i] = box[k];
        }
        sorted[4 * n + i] = area(box);
        alive[i] = 1.0f;
    }
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (alive[i] != 0.0f) {
            const float best[5] = {sorted[i], sorted[n + i], sorted[2 * n + i], sorted[3 * n + i], sorted[4 * n + i]};
            keep[kept++] = order[i];
            kernels->suppress(best, sorted, n, i + 1, threshold, mode == CASCADE_NMS_MIN, alive);
        }
    }
    return kept;
}
