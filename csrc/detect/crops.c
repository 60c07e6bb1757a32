/* Crops of the levels of a pyramid, each cut just before a network classifies it. */
#include "detect.h"

void cascade_cut_crop(const cascade_kernels *kernels, const cascade_crop_set *set, size_t i, uint8_t *out,
                      void *workspace) {
    const cascade_image *level = set->levels + set->level_of[i];
    if (set->transforms != NULL) {
        cascade_warp(kernels, level, set->transforms + 6 * i, set->padding_value, out, set->size);
    } else {
        cascade_resample(kernels, level, set->boxes + 4 * i, out, set->size, set->size, 0, set->size, workspace);
    }
}

/* The workspace holds the network's feature maps, the crops of one group, then what cutting one needs. */
static size_t network_bytes(const cascade_classification *job) {
    return cascade_cache_lines(
        cascade_batch_workspace(job->layers, job->layer_count, job->set->size, job->kernels->lanes));
}

static size_t crop_bytes(const cascade_classification *job) {
    return job->set->size * job->set->size * CASCADE_CHANNELS;
}

static size_t group_bytes(const cascade_classification *job) {
    return cascade_cache_lines(job->kernels->lanes * crop_bytes(job));
}

size_t cascade_classification_workspace(const cascade_classification *job) {
    size_t network = network_bytes(job);
    return network ? network + group_bytes(job) + job->set->workspace : 0;
}

size_t cascade_classification_items(const cascade_classification *job) {
    size_t rest = job->count - job->chunks * job->chunk;
    return job->chunks + (rest + job->last_chunk - 1) / job->last_chunk;
}

void cascade_classify_chunk(void *context, size_t item, void *workspace) {
    const cascade_classification *job = context;
    size_t lanes = job->kernels->lanes, chunks = job->chunks, bytes = crop_bytes(job), n;
    size_t begin = item < chunks ? item * job->chunk : chunks * job->chunk + (item - chunks) * job->last_chunk;
    size_t end = begin + (item < chunks ? job->chunk : job->last_chunk);
    uint8_t *crops = (uint8_t *)workspace + network_bytes(job), *scratch = crops + group_bytes(job);
    end = end < job->count ? end : job->count;
    for (; begin < end; begin += n) {
        n = lanes < end - begin ? lanes : end - begin;
        for (size_t i = 0; i < n; i++) {
            cascade_cut_crop(job->kernels, job->set, job->first + begin + i, crops + i * bytes, scratch);
        }
        cascade_batch_forward(job->kernels, job->layers, job->layer_count, crops, n, job->set->size,
                              job->out + begin * job->outputs, workspace);
    }
}
