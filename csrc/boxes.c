/* Bounding-box calibration: regression, squaring and clipping. */
#include "cascade.h"

void cascade_calibrate(float *boxes, const float *offsets, size_t n, int square) {
    for (size_t i = 0; i < n; i++, boxes += 4, offsets += 4) {
        float width = boxes[2] - boxes[0], height = boxes[3] - boxes[1];
        boxes[0] += offsets[0] * width;
        boxes[1] += offsets[1] * height;
        boxes[2] += offsets[2] * width;
        boxes[3] += offsets[3] * height;
        if (square) {
            float x = 0.5f * (boxes[0] + boxes[2]), y = 0.5f * (boxes[1] + boxes[3]);
            width = boxes[2] - boxes[0];
            height = boxes[3] - boxes[1];
            float half = 0.5f * (width > height ? width : height);
            boxes[0] = x - half;
            boxes[1] = y - half;
            boxes[2] = x + half;
            boxes[3] = y + half;
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
