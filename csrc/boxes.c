/* Boxes: windows of a network's grid, regression, squares, widening, clipping, and which of them go on. */
#include <math.h>
#include <string.h>

#include "cascade.h"

void cascade_windows(const float *found, size_t n, size_t pitch, const cascade_lattice *lattice, const double scale[2],
                     float *boxes) {
    for (size_t i = 0; i < n; i++, found += pitch, boxes += 4) {
        for (size_t axis = 0; axis < 2; axis++) {
            double corner = found[axis] * lattice->stride + lattice->margin;
            boxes[axis] = (float)(corner / scale[axis]);
            boxes[axis + 2] = (float)((corner + lattice->window) / scale[axis]);
        }
    }
}

void cascade_calibrate(float *boxes, const float *offsets, size_t n) {
    for (size_t i = 0; i < n; i++, boxes += 4, offsets += 4) {
        float width = boxes[2] - boxes[0], height = boxes[3] - boxes[1];
        boxes[0] += offsets[0] * width;
        boxes[1] += offsets[1] * height;
        boxes[2] += offsets[2] * width;
        boxes[3] += offsets[3] * height;
    }
}

void cascade_square(float *boxes, size_t n) {
    for (size_t i = 0; i < n; i++, boxes += 4) {
        float x = 0.5f * (boxes[0] + boxes[2]), y = 0.5f * (boxes[1] + boxes[3]);
        float width = boxes[2] - boxes[0], height = boxes[3] - boxes[1];
        float half = 0.5f * (width > height ? width : height);
        boxes[0] = x - half;
        boxes[1] = y - half;
        boxes[2] = x + half;
        boxes[3] = y + half;
    }
}

void cascade_widen(const float *boxes, size_t n, double context, double *wide) {
    for (size_t i = 0; i < n; i++, boxes += 4, wide += 4) {
        for (size_t axis = 0; axis < 2; axis++) {
            double low = boxes[axis], high = boxes[axis + 2];
            double centre = (low + high) / 2.0, half = (high - low) / 2.0 * context;
            wide[axis] = centre - half;
            wide[axis + 2] = centre + half;
        }
    }
}

static float clamp(float value, float high) { return value < 0.0f ? 0.0f : value > high ? high : value; }

void cascade_clip(float *boxes, size_t n, float width, float height) {
    for (size_t i = 0; i < n; i++, boxes += 4) {
        boxes[0] = clamp(boxes[0], width);
        boxes[1] = clamp(boxes[1], height);
        boxes[2] = clamp(boxes[2], width);
        boxes[3] = clamp(boxes[3], height);
    }
}

void cascade_log_odds(const float *outputs, size_t pitch, size_t n, float share, float *logits) {
    for (size_t i = 0; i < n; i++, outputs += pitch) {
        logits[i] = (outputs[1] - outputs[0] + share * logits[i]) / (1.0f + share);
    }
}

void cascade_points(const float *window, const float *shares, size_t count, float *points) {
    for (size_t k = 0; k < 2 * count; k++) {
        points[k] = window[k % 2] + shares[k] * (window[k % 2 + 2] - window[k % 2]);
    }
}

/* Whether a box can be judged further: a wild regression may turn one inside out or throw it far away. */
static int is_box(const float *box) {
    for (size_t k = 0; k < 4; k++) {
        if (!(fabsf(box[k]) <= CASCADE_FARTHEST)) {
            return 0;
        }
    }
    return box[2] - box[0] >= CASCADE_SMALLEST_SIDE && box[3] - box[1] >= CASCADE_SMALLEST_SIDE;
}

size_t cascade_candidates(const float *windows, const float *offsets, const float *logits, size_t n, float threshold,
                          float *boxes, int64_t *kept) {
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        if (logits[i] >= threshold) {
            float *box = boxes + 4 * count;
            memcpy(box, windows + 4 * i, 4 * sizeof *box);
            cascade_calibrate(box, offsets + 4 * i, 1);
            kept[count] = (int64_t)i;
            count += is_box(box) ? 1 : 0;
        }
    }
    return count;
}
