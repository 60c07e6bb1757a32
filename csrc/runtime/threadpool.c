/*
 * The thread pool. A worker that finds no loop spins for a moment: the loops of one image follow each other within a fraction
 * of a millisecond, and to wake a sleeping thread may take as long.
 *
 * Where a thread stores a flag and then checks whether another thread has stored its own, the store is an exchange. A plain
 * sequentially consistent store would do, but some emulators of ARM let a later load overtake it.
 */
#include "threadpool.h"
#include "platform.h"

/* Rounds of spinning before a thread yields its core, about a microsecond in all. A hypervisor takes a longer run of pauses
 * for a futile wait and gives the core to another machine. */
#define SPIN_ROUNDS 16

/* Time between two polls of the calling thread. */
#define POLL_MICROSECONDS 50000

void cascade_backoff(size_t *rounds) {
    if (++*rounds < SPIN_ROUNDS) {
        cascade_pause_core();
    } else {
        cascade_yield_core();
    }
}

static void run_items(cascade_pool *pool, void *workspace) {
    for (size_t item = atomic_fetch_add(&pool->next, 1); item < pool->count; item = atomic_fetch_add(&pool->next, 1)) {
        pool->body(pool->context, item, workspace);
    }
}

/* The same on the calling thread. Returns 0 if `poll` ended the loop: then no thread begins another item. */
static int run_items_polling(cascade_pool *pool, void *workspace, cascade_poll poll) {
    int64_t polled = cascade_now_microseconds();
    for (size_t item = atomic_fetch_add(&pool->next, 1); item < pool->count; item = atomic_fetch_add(&pool->next, 1)) {
        pool->body(pool->context, item, workspace);
        if (poll == NULL || cascade_now_microseconds() - polled < POLL_MICROSECONDS) {
            continue;
        }
        if (poll() != 0) {
            atomic_store(&pool->next, pool->count);
            return 0;
        }
        polled = cascade_now_microseconds();
    }
    return 1;
}

int cascade_for(cascade_loop_body body, void *context, size_t count, void *workspace, cascade_poll poll) {
    cascade_pool alone = {.body = body, .context = context, .count = count};
    return run_items_polling(&alone, workspace, poll);
}

int cascade_pool_acquire(cascade_pool *pool) { return !atomic_exchange(&pool->acquired, 1); }

void cascade_pool_release(cascade_pool *pool) { atomic_store(&pool->acquired, 0); }

void cascade_parallel_for_begin(cascade_pool *pool, cascade_loop_body body, void *context, size_t count) {
    pool->body = body;
    pool->context = context;
    pool->count = count;
    atomic_store(&pool->next, 0);
    pool->loops++;
    atomic_exchange(&pool->loop, pool->loops);
}

int cascade_parallel_for_end(cascade_pool *pool, void *workspace, cascade_poll poll) {
    int finished = run_items_polling(pool, workspace, poll);
    /* closes the loop before it looks for active workers: a worker becomes active before it looks for a loop */
    atomic_exchange(&pool->loop, 0);
    for (size_t rounds = 0; atomic_load(&pool->active) != 0;) {
        cascade_backoff(&rounds);
    }
    return finished;
}

void cascade_pool_close(cascade_pool *pool) { atomic_exchange(&pool->closed, 1); }

int cascade_pool_closed(cascade_pool *pool) { return atomic_load(&pool->closed); }

/* Whether a loop is open that the worker has not taken part in. */
static int has_loop(cascade_pool *pool, const cascade_worker *worker) {
    size_t loop = atomic_load(&pool->loop);
    return loop != 0 && loop != worker->last_loop;
}

static int join_loop(cascade_pool *pool, cascade_worker *worker) {
    if (!has_loop(pool, worker)) {
        return 0;
    }
    atomic_fetch_add(&pool->active, 1);
    size_t loop = atomic_load(&pool->loop);
    if (loop != 0) { /* it stays open as long as a worker is active */
        worker->last_loop = loop;
        run_items(pool, worker->workspace);
    }
    atomic_fetch_sub(&pool->active, 1);
    return loop != 0;
}

int cascade_worker_attach(cascade_worker *worker) { return !atomic_exchange(&worker->attached, 1); }

void cascade_worker_detach(cascade_worker *worker) { atomic_store(&worker->attached, 0); }

void cascade_worker_run(cascade_pool *pool, cascade_worker *worker, int64_t idle_microseconds) {
    int64_t idle_since = cascade_now_microseconds();
    for (size_t rounds = 0; !atomic_load(&pool->closed);) {
        if (join_loop(pool, worker)) {
            idle_since = cascade_now_microseconds();
            rounds = 0;
        } else if (rounds >= SPIN_ROUNDS && cascade_now_microseconds() - idle_since >= idle_microseconds) {
            return;
        }
        cascade_backoff(&rounds);
    }
}

int cascade_worker_may_sleep(cascade_pool *pool, cascade_worker *worker) {
    atomic_exchange(&worker->asleep, 1);
    if (!has_loop(pool, worker) && !atomic_load(&pool->closed)) {
        return 1;
    }
    /* a worker that is being woken already must sleep until it is */
    return !atomic_exchange(&worker->asleep, 0);
}

int cascade_worker_needs_wake(cascade_worker *worker) { return atomic_exchange(&worker->asleep, 0); }
