/* Box voting: a kept box becomes the mean of all boxes that overlap it, as each of them errs in a way of its own. */
#include <math.h>

#include "detect.h"

/* Left edges are compared with this margin, in widths of a box: more than any rounding. */
#define SLACK 1e-3

typedef struct {
    const float *boxes; /* (n, 4), sorted by their left edges */
    size_t n;
    double least;
} voters;

static double area(const float *box) { return ((double)box[2] - box[0]) * ((double)box[3] - box[1]); }

/* Intersection over union. */
static double overlap_of(const float *a, const float *b) {
    double width = fmin(a[2], b[2]) - fmax(a[0], b[0]), height = fmin(a[3], b[3]) - fmax(a[1], b[1]);
    if (!(width > 0.0 && height > 0.0)) {
        return 0.0;
    }
    double shared = width * height;
    return shared / (area(a) + area(b) - shared);
}

/* The boxes [*first, *end) that may overlap one enough: they share at least that part of either width. */
static void find_near(const voters *all, const float *box, size_t *first, size_t *end) {
    double width = (double)box[2] - box[0], edges[2];
    edges[0] = box[0] + width * (all->least - 1.0 / all->least - SLACK);
    edges[1] = box[2] - width * (all->least - SLACK);
    for (size_t k = 0; k < 2; k++) {
        size_t low = 0, high = all->n;
        while (low < high) {
            size_t middle = low + (high - low) / 2;
            if (all->boxes[4 * middle] < edges[k]) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        *(k ? end : first) = low;
    }
    *end = *end > *first ? *end : *first;
}

/* The mean of the boxes that overlap one by what they overlap any kept one by at most, weighted by overlap and
 * probability, and the sum of the weights; without any weight the box itself. Returns how many were looked at. */
static size_t vote(const voters *all, const float *logits, const float *most, const float *box, float *voted,
                   float *votes) {
    double sums[4] = {0.0, 0.0, 0.0, 0.0}, total = 0.0;
    size_t first, end;
    find_near(all, box, &first, &end);
    for (size_t i = first; i < end; i++) {
        double overlap = overlap_of(box, all->boxes + 4 * i);
        if (overlap >= all->least && (float)overlap >= most[i]) {
            double weight = overlap / (1.0 + exp(-(double)logits[i]));
            for (size_t k = 0; k < 4; k++) {
                sums[k] += weight * all->boxes[4 * i + k];
            }
            total += weight;
        }
    }
    *votes = (float)total;
    for (size_t k = 0; k < 4; k++) {
        voted[k] = total > 0.0 ? (float)(sums[k] / total) : box[k];
    }
    return end - first;
}

/* Raises what the boxes overlap any kept one by. Returns how many were looked at. */
static size_t raise_most(const voters *all, const float *box, float *most) {
    size_t first, end;
    find_near(all, box, &first, &end);
    for (size_t i = first; i < end; i++) {
        most[i] = fmaxf(most[i], (float)overlap_of(box, all->boxes + 4 * i));
    }
    return end - first;
}

int cascade_vote(const float *boxes, const float *logits, size_t n, const float *kept, size_t count, float least,
                 float *most, float *voted, float *votes, cascade_poll poll) {
    voters all = {boxes, n, least};
    size_t work = 0;
    for (size_t i = 0; i < count; i++) {
        if (!cascade_go_on(poll, &work, raise_most(&all, kept + 4 * i, most))) {
            return 0;
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (!cascade_go_on(poll, &work, vote(&all, logits, most, kept + 4 * i, voted + 4 * i, votes + i))) {
            return 0;
        }
    }
    return 1;
}
