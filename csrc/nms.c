/* Greedy non-maximum suppression, hard and soft. */
#include <math.h>
#include <string.h>

#include "cascade.h"

static float area(const float *box) {
    float width = box[2] - box[0], height = box[3] - box[1];
    return width > 0.0f && height > 0.0f ? width * height : 0.0f;
}

static float intersection(const float *a, const float *b) {
    float left = a[0] > b[0] ? a[0] : b[0], right = a[2] < b[2] ? a[2] : b[2];
    float top = a[1] > b[1] ? a[1] : b[1], bottom = a[3] < b[3] ? a[3] : b[3];
    return right > left && bottom > top ? (right - left) * (bottom - top) : 0.0f;
}

float cascade_iou(const float *a, const float *b) {
    float shared = intersection(a, b), whole = area(a) + area(b) - shared;
    return whole > 0.0f ? shared / whole : 0.0f;
}

/* Two neighbouring runs, each from best to worst, into one. */
static void merge(const float *scores, const int64_t *from, size_t middle, size_t end, int64_t *to) {
    size_t a = 0, b = middle;
    for (size_t i = 0; i < end; i++) {
        int second = a == middle || (b < end && scores[from[b]] > scores[from[a]]);
        to[i] = from[second ? b++ : a++];
    }
}

void cascade_order(const float *scores, size_t n, int64_t *order, int64_t *spare) {
    int64_t *from = order, *to = spare;
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
    /* the boxes from best to worst, one array a coordinate: the loop over the rest is then plain vector arithmetic */
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

size_t cascade_soft_nms(const float *boxes, float *scores, size_t n, float threshold, float sigma, float floor,
                        int64_t *keep, uint8_t *done) {
    size_t kept = 0;
    memset(done, 0, n);
    for (size_t round = 0; round < n; round++) {
        size_t best = n;
        for (size_t i = 0; i < n; i++) {
            if (!done[i] && (best == n || scores[i] > scores[best])) {
                best = i;
            }
        }
        if (best == n || scores[best] < floor) {
            break;
        }
        done[best] = 1;
        keep[kept++] = (int64_t)best;
        for (size_t i = 0; i < n; i++) {
            if (done[i]) {
                continue;
            }
            float iou = cascade_iou(boxes + 4 * best, boxes + 4 * i);
            if (sigma > 0.0f) {
                scores[i] *= expf(-iou * iou / sigma);
            } else if (iou > threshold) {
                scores[i] *= 1.0f - iou;
            }
        }
    }
    return kept;
}
