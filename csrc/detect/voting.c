/* Box voting: a kept box becomes the mean of all boxes that overlap it, as each of them errs in a way of its own. */
#include <math.h>

#include "detect.h"

/* Boxes looked at between two polls: about a millisecond. */
#define POLL_INTERVAL ((size_t)1 << 19)

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

/* The mean of all boxes that overlap one enough, weighted by overlap and probability; without any weight the box itself. */
static void vote(const float *boxes, const float *logits, size_t n, const float *box, float least, float *voted) {
    double sums[4] = {0.0, 0.0, 0.0, 0.0}, total = 0.0;
    for (size_t i = 0; i < n; i++, boxes += 4) {
        double overlap = overlap_of(box, boxes);
        if (overlap >= least) {
            double weight = overlap / (1.0 + exp(-(double)logits[i]));
            for (size_t k = 0; k < 4; k++) {
                sums[k] += weight * boxes[k];
            }
            total += weight;
        }
    }
    for (size_t k = 0; k < 4; k++) {
        voted[k] = total > 0.0 ? (float)(sums[k] / total) : box[k];
    }
}

int cascade_vote(const float *boxes, const float *logits, size_t n, const int64_t *kept, size_t count, float least,
                 float *voted, cascade_poll poll) {
    size_t work = 0;
    for (size_t i = 0; i < count; i++, voted += 4) {
        vote(boxes, logits, n, boxes + 4 * kept[i], least, voted);
        work += n;
        if (work >= POLL_INTERVAL) {
            work = 0;
            if (poll != NULL && poll() != 0) {
                return 0;
            }
        }
    }
    return 1;
}
