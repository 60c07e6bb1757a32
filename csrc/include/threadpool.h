/*
 * The thread pool: several threads share the iterations of a loop (parallel_for).
 *
 * One thread, the caller, begins loops, works along and waits for their end; the others are workers. Nothing here starts a
 * thread or puts one to sleep: that is up to those who own the threads. Iterations begin in their order, each on the thread
 * that is free first.
 */
#ifndef CASCADE_THREADPOOL_H
#define CASCADE_THREADPOOL_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* Runs one iteration, in a workspace that no other thread uses meanwhile. */
typedef void (*cascade_loop_body)(void *context, size_t item, void *workspace);

/* Asked several times a second by what may take long, unless NULL. Whatever is not 0 ends the work. */
typedef int (*cascade_poll)(void);

/* What the threads share. All zeros is an idle pool. */
typedef struct {
    cascade_loop_body body;
    void *context;
    size_t count;
    size_t loops;             /* begun so far */
    _Atomic(size_t) next;     /* the first item that no thread has begun */
    _Atomic(size_t) loop;     /* number of the loop that is open; 0: none */
    _Atomic(size_t) active;   /* workers that may be at an item */
    _Atomic(int) acquired;
    _Atomic(int) closed;
} cascade_pool;

typedef struct {
    void *workspace;  /* not changed while a loop is open */
    size_t last_loop; /* number of the last loop it took part in */
    _Atomic(int) attached;
    _Atomic(int) asleep;
} cascade_worker;

/* Waits a moment: spins at first, then yields the core. `rounds` starts at 0. */
void cascade_backoff(size_t *rounds);

/* Makes this thread the caller; returns 0 if there is one. Only the caller may begin loops and change workspaces, until it
 * releases the pool. */
int cascade_pool_acquire(cascade_pool *pool);
void cascade_pool_release(cascade_pool *pool);
/* Begins a loop of `count` iterations. */
void cascade_parallel_for_begin(cascade_pool *pool, cascade_loop_body body, void *context, size_t count);
/* Runs iterations until none is left, and waits for those that others run. Asks `poll` several times a second. If that is not
 * 0, begins no further ones and returns 0. */
int cascade_parallel_for_end(cascade_pool *pool, void *workspace, cascade_poll poll);
/* A loop on this thread alone; also 0 if `poll` ended it. */
int cascade_for(cascade_loop_body body, void *context, size_t count, void *workspace, cascade_poll poll);
/* Tells the workers to end. */
void cascade_pool_close(cascade_pool *pool);
int cascade_pool_closed(cascade_pool *pool);

/* Makes this thread the worker; returns 0 if another thread is. */
int cascade_worker_attach(cascade_worker *worker);
void cascade_worker_detach(cascade_worker *worker);
/* Takes part in loops until none has begun for `idle_microseconds`, or the pool is closed. */
void cascade_worker_run(cascade_pool *pool, cascade_worker *worker, int64_t idle_microseconds);
/* Whether the worker may go to sleep now. Then somebody must wake it: the caller asks cascade_worker_needs_wake after it has
 * begun a loop or closed the pool, and wakes the worker if told so. */
int cascade_worker_may_sleep(cascade_pool *pool, cascade_worker *worker);
int cascade_worker_needs_wake(cascade_worker *worker);

#endif
