/*
 * Greedy non-maximum suppression, in time nearly linear in the number of boxes.
 *
 * Boxes lie in grids of cells, one grid for each class of sizes, so that a box is compared with those near it alone. Which
 * boxes are kept does not depend on the grids: they only leave out pairs that cannot suppress each other.
 */
#include <math.h>
#include <string.h>

#include "detect.h"
#include "workspace.h"

/* Up to so many boxes, comparing all of them is faster than laying out grids. */
#define FEW_BOXES 512
/* Classes by the longer side, in powers of two: a box is at most 2 * CASCADE_MAX_COORDINATE wide. */
#define SIZE_CLASSES 20
/* Added to distances before they choose cells (pixels): more than any rounding of float32 coordinates. */
#define SLACK 1.0f
/* Areas are compared with this margin, for the same reason. */
#define AREA_MARGIN 0.999f

/* The boxes of one class of sizes: a grid of cells by their upper left corners. */
typedef struct {
    size_t count;
    float left, top, right, bottom; /* bounds of the upper left corners */
    float width, height;            /* the largest */
    float least_area, most_area;
    float side; /* of a cell, in pixels */
    size_t columns, rows;
    size_t first_cell;
} size_class;

/* What one suppression works with. The boxes come cell after cell, one array per coordinate and one of areas: the loop over
 * neighbouring cells is then plain vector arithmetic. */
typedef struct {
    const cascade_kernels *kernels;
    float *columns; /* (5, n) */
    float *alive;   /* 1 or 0 */
    size_t n;
    float threshold;
    int of_smaller;
    cascade_poll poll;
    size_t work; /* since the last poll */
    size_class classes[SIZE_CLASSES];
    uint32_t *position_of; /* by rank */
    uint32_t *cell_ends;   /* the position after the last box of each cell */
} suppression;

/* ---- order ----------------------------------------------------------------------------------------------- */

/* A number whose order among others is that of the scores from best to worst, then that of the indices. */
static int64_t sort_key(float score, uint32_t index) {
    float value = score + 0.0f; /* -0 equals 0 */
    int32_t bits;
    memcpy(&bits, &value, sizeof bits);
    bits = bits < 0 ? bits ^ INT32_MAX : bits; /* in the order of the floats now */
    return (int64_t)(((uint64_t)(uint32_t)~bits << 32) | index);
}

/* Merges two neighbouring runs. */
static void merge(const int64_t *from, size_t middle, size_t end, int64_t *to) {
    size_t a = 0, b = middle;
    for (size_t i = 0; i < end; i++) {
        int second = a == middle || (b < end && from[b] < from[a]);
        to[i] = from[second ? b++ : a++];
    }
}

int cascade_argsort(const float *scores, size_t n, int64_t *order, int64_t *scratch, cascade_poll poll) {
    int64_t *from = order, *to = scratch;
    size_t work = 0;
    for (size_t i = 0; i < n; i++) {
        order[i] = sort_key(scores[i], (uint32_t)i);
    }
    for (size_t run = 1; run < n; run *= 2) {
        for (size_t first = 0; first < n; first += 2 * run) {
            size_t left = n - first, end = left < 2 * run ? left : 2 * run;
            merge(from + first, end < run ? end : run, end, to + first);
            if (!cascade_go_on(poll, &work, end)) {
                return 0;
            }
        }
        int64_t *done = to;
        to = from;
        from = done;
    }
    for (size_t i = 0; i < n; i++) {
        order[i] = (int64_t)(uint32_t)from[i];
    }
    return 1;
}

/* ---- grids ----------------------------------------------------------------------------------------------- */

static float area(const float *box) {
    float width = box[2] - box[0], height = box[3] - box[1];
    return width > 0.0f && height > 0.0f ? width * height : 0.0f;
}

static float larger(float a, float b) { return a > b ? a : b; }

static float lesser(float a, float b) { return a < b ? a : b; }

static size_t class_of(const float *box) {
    int exponent;
    float side = larger(box[2] - box[0], box[3] - box[1]);
    if (!(side >= 1.0f)) {
        return 0;
    }
    frexpf(side, &exponent);
    return exponent > SIZE_CLASSES ? SIZE_CLASSES - 1 : (size_t)exponent - 1;
}

static void add_to_class(size_class *class, const float *box) {
    float own = area(box);
    if (class->count++ == 0) {
        class->left = class->right = box[0];
        class->top = class->bottom = box[1];
        class->least_area = own;
    }
    class->left = lesser(class->left, box[0]);
    class->right = larger(class->right, box[0]);
    class->top = lesser(class->top, box[1]);
    class->bottom = larger(class->bottom, box[1]);
    class->width = larger(class->width, box[2] - box[0]);
    class->height = larger(class->height, box[3] - box[1]);
    class->least_area = lesser(class->least_area, own);
    class->most_area = larger(class->most_area, own);
}

/* The cells of n boxes in all classes, at most; and the end of the last one. */
static size_t most_cells(size_t n) { return 4 * n + SIZE_CLASSES; }

/* Chooses cells as large as the boxes, or larger where the boxes lie far apart. Returns their number, at most four per box
 * and one more. */
static size_t divide_into_cells(size_class *class, size_t size, size_t first_cell) {
    float width = class->right - class->left, height = class->bottom - class->top, count = (float)class->count;
    float side = larger(ldexpf(1.0f, (int)size + 1), larger(width, height) / count);
    class->side = larger(side, sqrtf(width / count) * sqrtf(height));
    class->columns = (size_t)(width / class->side) + 1;
    class->rows = (size_t)(height / class->side) + 1;
    class->first_cell = first_cell;
    return class->columns * class->rows;
}

/* The cell along one axis, the same or a later one for a larger distance. */
static size_t cell_along(float distance, float side, size_t cells) {
    float cell = distance / side;
    return cell > 0.0f ? cell < (float)cells ? (size_t)cell : cells - 1 : 0;
}

static size_t cell_of(const size_class *class, const float *box) {
    return class->first_cell + cell_along(box[1] - class->top, class->side, class->rows) * class->columns +
           cell_along(box[0] - class->left, class->side, class->columns);
}

static void place(suppression *all, const float *box, size_t rank, size_t position) {
    for (size_t k = 0; k < 4; k++) {
        all->columns[k * all->n + position] = box[k];
    }
    all->columns[4 * all->n + position] = area(box);
    all->alive[position] = 1.0f;
    all->position_of[rank] = (uint32_t)position;
}

/* Sorts the boxes into cells by counting. Returns 0 if stopped. */
static int fill_cells(suppression *all, const float *boxes, const int64_t *order) {
    size_t cells = 0;
    for (size_t i = 0; i < all->n; i++) {
        const float *box = boxes + 4 * order[i];
        add_to_class(&all->classes[class_of(box)], box);
    }
    for (size_t size = 0; size < SIZE_CLASSES; size++) {
        if (all->classes[size].count > 0) {
            cells += divide_into_cells(&all->classes[size], size, cells);
        }
    }
    memset(all->cell_ends, 0, cells * sizeof *all->cell_ends);
    for (size_t i = 0; i < all->n; i++) {
        const float *box = boxes + 4 * order[i];
        all->cell_ends[cell_of(&all->classes[class_of(box)], box)]++;
    }
    uint32_t position = 0;
    for (size_t i = 0; i < cells; i++) {
        uint32_t count = all->cell_ends[i];
        all->cell_ends[i] = position; /* its first box, until all are placed */
        position += count;
    }
    for (size_t i = 0; i < all->n; i++) {
        const float *box = boxes + 4 * order[i];
        place(all, box, i, all->cell_ends[cell_of(&all->classes[class_of(box)], box)]++);
        if (!cascade_go_on(all->poll, &all->work, 8)) {
            return 0;
        }
    }
    return 1;
}

/* ---- suppression ----------------------------------------------------------------------------------------- */

/* Whether no box of the class can overlap by more than the threshold: the intersection is at most the smaller area, and the
 * union at least the larger one. */
static int too_different(const suppression *all, const size_class *class, float best_area) {
    float share = AREA_MARGIN * all->threshold;
    return !all->of_smaller && (class->most_area < share * best_area || best_area < share * class->least_area);
}

/* Suppresses the boxes of a class that the best one covers. Returns how many it was compared with. */
static size_t suppress_class(suppression *all, const size_class *class, const float best[5]) {
    size_t from_row = cell_along(best[1] - class->top - class->height - SLACK, class->side, class->rows);
    size_t to_row = cell_along(best[3] - class->top, class->side, class->rows);
    size_t from = cell_along(best[0] - class->left - class->width - SLACK, class->side, class->columns);
    size_t to = cell_along(best[2] - class->left, class->side, class->columns), compared = 0;
    for (size_t row = from_row; row <= to_row; row++) {
        size_t cell = class->first_cell + row * class->columns;
        size_t first = cell + from > 0 ? all->cell_ends[cell + from - 1] : 0, end = all->cell_ends[cell + to];
        if (first < end) {
            all->kernels->suppress(best, all->columns, all->n, first, end, all->threshold, all->of_smaller, all->alive);
        }
        compared += end - first + 8;
    }
    return compared;
}

static size_t suppress_by_cells(suppression *all, const int64_t *order, int64_t *keep) {
    size_t kept = 0, n = all->n;
    const float *columns = all->columns;
    for (size_t i = 0; i < n; i++) {
        size_t position = all->position_of[i], compared = 1;
        if (all->alive[position] != 0.0f) {
            float best[5];
            for (size_t k = 0; k < 5; k++) {
                best[k] = columns[k * n + position];
            }
            keep[kept++] = order[i];
            for (size_t size = 0; size < SIZE_CLASSES; size++) {
                const size_class *class = &all->classes[size];
                if (class->count > 0 && !too_different(all, class, best[4])) {
                    compared += suppress_class(all, class, best);
                }
            }
        }
        if (!cascade_go_on(all->poll, &all->work, compared)) {
            return CASCADE_STOPPED;
        }
    }
    return kept;
}

/* Compares each kept box with all that come after it. */
static size_t suppress_by_rank(suppression *all, const float *boxes, const int64_t *order, int64_t *keep) {
    size_t kept = 0, n = all->n;
    const float *columns = all->columns;
    for (size_t i = 0; i < n; i++) {
        place(all, boxes + 4 * order[i], i, i);
    }
    for (size_t i = 0; i < n; i++) {
        if (all->alive[i] != 0.0f) {
            const float best[5] = {columns[i], columns[n + i], columns[2 * n + i], columns[3 * n + i], columns[4 * n + i]};
            keep[kept++] = order[i];
            all->kernels->suppress(best, columns, n, i + 1, n, all->threshold, all->of_smaller, all->alive);
        }
        if (!cascade_go_on(all->poll, &all->work, n - i)) {
            return CASCADE_STOPPED;
        }
    }
    return kept;
}

size_t cascade_nms_workspace(size_t n) {
    size_t boxes, cells;
    if (n > CASCADE_MAX_BOXES || !cascade_product(&boxes, n, 6, sizeof(float)) ||
        !cascade_product(&cells, most_cells(n) + n, sizeof(uint32_t), 1)) {
        return 0;
    }
    return boxes + cells;
}

size_t cascade_nms(const cascade_kernels *kernels, const float *boxes, const int64_t *order, size_t n, float threshold,
                   int mode, int64_t *keep, void *workspace, cascade_poll poll) {
    suppression all = {.kernels = kernels, .n = n, .threshold = threshold, .of_smaller = mode == CASCADE_NMS_MIN};
    all.poll = poll;
    all.columns = workspace;
    all.alive = all.columns + 5 * n;
    all.position_of = (uint32_t *)(all.alive + n);
    all.cell_ends = all.position_of + n;
    /* below 0, boxes that lie apart suppress each other as well */
    if (n <= FEW_BOXES || !(threshold >= 0.0f)) {
        return suppress_by_rank(&all, boxes, order, keep);
    }
    return fill_cells(&all, boxes, order) ? suppress_by_cells(&all, order, keep) : CASCADE_STOPPED;
}
