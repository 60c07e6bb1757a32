/* Boxes: the windows of a feature grid, box deltas, squares, expansion, and which boxes remain candidates. */
#include <math.h>
#include <string.h>

#include "detect.h"

void cascade_window_boxes(const float *found, size_t n, size_t pitch, const cascade_window_layout *layout,
                          const double scale[2], float *boxes) {
    for (size_t i = 0; i < n; i++, found += pitch, boxes += 4) {
        for (size_t axis = 0; axis < 2; axis++) {
            double corner = found[axis] * layout->stride + layout->margin;
            boxes[axis] = (float)(corner / scale[axis]);
            boxes[axis + 2] = (float)((corner + layout->window) / scale[axis]);
        }
    }
}

void cascade_framing_logits(const float *windows, size_t n, float width, float height, const cascade_framing *framing,
                            float *logits) {
    for (size_t i = 0; i < n; i++, windows += 4) {
        float side = windows[2] - windows[0];
        float across = fminf(windows[0], width - windows[2]), down = fminf(windows[1], height - windows[3]);
        int at_border = fminf(across, down) < side * framing->gap;
        logits[i] = side >= framing->close_up_side ? framing->close_up : at_border ? framing->at_border : 0.0f;
    }
}

void cascade_apply_box_deltas(float *boxes, const float *deltas, size_t n) {
    for (size_t i = 0; i < n; i++, boxes += 4, deltas += 4) {
        float width = boxes[2] - boxes[0], height = boxes[3] - boxes[1];
        boxes[0] += deltas[0] * width;
        boxes[1] += deltas[1] * height;
        boxes[2] += deltas[2] * width;
        boxes[3] += deltas[3] * height;
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

void cascade_expand(const float *boxes, size_t n, double context, double *expanded) {
    for (size_t i = 0; i < n; i++, boxes += 4, expanded += 4) {
        for (size_t axis = 0; axis < 2; axis++) {
            double low = boxes[axis], high = boxes[axis + 2];
            double centre = (low + high) / 2.0, half = (high - low) / 2.0 * context;
            expanded[axis] = centre - half;
            expanded[axis + 2] = centre + half;
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

void cascade_fuse_logits(const float *outputs, size_t pitch, size_t n, float share, float *logits) {
    for (size_t i = 0; i < n; i++, outputs += pitch) {
        logits[i] = (outputs[1] - outputs[0] + share * logits[i]) / (1.0f + share);
    }
}

void cascade_window_points(const float *window, const float *fractions, size_t count, float *points) {
    for (size_t k = 0; k < 2 * count; k++) {
        points[k] = window[k % 2] + fractions[k] * (window[k % 2 + 2] - window[k % 2]);
    }
}

/* Whether a box can go on to the next stage: extreme deltas can turn one inside out or move it far away. */
static int is_valid(const float *box) {
    for (size_t k = 0; k < 4; k++) {
        if (!(fabsf(box[k]) <= CASCADE_MAX_COORDINATE)) {
            return 0;
        }
    }
    return box[2] - box[0] >= CASCADE_MIN_BOX_SIDE && box[3] - box[1] >= CASCADE_MIN_BOX_SIDE;
}

size_t cascade_candidates(const float *windows, const float *deltas, const float *logits, size_t n, float threshold,
                          float *boxes, int64_t *kept) {
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        if (logits[i] >= threshold) {
            float *box = boxes + 4 * count;
            memcpy(box, windows + 4 * i, 4 * sizeof *box);
            cascade_apply_box_deltas(box, deltas + 4 * i, 1);
            kept[count] = (int64_t)i;
            count += is_valid(box) ? 1 : 0;
        }
    }
    return count;
}
