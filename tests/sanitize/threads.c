/*
 * Lists of work that several threads share. Every item of a list is done once and none is left when the list is over; and
 * what is made by such lists is to the bit what a plain loop makes: levels and what is found in them, crops and what a
 * network says of them, bands of an image, outputs of a graph. Helpers are asleep at times and awake at others.
 *
 * Memory is exactly what the core asks for, and new for every list: the address sanitizer sees a thread that is still at
 * work when its list is over, the thread sanitizer sees what two threads touch in no certain order. Counters of this
 * file's own are relaxed, since any stronger order would hide what the core lacks.
 *
 *   threads [SEED [PERCENT]]   other cases for every seed; only some of them, for a short run
 */
#include "random_cases.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

enum { MOST_THREADS = 5, MOST_LEVELS = 5 };

/* ---- a team and its threads ------------------------------------------------------------------------------ */

/* On which a helper sleeps. Like a lock of Python's, it must not be rung again before it is heard. */
typedef struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int rung;
} bell;

typedef struct group group;

typedef struct {
    group *group;
    cascade_helper helper;
    bell bell;
    pthread_t thread;
    int64_t awake; /* microseconds without a list before it sleeps */
} member;

/* The leader is the thread that calls. */
struct group {
    cascade_team team;
    size_t threads;
    member members[MOST_THREADS - 1];
    void *memory[MOST_THREADS]; /* the leader's first */
    _Atomic(size_t) asleep;
};

static void ring(bell *bell) {
    pthread_mutex_lock(&bell->mutex);
    CHECK(!bell->rung, "a helper is woken twice");
    bell->rung = 1;
    pthread_cond_signal(&bell->changed);
    pthread_mutex_unlock(&bell->mutex);
}

static void sleep_until_rung(bell *bell) {
    pthread_mutex_lock(&bell->mutex);
    while (!bell->rung) {
        pthread_cond_wait(&bell->changed, &bell->mutex);
    }
    bell->rung = 0;
    pthread_mutex_unlock(&bell->mutex);
}

static void *help(void *given) {
    member *self = given;
    cascade_team *team = &self->group->team;
    while (!cascade_team_closed(team)) {
        cascade_helper_help(team, &self->helper, self->awake);
        if (cascade_helper_sleeps(team, &self->helper)) {
            atomic_fetch_add_explicit(&self->group->asleep, 1, memory_order_relaxed);
            sleep_until_rung(&self->bell);
            atomic_fetch_sub_explicit(&self->group->asleep, 1, memory_order_relaxed);
        }
    }
    return NULL;
}

static void wake(group *group, size_t count) {
    for (size_t i = 0; i < count && i + 1 < group->threads; i++) {
        if (cascade_helper_wakes(&group->members[i].helper)) {
            ring(&group->members[i].bell);
        }
    }
}

/* Helpers wait awake for less than so long (microseconds), some not at all. */
static group *start_group(size_t threads, uint64_t awake) {
    group *made = exactly(sizeof(group));
    memset(made, 0, sizeof(group));
    made->threads = threads;
    for (size_t i = 0; i + 1 < threads; i++) {
        member *member = made->members + i;
        member->group = made;
        member->awake = chance(3) ? (int64_t)chance(awake) : 0;
        CHECK(!pthread_mutex_init(&member->bell.mutex, NULL), "no mutex");
        CHECK(!pthread_cond_init(&member->bell.changed, NULL), "no condition");
        CHECK(!pthread_create(&member->thread, NULL, help, member), "no thread");
    }
    return made;
}

/* Waits for the helpers of a team that is closed. */
static void end_group(group *group) {
    for (size_t i = 0; i + 1 < group->threads; i++) {
        CHECK(!pthread_join(group->members[i].thread, NULL), "helper %zu", i);
        pthread_mutex_destroy(&group->members[i].bell.mutex);
        pthread_cond_destroy(&group->members[i].bell.changed);
    }
    free(group);
}

static void stop_group(group *group) {
    cascade_team_close(&group->team);
    wake(group, group->threads);
    end_group(group);
}

static void give_memory(group *group, size_t size) {
    for (size_t i = 0; i < group->threads; i++) {
        group->memory[i] = exactly(size);
        if (i) {
            group->members[i - 1].helper.workspace = group->memory[i];
        }
    }
}

static void take_memory(group *group) {
    for (size_t i = 0; i < group->threads; i++) {
        free(group->memory[i]);
    }
}

/* All items, by all threads or, without a group, one after the other. */
static void do_list(group *group, cascade_work work, void *context, size_t count, size_t size) {
    if (group == NULL) {
        void *memory = exactly(size);
        for (size_t item = 0; item < count; item++) {
            work(context, item, memory);
        }
        free(memory);
        return;
    }
    give_memory(group, size);
    cascade_team_open(&group->team, work, context, count);
    wake(group, count ? count - 1 : 0);
    cascade_team_finish(&group->team, group->memory[0]);
    take_memory(group);
}

/* ---- waiting for ever ------------------------------------------------------------------------------------ */

/* No case takes longer, however slow the machine (seconds). */
#define LONGEST_CASE 200

static void on_alarm(int number) {
    static const char message[] = "threads wait for each other, or for a list that nobody told them of\n";
    (void)number;
    _exit(write(2, message, sizeof message - 1) > 0 ? 1 : 2);
}

/* ---- lists ----------------------------------------------------------------------------------------------- */

typedef struct {
    size_t number; /* other pauses for every list */
    size_t count;
    size_t meeting; /* so many items wait until as many have begun: each needs a thread of its own */
    size_t behind;  /* an item waits until that so far before it is done; 0: for none */
    _Atomic(size_t) begun;
    _Atomic(size_t) running;
    _Atomic(int) *done;
    uint8_t *times;
} listing;

/* What a thread's memory holds. */
typedef struct {
    const char *owner;
    size_t next; /* no item before this one can come */
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

static void wait_in_list(listing *list, size_t item) {
    size_t turns = 0;
    while (item < list->meeting && atomic_load_explicit(&list->begun, memory_order_relaxed) < list->meeting) {
        cascade_wait(&turns);
    }
    while (list->behind && item >= list->behind &&
           !atomic_load_explicit(list->done + item - list->behind, memory_order_relaxed)) {
        cascade_wait(&turns);
    }
}

static void do_item(void *context, size_t item, void *workspace) {
    listing *list = context;
    note *own = workspace;
    CHECK(item < list->count, "item %zu of %zu", item, list->count);
    CHECK(!own->busy && (own->owner == NULL || own->owner == &mark), "item %zu: another thread's memory", item);
    CHECK(item >= own->next, "item %zu after %zu", item, own->next - 1);
    *own = (note){&mark, item + 1, 1};
    atomic_fetch_add_explicit(&list->running, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&list->begun, 1, memory_order_relaxed);
    wait_in_list(list, item);
    small_pause(mixed(list->number * 1000 + item));
    list->times[item]++;
    atomic_store_explicit(list->done + item, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&list->running, 1, memory_order_relaxed);
    own->busy = 0;
}

static void make_list(listing *list, size_t number, size_t count, size_t meeting) {
    *list = (listing){.number = number, .count = count, .meeting = meeting, .behind = chance(2) ? chance(8) : 0};
    list->done = exactly(count * sizeof(*list->done));
    list->times = exactly(count);
    for (size_t i = 0; i < count; i++) {
        atomic_init(list->done + i, 0);
        list->times[i] = 0;
    }
}

static void check_list(listing *list) {
    CHECK(atomic_load_explicit(&list->running, memory_order_relaxed) == 0, "an item runs on");
    for (size_t i = 0; i < list->count; i++) {
        CHECK(list->times[i] == 1, "item %zu of %zu was done %d times", i, list->count, list->times[i]);
    }
    free(list->done);
    free(list->times);
}

/* `closing`: the team is closed while the list is open. */
static void try_list(group *group, size_t number, size_t count, size_t meeting, int closing) {
    listing list;
    alarm(LONGEST_CASE);
    make_list(&list, number, count, meeting);
    give_memory(group, sizeof(note));
    for (size_t i = 0; i < group->threads; i++) {
        *(note *)group->memory[i] = (note){NULL, 0, 0};
    }
    cascade_team_open(&group->team, do_item, &list, count);
    if (closing) {
        cascade_team_close(&group->team);
    }
    wake(group, closing ? group->threads : count ? count - 1 : 0);
    cascade_team_finish(&group->team, group->memory[0]);
    take_memory(group);
    check_list(&list);
}

/* What the leader does before the next list. */
static void between_lists(group *group) {
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
        wake(group, group->threads); /* for a list that is to come */
    }
}

/* One after the other, of 0, 1, 2 … items, then of any number; in every third each thread gets one. */
static void try_lists(size_t threads) {
    group *group = start_group(threads, 2000);
    for (size_t i = 0; i < some(300); i++) {
        size_t count = i < 20 ? i : chance(201);
        between_lists(group);
        try_list(group, i, count, count >= threads && i % 3 == 0 ? threads : 0, 0);
    }
    between_lists(group);
    if (chance(2)) {
        stop_group(group);
        return;
    }
    try_list(group, 1000, chance(50), 0, 1);
    try_list(group, 1001, chance(50), 0, 0); /* the leader alone */
    end_group(group);
}

static void count_item(void *context, size_t item, void *workspace) {
    size_t *times = context;
    *(size_t *)workspace = item;
    times[item]++;
}

/* Lists of next to no work, without a pause: helpers come to a list as it ends, and go to sleep as the next begins. */
static void try_quick_lists(size_t threads) {
    size_t times[MOST_THREADS + 1] = {0}, expected[MOST_THREADS + 1] = {0};
    group *group = start_group(threads, 20);
    give_memory(group, sizeof(size_t));
    alarm(LONGEST_CASE);
    for (size_t i = 0; i < some(50000); i++) {
        size_t count = chance(threads + 2);
        cascade_team_open(&group->team, count_item, times, count);
        wake(group, group->threads);
        cascade_team_finish(&group->team, group->memory[0]);
        for (size_t item = 0; item < count; item++) {
            expected[item]++;
        }
        CHECK(!memcmp(times, expected, sizeof times), "list %zu of %zu items", i, count);
    }
    take_memory(group);
    stop_group(group);
}

/* ---- search ---------------------------------------------------------------------------------------------- */

/* One thread's work on an image: what there is of the image, which windows are searched and what is found there. */
typedef struct {
    uint8_t *pixels;
    size_t width, height;
    cascade_grid grid;
    cascade_tile tile;
    float *map;     /* (rows, outputs, columns) */
    float *windows; /* (count, outputs + 1) */
    size_t count;
} searched_alone;

/* A network, and levels made each of the one before, the first of a source. */
typedef struct {
    const cascade_kernels *kernels;
    network_shape network;
    cascade_layer layers[16];
    searched_alone source, levels[MOST_LEVELS];
    size_t level_count;
    float threshold;
    size_t total; /* windows found */
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

/* One that takes no long time, with background and face among its outputs. */
static network_shape quick_network(const cascade_kernels *level) {
    network_shape network;
    do {
        network = chance(2) && BYTES_TOO(level) ? random_byte_network() : random_network();
    } while (network.size > 32 || products(&network) > 8000 || network.layers[network.count - 1].channels < 2);
    return network;
}

static uint8_t *resampled_whole(const cascade_kernels *level, const uint8_t *from, size_t from_width, size_t from_height,
                                size_t width, size_t height) {
    const double all[4] = {0, 0, (double)from_width, (double)from_height};
    const cascade_image image = {from, from_width, from_height, 0, from_height};
    void *workspace = exactly(cascade_resample_workspace(all[2], all[3], from_width, width, height));
    uint8_t *out = exactly(width * height * 3);
    cascade_resample(level, &image, all, out, width, height, 0, height, workspace);
    free(workspace);
    return out;
}

/* The network over some rows of a level's grid, often all of them. */
static void slide_alone(const pyramid *pyramid, searched_alone *level) {
    size_t count = pyramid->network.count;
    cascade_grid *grid = &level->grid;
    CHECK(cascade_grid_plan(grid, pyramid->layers, count, pyramid->network.padding, level->width, level->height), "grid");
    if (grid->rows == 0 || grid->columns == 0) {
        return;
    }
    level->tile = (cascade_tile){chance(3) ? 0 : chance(grid->rows), 0, 0, grid->columns};
    level->tile.rows = chance(3) ? grid->rows - level->tile.top : 1 + chance(grid->rows - level->tile.top);
    level->map = slid(pyramid->kernels, grid, pyramid->layers, count, level->pixels, level->width, level->height,
                      &level->tile);
}

/* Output `k` of a window. */
static float output(const searched_alone *level, size_t row, size_t column, size_t k) {
    return level->map[(row * level->grid.outputs + k) * level->tile.columns + column];
}

static float difference(const searched_alone *level, size_t row, size_t column) {
    return output(level, row, column, 1) - output(level, row, column, 0);
}

/* All windows are found, none, or about some share of them. */
static float any_threshold(const pyramid *pyramid) {
    const searched_alone *level = pyramid->levels + chance(pyramid->level_count);
    size_t kind = chance(8);
    if (kind < 2 || level->tile.rows == 0) {
        return kind ? INFINITY : -INFINITY;
    }
    return difference(level, chance(level->tile.rows), chance(level->tile.columns));
}

static void find_alone(searched_alone *level, float threshold) {
    size_t width = level->grid.outputs + 1;
    level->windows = exactly(level->tile.rows * level->tile.columns * width * sizeof(float));
    for (size_t y = 0; y < level->tile.rows; y++) {
        for (size_t x = 0; x < level->tile.columns; x++) {
            if (difference(level, y, x) >= threshold) {
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
    made->source = (searched_alone){.width = 1 + chance(90), .height = 1 + chance(90)};
    made->source.pixels = pixels(made->source.width * made->source.height * 3);
    for (size_t k = 0; k < made->level_count; k++) {
        const searched_alone *from = k ? made->levels + k - 1 : &made->source;
        searched_alone *level = made->levels + k;
        level->width = 1 + (size_t)((double)from->width * between(0.4, 1));
        level->height = 1 + (size_t)((double)from->height * between(0.4, 1));
        level->pixels = resampled_whole(kernels, from->pixels, from->width, from->height, level->width, level->height);
        slide_alone(made, level);
    }
    made->threshold = any_threshold(made);
    for (size_t k = 0; k < made->level_count; k++) {
        find_alone(made->levels + k, made->threshold);
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

/* A level as a search gets it: to be made, whole since the next is made of it, or those rows that its windows cover. */
static cascade_searched given_level(const searched_alone *level, int unmade, int whole) {
    size_t width = level->width, height = level->height;
    cascade_searched given = {.grid = level->grid, .first = level->tile.top, .end = level->tile.top + level->tile.rows};
    if (unmade) {
        given.unmade = exactly(width * height * 3);
        given.image = (cascade_image){given.unmade, width, height, 0, height};
    } else if (whole || level->tile.rows == 0) {
        given.image = band_of(level->pixels, width, height, 0, height);
    } else {
        given.image = covered_rows(&level->grid, level->pixels, width, height, &level->tile);
    }
    if (level->tile.rows) {
        given.rows = 1 + chance(level->tile.rows + 2);
        given.columns = 1 + chance(level->tile.columns + 2);
    }
    return given;
}

static size_t make_tiles(cascade_search *search) {
    size_t size = 1, n = 0;
    for (size_t k = 0; k < search->image_count; k++) {
        size_t needed = cascade_search_workspace(search, k);
        CHECK(needed, "level %zu", k);
        size = needed > size ? needed : size;
        search->tile_count += cascade_search_tiles(search, k, NULL);
    }
    search->tiles = exactly(search->tile_count * sizeof(cascade_search_tile));
    for (size_t k = 0; k < search->image_count; k++) {
        n += cascade_search_tiles(search, k, search->tiles + n);
    }
    CHECK(n == search->tile_count, "%zu tiles of %zu", n, search->tile_count);
    return size;
}

/* Where the windows of a level are gathered in two parts: before any of its strips. */
static size_t cut_between_strips(const cascade_search *search, size_t first, size_t end) {
    size_t cut = first + chance(end - first + 1);
    while (cut < end && cut > first && search->tiles[cut].tile.top == search->tiles[cut - 1].tile.top) {
        cut++;
    }
    return cut;
}

static void check_found(const cascade_search *search, const pyramid *pyramid) {
    for (size_t k = 0, tile = 0, end; k < pyramid->level_count; k++, tile = end) {
        const searched_alone *level = pyramid->levels + k;
        size_t count = 0, width = level->grid.outputs + 1;
        for (end = tile; end < search->tile_count && search->tiles[end].image == k; end++) {
            count += search->tiles[end].count;
        }
        CHECK(count == level->count, "%zu windows of level %zu, not %zu", count, k, level->count);
        float *found = exactly(count * width * sizeof(float));
        size_t cut = cut_between_strips(search, tile, end);
        size_t n = cascade_search_gather(search, search->tiles + tile, cut - tile, found);
        n += cascade_search_gather(search, search->tiles + cut, end - cut, found + n * width);
        CHECK(n == count, "%zu windows of %zu", n, count);
        CHECK(!memcmp(found, level->windows, count * width * sizeof(float)), "%s at %s: windows of level %zu",
              pyramid->network.name, pyramid->kernels->name, k);
        CHECK(search->images[k].unmade == NULL ||
                  !memcmp(search->images[k].unmade, level->pixels, level->width * level->height * 3),
              "pixels of level %zu", k);
        free(found);
    }
}

/* As a Search of search.pxi runs it, whatever room there is at first. */
static void run_search(group *group, cascade_search *search, const pyramid *pyramid) {
    size_t size = make_tiles(search), width = pyramid->levels[0].grid.outputs + 1, total = pyramid->total;
    size_t room = chance(3) ? chance(total + 1) : total + chance(2);
    for (;;) {
        search->found = exactly(room * width * sizeof(float));
        search->room = room;
        search->made = search->ready;
        search->bands_made = search->found_count = 0;
        do_list(group, cascade_search_work, search, cascade_search_items(search), size);
        CHECK(search->found_count == total, "%zu windows, not %zu", (size_t)search->found_count, total);
        CHECK(search->made == search->image_count, "%zu levels of %zu", (size_t)search->made, search->image_count);
        if (search->found_count <= room) {
            return;
        }
        free(search->found);
        room = search->found_count;
        search->ready = search->image_count;
        search->together = 0;
    }
}

static void try_search(group *group, const pyramid *pyramid) {
    cascade_searched levels[MOST_LEVELS];
    size_t count = pyramid->level_count, ready = chance(3) ? chance(count + 1) : 0;
    const searched_alone *from = &pyramid->source;
    cascade_image source = band_of(from->pixels, from->width, from->height, 0, from->height);
    cascade_search search = {.kernels = pyramid->kernels, .layers = pyramid->layers, .image_count = count, .ready = ready};
    alarm(LONGEST_CASE);
    for (size_t k = 0; k < count; k++) {
        levels[k] = given_level(pyramid->levels + k, k >= ready, k + 1 == ready && ready < count);
    }
    search.layer_count = pyramid->network.count;
    search.threshold = pyramid->threshold;
    search.source = ready ? NULL : &source;
    search.images = levels;
    search.together = chance(count - ready + 1);
    search.bands = 1 + chance(12);
    run_search(group, &search, pyramid);
    check_found(&search, pyramid);
    free(search.found);
    free(search.tiles);
    free((void *)source.pixels);
    for (size_t k = 0; k < count; k++) {
        free((void *)levels[k].image.pixels);
    }
}

static void try_searches(group *group, const cascade_kernels *level) {
    pyramid pyramid;
    make_pyramid(&pyramid, level);
    try_search(NULL, &pyramid);
    for (size_t i = 0; i < 3; i++) {
        try_search(group, &pyramid);
    }
    unmake_pyramid(&pyramid);
}

/* ---- crops ----------------------------------------------------------------------------------------------- */

/* Boxes about the levels, and the memory to cut one, as place_boxes of crops.pxi tells it. */
static void place_boxes(cascade_places *places, size_t count, size_t widest) {
    double *edges = exactly(count * 4 * sizeof(double)), wide = 0, high = 0;
    for (size_t i = 0; i < count; i++) {
        double x = between(-30, 80), y = between(-30, 80), box[4] = {x, y, x + between(0.1, 60), y + between(0.1, 60)};
        memcpy(edges + 4 * i, box, sizeof box);
        wide = fmax(wide, box[2] - box[0]);
        high = fmax(high, box[3] - box[1]);
    }
    places->edges = edges;
    places->workspace = cascade_resample_workspace(wide, high, widest, places->size, places->size);
}

static void place_maps(cascade_places *places, size_t count, const int64_t *order) {
    int64_t *maps = exactly(count * 6 * sizeof(int64_t));
    for (size_t i = 0; i < count; i++) {
        const cascade_image *level = places->levels + order[i];
        if (chance(2)) {
            random_map(maps + 6 * i, places->size, level->width, level->height);
        } else {
            even_map(maps + 6 * i, level->width, level->height);
        }
    }
    places->maps = maps;
    places->outside = (uint8_t)chance(256);
}

static void place_crops(cascade_places *places, cascade_image *levels, size_t level_count, size_t size, size_t count) {
    size_t widest = 0;
    int64_t *order = exactly(count * sizeof(int64_t));
    for (size_t k = 0; k < level_count; k++) {
        size_t width = 1 + chance(70), height = 1 + chance(70);
        levels[k] = (cascade_image){pixels(width * height * 3), width, height, 0, height};
        widest = width > widest ? width : widest;
    }
    for (size_t i = 0; i < count; i++) {
        order[i] = (int64_t)chance(level_count);
    }
    *places = (cascade_places){.levels = levels, .order = order, .size = size};
    if (count && chance(2)) {
        place_boxes(places, count, widest);
    } else {
        place_maps(places, count, order);
    }
}

/* Crop by crop. */
static float *judged_alone(const cascade_judging *judging) {
    const cascade_places *places = judging->places;
    float *out = exactly(judging->count * judging->outputs * sizeof(float));
    uint8_t *crop = exactly(places->size * places->size * 3);
    void *workspace = exactly(places->workspace);
    for (size_t i = 0; i < judging->count; i++) {
        cascade_cut(judging->kernels, places, judging->first + i, crop, workspace);
        float *said = judged(judging->kernels, judging->layers, judging->layer_count, crop, 1, places->size);
        memcpy(out + i * judging->outputs, said, judging->outputs * sizeof(float));
        free(said);
    }
    free(crop);
    free(workspace);
    return out;
}

static void try_judging(group *group, const cascade_kernels *level) {
    network_shape network = quick_network(level);
    size_t all = chance(4 * level->lanes + 10), level_count = 1 + chance(3);
    cascade_layer layers[16];
    cascade_image levels[3];
    cascade_places places;
    cascade_judging judging = {.kernels = level, .layers = layers, .layer_count = network.count, .places = &places};
    alarm(LONGEST_CASE);
    build(layers, &network, level->lanes);
    place_crops(&places, levels, level_count, network.size, all);
    judging.outputs = layers[network.count - 1].out_channels;
    judging.first = chance(all + 1);
    judging.count = chance(4) ? all - judging.first : chance(all - judging.first + 1);
    judging.piece = 1 + chance(2 * level->lanes + 3);
    judging.pieces = chance(judging.count / judging.piece + 1);
    judging.last = 1 + chance(judging.piece + 3);
    judging.out = exactly(judging.count * judging.outputs * sizeof(float));
    float *expected = judged_alone(&judging);
    size_t size = cascade_judging_workspace(&judging);
    CHECK(size, "crops of %zu pixels", network.size);
    do_list(group, cascade_judging_work, &judging, cascade_judging_items(&judging), size);
    CHECK(!memcmp(judging.out, expected, judging.count * judging.outputs * sizeof(float)),
          "%s at %s: %zu crops in %zu pieces of %zu, then %zu", network.name, level->name, judging.count, judging.pieces,
          judging.piece, judging.last);
    free(judging.out);
    free(expected);
    for (size_t k = 0; k < level_count; k++) {
        free((void *)levels[k].pixels);
    }
    free((void *)places.order);
    free((void *)places.edges);
    free((void *)places.maps);
    demolish(layers, network.count);
}

/* ---- bands and graphs ------------------------------------------------------------------------------------ */

/* Some rows of a part of an image, from those rows that they read, against the same rows of all. */
static void try_bands(group *group, const cascade_kernels *level) {
    size_t width = 1 + chance(70), height = 1 + chance(70), columns = 1 + chance(40), rows = 1 + chance(60), from, to;
    size_t first = chance(rows), end = first + 1 + chance(rows - first), bytes = columns * 3;
    double x = between(-30, 60), y = between(-30, 60), box[4] = {x, y, x + between(0.1, 90), y + between(0.1, 90)};
    uint8_t *image = pixels(width * height * 3), *found = exactly((end - first) * bytes), *expected = exactly(rows * bytes);
    size_t size = cascade_resample_workspace(box[2] - box[0], box[3] - box[1], width, columns, rows);
    void *workspace = exactly(size);
    alarm(LONGEST_CASE);
    cascade_resample(level, &(cascade_image){image, width, height, 0, height}, box, expected, columns, rows, 0, rows,
                     workspace);
    free(workspace);
    cascade_rows_read(box[1], box[3] - box[1], height, rows, first, end, &from, &to);
    cascade_image seen = band_of(image, width, height, from, to);
    cascade_resampling list = {level, &seen, box, found, columns, rows, first, end, 1 + chance(end - first + 2)};
    do_list(group, cascade_resampling_work, &list, (end - first + list.rows - 1) / list.rows, size);
    CHECK(!memcmp(found, expected + first * bytes, (end - first) * bytes), "%s: rows %zu to %zu of %zu in bands of %zu",
          level->name, first, end, rows, list.rows);
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
    cascade_graph_crops list = {level, &made.graph, crops, targets};
    do_list(group, cascade_graph_work, &list, count, made.graph.workspace * sizeof(float));
    CHECK(!memcmp(found, expected, count * values * sizeof(float)), "%s: %zu crops of a graph of %zu nodes", level->name,
          count, made.graph.node_count);
    unpack_graph(&made);
    free(crops);
    free(found);
    free(expected);
    unmake_graph(&made);
}

/* ---------------------------------------------------------------------------------------------------------- */

/* Lists of all kinds by the same threads. */
static void try_all(const cascade_kernels *level) {
    group *group = start_group(1 + chance(MOST_THREADS), 2000);
    for (size_t i = 0; i < 4; i++) {
        try_searches(group, level);
        try_judging(group, level);
        try_bands(group, level);
        try_graph_crops(group, level);
    }
    stop_group(group);
}

int main(int count, char **arguments) {
    read_arguments(count, arguments);
    signal(SIGALRM, on_alarm);
    for (size_t threads = 1; threads <= MOST_THREADS; threads++) {
        try_lists(threads);
        try_quick_lists(threads);
    }
    printf("lists\n");
    for (const cascade_kernels *const *level = cascade_levels(); *level != NULL; level++) {
        if (cascade_level_usable(*level)) {
            for (size_t i = 0; i < some(40); i++) {
                try_all(*level);
            }
            printf("%s\n", (*level)->name);
        }
    }
    return 0;
}
