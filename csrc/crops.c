/* Crops of the levels of a pyramid, each cut just before a network judges it: one list of work for all of them. */
#include "cascade.h"

void cascade_cut(const cascade_kernels *kernels, const cascade_places *places, size_t i, uint8_t *out, void *workspace) {
    const cascade_image *level = places->levels + places->order[i];
    if (places->maps != NULL) {
        cascade_warp(kernels, level, places->maps + 6 * i, places->outside, out, places->size);
    } else {
        cascade_resample(kernels, level, places->edges + 4 * i, out, places->size, places->size, 0, places->size, workspace);
    }
}

/* Bytes of the network's maps, then of the crops of one group; 0 if the sizes overflow. */
static size_t maps_bytes(const cascade_judging *judging) {
    size_t floats = cascade_crops_workspace(judging->layers, judging->layer_count, judging->places->size,
                                            judging->kernels->lanes);
    return cascade_whole_lines(floats * sizeof(float));
}

static size_t crop_bytes(const cascade_judging *judging) {
    return judging->places->size * judging->places->size * CASCADE_CHANNELS;
}

size_t cascade_judging_workspace(const cascade_judging *judging) {
    size_t maps = maps_bytes(judging);
    size_t group = cascade_whole_lines(judging->kernels->lanes * crop_bytes(judging));
    return maps ? maps + group + judging->places->workspace : 0;
}

size_t cascade_judging_items(const cascade_judging *judging) {
    size_t rest = judging->count - judging->pieces * judging->piece;
    return judging->pieces + (rest + judging->last - 1) / judging->last;
}

void cascade_judging_work(void *context, size_t item, void *workspace) {
    const cascade_judging *judging = context;
    size_t lanes = judging->kernels->lanes, pieces = judging->pieces, bytes = crop_bytes(judging);
    size_t begin = item < pieces ? item * judging->piece : pieces * judging->piece + (item - pieces) * judging->last;
    size_t some, end = begin + (item < pieces ? judging->piece : judging->last);
    uint8_t *crops = (uint8_t *)workspace + maps_bytes(judging);
    end = end < judging->count ? end : judging->count;
    for (; begin < end; begin += some) {
        some = lanes < end - begin ? lanes : end - begin;
        for (size_t i = 0; i < some; i++) {
            cascade_cut(judging->kernels, judging->places, judging->first + begin + i, crops + i * bytes,
                        crops + cascade_whole_lines(lanes * bytes));
        }
        cascade_crops_run(judging->kernels, judging->layers, judging->layer_count, crops, some, judging->places->size,
                          judging->out + begin * judging->outputs, workspace);
    }
}
