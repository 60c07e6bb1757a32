/*
 * Similarity transforms of the plane: a rotation, a scale and a translation, as matrices (2, 3).
 *
 * This is Umeyama's problem (1991) without reflections. In the plane, rotation and scale together are one complex factor, so
 * the least squares have a closed form.
 */
#include <math.h>

#include "image.h"

static void mean_of(const double *points, size_t count, double mean[2]) {
    mean[0] = mean[1] = 0.0;
    for (size_t k = 0; k < count; k++) {
        mean[0] += points[2 * k];
        mean[1] += points[2 * k + 1];
    }
    mean[0] /= (double)count;
    mean[1] /= (double)count;
}

int cascade_similarity(const double *points, const double *template, size_t count, double rounding, double matrix[6]) {
    double from[2], to[2], spread = 0.0, extent = 0.0, cosine = 0.0, sine = 0.0, farthest = 0.0;
    mean_of(points, count, from);
    mean_of(template, count, to);
    for (size_t k = 0; k < 2 * count; k += 2) {
        double x = points[k] - from[0], y = points[k + 1] - from[1], u = template[k] - to[0],
               v = template[k + 1] - to[1];
        spread += x * x + y * y;
        extent += u * u + v * v;
        cosine += x * u + y * v;
        sine += x * v - y * u;
        farthest = fmax(farthest, fmax(fabs(points[k]), fabs(points[k + 1])));
    }
    double least = rounding * farthest;
    /* written so that NaN and overflow fail it */
    if (!(spread > least * least && hypot(cosine, sine) > rounding * sqrt(spread * extent))) {
        for (size_t k = 0; k < 6; k++) {
            matrix[k] = NAN;
        }
        return 0;
    }
    cosine /= spread;
    sine /= spread;
    matrix[0] = matrix[4] = cosine;
    matrix[1] = -sine;
    matrix[3] = sine;
    matrix[2] = to[0] - (matrix[0] * from[0] + matrix[1] * from[1]);
    matrix[5] = to[1] - (matrix[3] * from[0] + matrix[4] * from[1]);
    return 1;
}

int cascade_can_align(const float *points, size_t count, const double matrix[6], double size) {
    /* the crop covers 1 / zoom pixels of the image: no face is smaller than a pixel or larger than every image */
    double zoom = hypot(matrix[0], matrix[3]) / size;
    if (!(zoom <= 1.0 && zoom * CASCADE_MAX_COORDINATE >= 1.0)) {
        return 0;
    }
    for (size_t k = 0; k < 2 * count; k++) {
        if (!(fabsf(points[k]) <= CASCADE_MAX_COORDINATE)) {
            return 0;
        }
    }
    return 1;
}

void cascade_inverse_transform(const double matrix[6], double x, double y, double out[2]) {
    double square = matrix[0] * matrix[0] + matrix[1] * matrix[1];
    x -= matrix[2];
    y -= matrix[5];
    out[0] = x * (matrix[0] / square) + y * (matrix[3] / square);
    out[1] = x * (matrix[1] / square) + y * (matrix[4] / square);
}
