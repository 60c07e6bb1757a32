/*
 * Loops that several threads share. Every item of a loop runs once, and none is running when the loop ends. All that such loops
 * compute equals the results of a plain loop to the bit: pyramid levels and the detections in them, crops and their
 * classification, strips of an image, outputs of a graph. Workers are asleep at times and spinning at others.
 *
 * Memory is exactly what the core asks for, and new for every loop: the address sanitizer sees a thread that still works when
 * its loop is over, the thread sanitizer sees data races. This file's own counters are relaxed, since any stronger order would
 * hide what the core lacks.
 *
 *   threads [SEED [PERCENT]]   other cases for every seed; only some of them, for a short run
 */
#include "random_cases.h"
#include "threadpool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

enum { MOST_THREADS = 5, MOST_LEVELS = 5 };

/* ---- a pool and its threads ------------------------------------------------------------------------------ */

/* A binary semaphore for a worker to sleep on. Like a lock of Python's, it must not be posted twice without a wait. */
typedef struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int posted;
} semaphore;

typedef struct group group;

typedef struct {
    group *group;
    cascade_worker worker;
    semaphore semaphore;
    pthread_t thread;
    int64_t idle; /* microseconds without a loop before it sleeps */
} member;

/* The calling thread is the caller. */
struct group {
    cascade_pool pool;
    size_t threads;
    member members[MOST_THREADS - 1];
    void *memory[MOST_THREADS]; /* the caller's first */
    _Atomic(size_t) asleep;
};

static void post(semaphore *semaphore) {
    pthread_mutex_lock(&semaphore->mutex);
    CHECK(!semaphore->posted, "a worker is woken twice");
    semaphore->posted = 1;
    pthread_cond_signal(&semaphore->changed);
    pthread_mutex_unlock(&semaphore->mutex);
}

static void wait_for_post(semaphore *semaphore) {
    pthread_mutex_lock(&semaphore->mutex);
    while (!semaphore->posted) {
        pthread_cond_wait(&semaphore->changed, &semaphore->mutex);
    }
    semaphore->posted = 0;
    pthread_mutex_unlock(&semaphore->mutex);
}

static void *work(void *given) {
    member *self = given;
    cascade_pool *pool = &self->group->pool;
    while (!cascade_pool_closed(pool)) {
        cascade_worker_run(pool, &self->worker, self->idle);
        if (cascade_worker_may_sleep(pool, &self->worker)) {
            atomic_fetch_add_explicit(&self->group->asleep, 1, memory_order_relaxed);
            wait_for_post(&self->semaphore);
            atomic_fetch_sub_explicit(&self->group->asleep, 1, memory_order_relaxed);
        }
    }
    return NULL;
}

static void wake(group *group, size_t count) {
    for (size_t i = 0; i < count && i + 1 < group->threads; i++) {
        if (cascade_worker_needs_wake(&group->members[i].worker)) {
            post(&group->members[i].semaphore);
        }
    }
}

/* Idle workers spin for less than `idle` microseconds, some not at all. */
static group *start_group(size_t threads, uint64_t idle) {
    group *made = exactly(sizeof(group));
    memset(made, 0, sizeof(group));
    made->threads = threads;
    for (size_t i = 0; i + 1 < threads; i++) {
        member *member = made->members + i;
        member->group = made;
        member->idle = chance(3) ? (int64_t)chance(idle) : 0;
        CHECK(!pthread_mutex_init(&member->semaphore.mutex, NULL), "no mutex");
        CHECK(!pthread_cond_init(&member->semaphore.changed, NULL), "no condition");
        CHECK(!pthread_create(&member->thread, NULL, work, member), "no thread");
    }
    return made;
}

/* Waits for the workers of a closed pool. */
static void end_group(group *group) {
    for (size_t i = 0; i + 1 < group->threads; i++) {
        CHECK(!pthread_join(group->members[i].thread, NULL), "worker %zu", i);
        pthread_mutex_destroy(&group->members[i].semaphore.mutex);
        pthread_cond_destroy(&group->members[i].semaphore.changed);
    }
    free(group);
}

static void stop_group(group *group) {
    cascade_pool_close(&group->pool);
    wake(group, group->threads);
    end_group(group);
}

static void give_memory(group *group, size_t size) {
    for (size_t i = 0; i < group->threads; i++) {
        group->memory[i] = exactly(size);
        if (i) {
            group->members[i - 1].worker.workspace = group->memory[i];
        }
    }
}

static void take_memory(group *group) {
    for (size_t i = 0; i < group->threads; i++) {
        free(group->memory[i]);
    }
}

/* Runs a loop on all threads or, without a group, on this one. */
static void parallel_for(group *group, cascade_loop_body body, void *context, size_t count, size_t size) {
    if (group == NULL) {
        void *memory = exactly(size);
        for (size_t item = 0; item < count; item++) {
            body(context, item, memory);
        }
        free(memory);
        return;
    }
    give_memory(group, size);
    cascade_parallel_for_begin(&group->pool, body, context, count);
    wake(group, count ? count - 1 : 0);
    cascade_parallel_for_end(&group->pool, group->memory[0], NULL);
    take_memory(group);
}

/* ---- deadlocks ------------------------------------------------------------------------------------------- */

/* No case takes longer, however slow the machine (seconds). Windows has no alarm: there the caller's timeout ends the run. */
#define LONGEST_CASE 200
#if defined(_WIN32)
#define alarm(seconds) ((void)(seconds))
#else

static void on_alarm(int number) {
    static const char message[] = "deadlock, or a worker that nobody woke\n";
    (void)number;
    _exit(write(2, message, sizeof message - 1) > 0 ? 1 : 2);
}
#endif

/* ---- loops ----------------------------------------------------------------------------------------------- */

typedef struct {
    size_t number; /* pauses differ for every loop */
    size_t count;
    size_t meeting; /* this many items wait until all of them have begun: each needs a thread of its own */
    size_t behind;  /* an item waits until the one this far before it is done; 0: it does not wait */
    _Atomic(size_t) begun;
    _Atomic(size_t) running;
    _Atomic(int) *done;
    uint8_t *times;
} test_loop;

/* What a thread's memory holds. */
typedef struct {
    const char *owner;
    size_t next; /* the first item that may come */
    int busy;
} note;

static _Thread_local char mark; /* its address tells threads apart */

static void small_pause(uint64_t number) {
    struct timespec moment = {.tv_nsec = (long)(number >> 8) % 200000};
    volatile size_t turns = (number >> 8) % 2000;
    switch (number % 16) {
    case 0:
        nanosleep(&moment, NULL);
        break;
    case 1:
        sched_yield();
        break;
    case 2:
        while (turns) {
            turns--;
        }
    }
}

static void wait_in_loop(test_loop *loop, size_t item) {
    size_t rounds = 0;
    while (item < loop->meeting && atomic_load_explicit(&loop->begun, memory_order_relaxed) < loop->meeting) {
        cascade_backoff(&rounds);
    }
    while (loop->behind && item >= loop->behind &&
           !atomic_load_explicit(loop->done + item - loop->behind, memory_order_relaxed)) {
        cascade_backoff(&rounds);
    }
}

static void run_item(void *context, size_t item, void *workspace) {
    test_loop *loop = context;
    note *own = workspace;
    CHECK(item < loop->count, "item %zu of %zu", item, loop->count);
    CHECK(!own->busy && (own->owner == NULL || own->owner == &mark), "item %zu: another thread's memory", item);
    CHECK(item >= own->next, "item %zu after %zu", item, own->next - 1);
    *own = (note){&mark, item + 1, 1};
    atomic_fetch_add_explicit(&loop->running, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&loop->begun, 1, memory_order_relaxed);
    wait_in_loop(loop, item);
    small_pause(mixed(loop->number * 1000 + item));
    loop->times[item]++;
    atomic_store_explicit(loop->done + item, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&loop->running, 1, memory_order_relaxed);
    own->busy = 0;
}

static void make_loop(test_loop *loop, size_t number, size_t count, size_t meeting) {
    *loop = (test_loop){.number = number, .count = count, .meeting = meeting, .behind = chance(2) ? chance(8) : 0};
    loop->done = exactly(count * sizeof(*loop->done));
    loop->times = exactly(count);
    for (size_t i = 0; i < count; i++) {
        atomic_init(loop->done + i, 0);
        loop->times[i] = 0;
    }
}

static void check_loop(test_loop *loop) {
    CHECK(atomic_load_explicit(&loop->running, memory_order_relaxed) == 0, "an item is still running");
    for (size_t i = 0; i < loop->count; i++) {
        CHECK(loop->times[i] == 1, "item %zu of %zu ran %d times", i, loop->count, loop->times[i]);
    }
    free(loop->done);
    free(loop->times);
}

/* `closing`: the pool is closed while the loop is open. */
static void try_loop(group *group, size_t number, size_t count, size_t meeting, int closing) {
    test_loop loop;
    alarm(LONGEST_CASE);
    make_loop(&loop, number, count, meeting);
    give_memory(group, sizeof(note));
    for (size_t i = 0; i < group->threads; i++) {
        *(note *)group->memory[i] = (note){NULL, 0, 0};
    }
    cascade_parallel_for_begin(&group->pool, run_item, &loop, count);
    if (closing) {
        cascade_pool_close(&group->pool);
    }
    wake(group, closing ? group->threads : count ? count - 1 : 0);
    cascade_parallel_for_end(&group->pool, group->memory[0], NULL);
    take_memory(group);
    check_loop(&loop);
}

/* What the caller does before the next loop. */
static void between_loops(group *group) {
    struct timespec moment = {.tv_nsec = (long)chance(1000000)}, tick = {.tv_nsec = 100000};
    switch (chance(8)) {
    case 0:
        nanosleep(&moment, NULL);
        break;
    case 1:
        while (atomic_load_explicit(&group->asleep, memory_order_relaxed) + 1 < group->threads) {
            nanosleep(&tick, NULL);
        }
        break;
    case 2:
        wake(group, group->threads); /* for a loop that is to come */
    }
}

/* Loops of 0, 1, 2 … items, then of any number; in every third one each thread gets an item. */
static void try_loops(size_t threads) {
    group *group = start_group(threads, 2000);
    for (size_t i = 0; i < some(300); i++) {
        size_t count = i < 20 ? i : chance(201);
        between_loops(group);
        try_loop(group, i, count, count >= threads && i % 3 == 0 ? threads : 0, 0);
    }
    between_loops(group);
    if (chance(2)) {
        stop_group(group);
        return;
    }
    try_loop(group, 1000, chance(50), 0, 1);
    try_loop(group, 1001, chance(50), 0, 0); /* the caller alone */
    end_group(group);
}

static void count_item(void *context, size_t item, void *workspace) {
    size_t *times = context;
    *(size_t *)workspace = item;
    times[item]++;
}

/* Tiny loops without a pause: workers join a loop as it ends, and go to sleep as the next begins. */
static void try_quick_loops(size_t threads) {
    size_t times[MOST_THREADS + 1] = {0}, expected[MOST_THREADS + 1] = {0};
    group *group = start_group(threads, 20);
    give_memory(group, sizeof(size_t));
    alarm(LONGEST_CASE);
    for (size_t i = 0; i < some(50000); i++) {
        size_t count = chance(threads + 2);
        cascade_parallel_for_begin(&group->pool, count_item, times, count);
        wake(group, group->threads);
        cascade_parallel_for_end(&group->pool, group->memory[0], NULL);
        for (size_t item = 0; item < count; item++) {
            expected[item]++;
        }
        CHECK(!memcmp(times, expected, sizeof times), "loop %zu of %zu items", i, count);
    }
    take_memory(group);
    stop_group(group);
}

/* ---- dense scan ------------------------------------------------------------------------------------------ */

/* What one thread computes of a level: its pixels, the windows to scan and their detections. */
typedef struct {
    uint8_t *pixels;
    size_t width, height;
    cascade_feature_grid grid;
    cascade_tile tile;
    float *map;     /* (rows, outputs, columns) */
    float threshold;
    float *windows; /* (count, outputs + 1) */
    size_t count;
} expected_level;

/* A network, and levels, each resampled from the one before, the first from a source. */
typedef struct {
    const cascade_kernels *kernels;
    network_shape network;
    cascade_layer layers[16];
    expected_level source, levels[MOST_LEVELS];
    size_t level_count;
    size_t total; /* detections */
} pyramid;

static size_t products(const network_shape *network) {
    size_t sum = 0, channels = 3;
    for (size_t i = 0; i < network->count; i++) {
        shape layer = network->layers[i];
        sum += channels * layer.kernel * layer.kernel * layer.channels;
        channels = layer.channels ? layer.channels : channels;
    }
    return sum;
}

/* A network that is quick to run, with background and face among its outputs. */
static network_shape quick_network(const cascade_kernels *level) {
    network_shape network;
    do {
        network = chance(2) && CHECKS_INT8(level) ? random_int8_network() : random_network();
    } while (network.size > 32 || products(&network) > 8000 || network.layers[network.count - 1].channels < 2);
    return network;
}

static uint8_t *resampled_whole(const cascade_kernels *level, const uint8_t *from, size_t from_width,
                                size_t from_height, size_t width, size_t height) {
    const double all[4] = {0, 0, (double)from_width, (double)from_height};
    const cascade_image image = {from, from_width, from_height, 0, from_height};
    void *workspace = exactly(cascade_resample_workspace(all[2], all[3], from_width, width, height));
    uint8_t *out = exactly(width * height * 3);
    cascade_resample(level, &image, all, out, width, height, 0, height, workspace);
    free(workspace);
    return out;
}

/* Runs the network over some rows of a level's grid, often all of them. */
static void compute_level(const pyramid *pyramid, expected_level *level) {
    size_t count = pyramid->network.count;
    cascade_feature_grid *grid = &level->grid;
    CHECK(
        cascade_feature_grid_plan(grid, pyramid->layers, count, pyramid->network.padding, level->width, level->height),
        "grid");
    if (grid->rows == 0 || grid->columns == 0) {
        return;
    }
    level->tile = (cascade_tile){chance(3) ? 0 : chance(grid->rows), 0, 0, grid->columns};
    level->tile.rows = chance(3) ? grid->rows - level->tile.top : 1 + chance(grid->rows - level->tile.top);
    level->map = tile_outputs(pyramid->kernels, grid, pyramid->layers, count, level->pixels, level->width,
                              level->height, &level->tile);
}

/* Output `k` of a window. */
static float output(const expected_level *level, size_t row, size_t column, size_t k) {
    return level->map[(row * level->grid.outputs + k) * level->tile.columns + column];
}

static float difference(const expected_level *level, size_t row, size_t column) {
    return output(level, row, column, 1) - output(level, row, column, 0);
}

/* A threshold that all windows reach, none, or some of them. */
static float any_threshold(const pyramid *pyramid) {
    const expected_level *level = pyramid->levels + chance(pyramid->level_count);
    size_t kind = chance(8);
    if (kind < 2 || level->tile.rows == 0) {
        return kind ? INFINITY : -INFINITY;
    }
    return difference(level, chance(level->tile.rows), chance(level->tile.columns));
}

static void find_detections(expected_level *level) {
    size_t width = level->grid.outputs + 1;
    level->windows = exactly(level->tile.rows * level->tile.columns * width * sizeof(float));
    for (size_t y = 0; y < level->tile.rows; y++) {
        for (size_t x = 0; x < level->tile.columns; x++) {
            if (difference(level, y, x) >= level->threshold) {
                float *window = level->windows + level->count++ * width;
                window[0] = (float)x;
                window[1] = (float)(level->tile.top + y);
                window[2] = difference(level, y, x);
                for (size_t k = 2; k < level->grid.outputs; k++) {
                    window[k + 1] = output(level, y, x, k);
                }
            }
        }
    }
}

static void make_pyramid(pyramid *made, const cascade_kernels *kernels) {
    *made = (pyramid){.kernels = kernels, .network = quick_network(kernels), .level_count = 1 + chance(MOST_LEVELS)};
    build(made->layers, &made->network, kernels->lanes);
    made->source = (expected_level){.width = 1 + chance(90), .height = 1 + chance(90)};
    made->source.pixels = pixels(made->source.width * made->source.height * 3);
    for (size_t k = 0; k < made->level_count; k++) {
        const expected_level *from = k ? made->levels + k - 1 : &made->source;
        expected_level *level = made->levels + k;
        level->width = 1 + (size_t)((double)from->width * between(0.4, 1));
        level->height = 1 + (size_t)((double)from->height * between(0.4, 1));
        level->pixels = resampled_whole(kernels, from->pixels, from->width, from->height, level->width, level->height);
        compute_level(made, level);
    }
    for (size_t k = 0; k < made->level_count; k++) {
        made->levels[k].threshold = any_threshold(made);
        find_detections(made->levels + k);
        made->total += made->levels[k].count;
    }
}

static void unmake_pyramid(pyramid *made) {
    free(made->source.pixels);
    for (size_t k = 0; k < made->level_count; k++) {
        free(made->levels[k].pixels);
        free(made->levels[k].map);
        free(made->levels[k].windows);
    }
    demolish(made->layers, made->network.count);
}

/* A level as a scan gets it: yet to be resampled, all of it because the next one is resampled from it, or the rows that its
 * windows cover. */
static cascade_scan_level given_level(const expected_level *level, int resampled, int whole) {
    size_t width = level->width, height = level->height;
    cascade_scan_level given = {.grid = level->grid,
                                .first = level->tile.top,
                                .end = level->tile.top + level->tile.rows,
                                .threshold = level->threshold};
    if (resampled) {
        given.target = exactly(width * height * 3);
        given.image = (cascade_image){given.target, width, height, 0, height};
    } else if (whole || level->tile.rows == 0) {
        given.image = strip_of(level->pixels, width, height, 0, height);
    } else {
        given.image = covered_rows(&level->grid, level->pixels, width, height, &level->tile);
    }
    if (level->tile.rows) {
        given.tile_rows = 1 + chance(level->tile.rows + 2);
        given.tile_columns = 1 + chance(level->tile.columns + 2);
    }
    return given;
}

static size_t make_tiles(cascade_dense_scan *scan) {
    size_t size = 1, n = 0;
    for (size_t k = 0; k < scan->level_count; k++) {
        size_t needed = cascade_dense_scan_workspace(scan, k);
        CHECK(needed, "level %zu", k);
        size = needed > size ? needed : size;
        scan->tile_count += cascade_dense_scan_tiles(scan, k, NULL);
    }
    scan->tiles = exactly(scan->tile_count * sizeof(cascade_scan_tile));
    for (size_t k = 0; k < scan->level_count; k++) {
        n += cascade_dense_scan_tiles(scan, k, scan->tiles + n);
    }
    CHECK(n == scan->tile_count, "%zu tiles of %zu", n, scan->tile_count);
    return size;
}

/* Divides the tiles of a level in two parts between any of its rows of tiles. */
static size_t cut_between_rows(const cascade_dense_scan *scan, size_t first, size_t end) {
    size_t cut = first + chance(end - first + 1);
    while (cut < end && cut > first && scan->tiles[cut].tile.top == scan->tiles[cut - 1].tile.top) {
        cut++;
    }
    return cut;
}

static void check_detections(const cascade_dense_scan *scan, const pyramid *pyramid) {
    for (size_t k = 0, tile = 0, end; k < pyramid->level_count; k++, tile = end) {
        const expected_level *level = pyramid->levels + k;
        size_t count = 0, width = level->grid.outputs + 1;
        for (end = tile; end < scan->tile_count && scan->tiles[end].level == k; end++) {
            count += scan->tiles[end].count;
        }
        CHECK(count == level->count, "%zu windows of level %zu, not %zu", count, k, level->count);
        float *found = exactly(count * width * sizeof(float));
        size_t cut = cut_between_rows(scan, tile, end);
        size_t n = cascade_dense_scan_gather(scan, scan->tiles + tile, cut - tile, found);
        n += cascade_dense_scan_gather(scan, scan->tiles + cut, end - cut, found + n * width);
        CHECK(n == count, "%zu windows of %zu", n, count);
        CHECK(!memcmp(found, level->windows, count * width * sizeof(float)), "%s at %s: windows of level %zu",
              pyramid->network.name, pyramid->kernels->name, k);
        CHECK(scan->levels[k].target == NULL ||
                  !memcmp(scan->levels[k].target, level->pixels, level->width * level->height * 3),
              "pixels of level %zu", k);
        free(found);
    }
}

/* As a DenseScan of dense_scan.pxi does, with any capacity at first. */
static void run_scan(group *group, cascade_dense_scan *scan, const pyramid *pyramid) {
    size_t size = make_tiles(scan), width = pyramid->levels[0].grid.outputs + 1, total = pyramid->total;
    size_t capacity = chance(3) ? chance(total + 1) : total + chance(2);
    for (;;) {
        scan->found = exactly(capacity * width * sizeof(float));
        scan->capacity = capacity;
        scan->levels_done = scan->ready;
        scan->strips_done = scan->found_count = 0;
        parallel_for(group, cascade_dense_scan_item, scan, cascade_dense_scan_items(scan), size);
        CHECK(scan->found_count == total, "%zu windows, not %zu", (size_t)scan->found_count, total);
        CHECK(scan->levels_done == scan->level_count, "%zu levels of %zu", (size_t)scan->levels_done,
              scan->level_count);
        if (scan->found_count <= capacity) {
            return;
        }
        free(scan->found);
        capacity = scan->found_count;
        scan->ready = scan->level_count;
        scan->split_levels = 0;
    }
}

static void try_scan(group *group, const pyramid *pyramid) {
    cascade_scan_level levels[MOST_LEVELS];
    size_t count = pyramid->level_count, ready = chance(3) ? chance(count + 1) : 0;
    const expected_level *from = &pyramid->source;
    cascade_image source = strip_of(from->pixels, from->width, from->height, 0, from->height);
    cascade_dense_scan scan = {
        .kernels = pyramid->kernels, .layers = pyramid->layers, .level_count = count, .ready = ready};
    alarm(LONGEST_CASE);
    for (size_t k = 0; k < count; k++) {
        levels[k] = given_level(pyramid->levels + k, k >= ready, k + 1 == ready && ready < count);
    }
    scan.layer_count = pyramid->network.count;
    scan.source = ready ? NULL : &source;
    scan.levels = levels;
    scan.split_levels = chance(count - ready + 1);
    scan.strips = 1 + chance(12);
    run_scan(group, &scan, pyramid);
    check_detections(&scan, pyramid);
    free(scan.found);
    free(scan.tiles);
    free((void *)source.pixels);
    for (size_t k = 0; k < count; k++) {
        free((void *)levels[k].image.pixels);
    }
}

static void try_scans(group *group, const cascade_kernels *level) {
    pyramid pyramid;
    make_pyramid(&pyramid, level);
    try_scan(NULL, &pyramid);
    for (size_t i = 0; i < 3; i++) {
        try_scan(group, &pyramid);
    }
    unmake_pyramid(&pyramid);
}

/* ---- crops ----------------------------------------------------------------------------------------------- */

/* Boxes in and around the levels, and the memory to cut one, as place_boxes of crops.pxi computes it. */
static void place_boxes(cascade_crop_set *set, size_t count, size_t widest) {
    double *boxes = exactly(count * 4 * sizeof(double)), wide = 0, high = 0;
    for (size_t i = 0; i < count; i++) {
        double x = between(-30, 80), y = between(-30, 80), box[4] = {x, y, x + between(0.1, 60), y + between(0.1, 60)};
        memcpy(boxes + 4 * i, box, sizeof box);
        wide = fmax(wide, box[2] - box[0]);
        high = fmax(high, box[3] - box[1]);
    }
    set->boxes = boxes;
    set->workspace = cascade_resample_workspace(wide, high, widest, set->size, set->size);
}

static void place_transforms(cascade_crop_set *set, size_t count, const int64_t *level_of) {
    int64_t *transforms = exactly(count * 6 * sizeof(int64_t));
    for (size_t i = 0; i < count; i++) {
        const cascade_image *level = set->levels + level_of[i];
        if (chance(2)) {
            random_transform(transforms + 6 * i, set->size, level->width, level->height);
        } else {
            even_transform(transforms + 6 * i, level->width, level->height);
        }
    }
    set->transforms = transforms;
    set->padding_value = (uint8_t)chance(256);
}

static void place_crops(cascade_crop_set *set, cascade_image *levels, size_t level_count, size_t size, size_t count) {
    size_t widest = 0;
    int64_t *level_of = exactly(count * sizeof(int64_t));
    for (size_t k = 0; k < level_count; k++) {
        size_t width = 1 + chance(70), height = 1 + chance(70);
        levels[k] = (cascade_image){pixels(width * height * 3), width, height, 0, height};
        widest = width > widest ? width : widest;
    }
    for (size_t i = 0; i < count; i++) {
        level_of[i] = (int64_t)chance(level_count);
    }
    *set = (cascade_crop_set){.levels = levels, .level_of = level_of, .size = size};
    if (count && chance(2)) {
        place_boxes(set, count, widest);
    } else {
        place_transforms(set, count, level_of);
    }
}

/* Crop by crop. */
static float *classify_one_by_one(const cascade_classification *job) {
    const cascade_crop_set *set = job->set;
    float *out = exactly(job->count * job->outputs * sizeof(float));
    uint8_t *crop = exactly(set->size * set->size * 3);
    void *workspace = exactly(set->workspace);
    for (size_t i = 0; i < job->count; i++) {
        cascade_cut_crop(job->kernels, set, job->first + i, crop, workspace);
        float *outputs = batch_outputs(job->kernels, job->layers, job->layer_count, crop, 1, set->size);
        memcpy(out + i * job->outputs, outputs, job->outputs * sizeof(float));
        free(outputs);
    }
    free(crop);
    free(workspace);
    return out;
}

static void try_classification(group *group, const cascade_kernels *level) {
    network_shape network = quick_network(level);
    size_t all = chance(4 * level->lanes + 10), level_count = 1 + chance(3);
    cascade_layer layers[16];
    cascade_image levels[3];
    cascade_crop_set set;
    cascade_classification job = {.kernels = level, .layers = layers, .layer_count = network.count, .set = &set};
    alarm(LONGEST_CASE);
    build(layers, &network, level->lanes);
    place_crops(&set, levels, level_count, network.size, all);
    job.outputs = layers[network.count - 1].out_elements;
    job.first = chance(all + 1);
    job.count = chance(4) ? all - job.first : chance(all - job.first + 1);
    job.chunk = 1 + chance(2 * level->lanes + 3);
    job.chunks = chance(job.count / job.chunk + 1);
    job.last_chunk = 1 + chance(job.chunk + 3);
    job.out = exactly(job.count * job.outputs * sizeof(float));
    float *expected = classify_one_by_one(&job);
    size_t size = cascade_classification_workspace(&job);
    CHECK(size, "crops of %zu pixels", network.size);
    parallel_for(group, cascade_classify_chunk, &job, cascade_classification_items(&job), size);
    CHECK(!memcmp(job.out, expected, job.count * job.outputs * sizeof(float)),
          "%s at %s: %zu crops in %zu chunks of %zu, then %zu", network.name, level->name, job.count, job.chunks,
          job.chunk, job.last_chunk);
    free(job.out);
    free(expected);
    for (size_t k = 0; k < level_count; k++) {
        free((void *)levels[k].pixels);
    }
    free((void *)set.level_of);
    free((void *)set.boxes);
    free((void *)set.transforms);
    demolish(layers, network.count);
}

/* ---- strips and graphs ----------------------------------------------------------------------------------- */

/* Some rows of a part of an image, from those rows that they read, against the same rows of all. */
static void try_strips(group *group, const cascade_kernels *level) {
    size_t width = 1 + chance(70), height = 1 + chance(70), columns = 1 + chance(40), rows = 1 + chance(60), from, to;
    size_t first = chance(rows), end = first + 1 + chance(rows - first), bytes = columns * 3;
    double x = between(-30, 60), y = between(-30, 60), box[4] = {x, y, x + between(0.1, 90), y + between(0.1, 90)};
    uint8_t *image = pixels(width * height * 3), *found = exactly((end - first) * bytes),
            *expected = exactly(rows * bytes);
    size_t size = cascade_resample_workspace(box[2] - box[0], box[3] - box[1], width, columns, rows);
    void *workspace = exactly(size);
    alarm(LONGEST_CASE);
    cascade_resample(level, &(cascade_image){image, width, height, 0, height}, box, expected, columns, rows, 0, rows,
                     workspace);
    free(workspace);
    cascade_rows_read(box[1], box[3] - box[1], height, rows, first, end, &from, &to);
    cascade_image seen = strip_of(image, width, height, from, to);
    cascade_resample_job job = {level, &seen, box, found, columns, rows, first, end, 1 + chance(end - first + 2)};
    parallel_for(group, cascade_resample_strip, &job, (end - first + job.strip_rows - 1) / job.strip_rows, size);
    CHECK(!memcmp(found, expected + first * bytes, (end - first) * bytes),
          "%s: rows %zu to %zu of %zu in strips of %zu", level->name, first, end, rows, job.strip_rows);
    free((void *)seen.pixels);
    free(image);
    free(found);
    free(expected);
}

static void try_graph_crops(group *group, const cascade_kernels *level) {
    random_graph made;
    alarm(LONGEST_CASE);
    make_graph(&made);
    size_t count = chance(8), values = output_size(&made, 0) + output_size(&made, 1);
    uint8_t *crops = pixels(count * made.graph.size * made.graph.size * 3);
    float *expected = graph_outputs(level, &made, crops, count), *found = exactly(count * values * sizeof(float));
    float *targets[GRAPH_OUTPUTS] = {found, found + count * output_size(&made, 0)};
    pack_graph(level, &made);
    cascade_graph_job job = {level, &made.graph, crops, targets};
    parallel_for(group, cascade_graph_forward, &job, count, made.graph.workspace);
    CHECK(!memcmp(found, expected, count * values * sizeof(float)), "%s: %zu crops of a graph of %zu nodes",
          level->name, count, made.graph.node_count);
    unpack_graph(&made);
    free(crops);
    free(found);
    free(expected);
    unmake_graph(&made);
}

/* ---------------------------------------------------------------------------------------------------------- */

/* Loops of all kinds on the same threads. */
static void try_all(const cascade_kernels *level) {
    group *group = start_group(1 + chance(MOST_THREADS), 2000);
    for (size_t i = 0; i < 4; i++) {
        try_scans(group, level);
        try_classification(group, level);
        try_strips(group, level);
        try_graph_crops(group, level);
    }
    stop_group(group);
}

int main(int count, char **arguments) {
    read_arguments(count, arguments);
#if !defined(_WIN32)
    signal(SIGALRM, on_alarm);
#endif
    for (size_t threads = 1; threads <= MOST_THREADS; threads++) {
        try_loops(threads);
        try_quick_loops(threads);
    }
    printf("loops\n");
    for (const cascade_kernels *const *level = cascade_simd_levels(); *level != NULL; level++) {
        if ((*level)->usable()) {
            for (size_t i = 0; i < some(40); i++) {
                try_all(*level);
            }
            printf("%s\n", (*level)->name);
        }
    }
    return 0;
}
