/*
 * Lists of work that several threads do together: items are begun in their order, each by the thread that is free first.
 *
 * One thread, the leader, opens lists, works along and waits for the end; the others help. Nothing here starts a thread or
 * puts one to sleep. A helper that finds no list waits awake for a moment, since the lists of one image follow each other
 * within a fraction of a millisecond, and to wake a thread that sleeps may take as long.
 *
 * Where a thread says something and then looks whether the other has spoken, it says it by an exchange: a store would do, but
 * not under emulators of ARM that let a later load overtake it.
 */
#include "cascade.h"

#include <time.h>

#if defined(_WIN32)
#include <windows.h>
#define give_way SwitchToThread
#else
#include <sched.h>
#define give_way sched_yield
#endif

/* Turns of waiting before a thread lets others have its core, about a microsecond in all: where there is a hypervisor, it
 * takes a longer run of pauses for a wait in vain and gives the core to another machine. */
#define AWAKE_TURNS 16

static void pause_core(void) {
#if defined(_MSC_VER)
    YieldProcessor();
#elif defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

void cascade_wait(size_t *turns) {
    if (++*turns < AWAKE_TURNS) {
        pause_core();
    } else {
        give_way();
    }
}

/* Microseconds since some time. */
static int64_t clock_now(void) {
    struct timespec now;
#if defined(_WIN32)
    timespec_get(&now, TIME_UTC);
#else
    clock_gettime(CLOCK_MONOTONIC, &now);
#endif
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void work_along(cascade_team *team, void *workspace) {
    for (size_t item = atomic_fetch_add(&team->next, 1); item < team->count; item = atomic_fetch_add(&team->next, 1)) {
        team->work(team->context, item, workspace);
    }
}

int cascade_team_lead(cascade_team *team) { return !atomic_exchange(&team->led, 1); }

void cascade_team_leave(cascade_team *team) { atomic_store(&team->led, 0); }

void cascade_team_open(cascade_team *team, cascade_work work, void *context, size_t count) {
    team->work = work;
    team->context = context;
    team->count = count;
    atomic_store(&team->next, 0);
    team->lists++;
    atomic_exchange(&team->list, team->lists);
}

void cascade_team_finish(cascade_team *team, void *workspace) {
    work_along(team, workspace);
    atomic_exchange(&team->list, 0); /* before looking who is inside: a helper enters first and looks then */
    for (size_t turns = 0; atomic_load(&team->inside) != 0;) {
        cascade_wait(&turns);
    }
}

void cascade_team_close(cascade_team *team) { atomic_exchange(&team->closed, 1); }

int cascade_team_closed(cascade_team *team) { return atomic_load(&team->closed); }

/* Whether a list is open that the helper has not seen. */
static int has_list(cascade_team *team, const cascade_helper *helper) {
    size_t list = atomic_load(&team->list);
    return list != 0 && list != helper->seen;
}

static int help_once(cascade_team *team, cascade_helper *helper) {
    if (!has_list(team, helper)) {
        return 0;
    }
    atomic_fetch_add(&team->inside, 1);
    size_t list = atomic_load(&team->list);
    if (list != 0) { /* open, and it stays so as long as a helper is inside */
        helper->seen = list;
        work_along(team, helper->workspace);
    }
    atomic_fetch_sub(&team->inside, 1);
    return list != 0;
}

int cascade_helper_join(cascade_helper *helper) { return !atomic_exchange(&helper->there, 1); }

void cascade_helper_leave(cascade_helper *helper) { atomic_store(&helper->there, 0); }

void cascade_helper_help(cascade_team *team, cascade_helper *helper, int64_t microseconds) {
    int64_t started = clock_now();
    for (size_t turns = 0; !atomic_load(&team->closed);) {
        if (help_once(team, helper)) {
            started = clock_now();
            turns = 0;
        } else if (turns >= AWAKE_TURNS && clock_now() - started >= microseconds) {
            return;
        }
        cascade_wait(&turns);
    }
}

int cascade_helper_sleeps(cascade_team *team, cascade_helper *helper) {
    atomic_exchange(&helper->asleep, 1);
    if (!has_list(team, helper) && !atomic_load(&team->closed)) {
        return 1;
    }
    /* unless it has been told to wake in the meantime, it need not sleep */
    return !atomic_exchange(&helper->asleep, 0);
}

int cascade_helper_wakes(cascade_helper *helper) { return atomic_exchange(&helper->asleep, 0); }
