/* A team of threads that helps one caller at a time through the tiles of its region.
 *
 * The caller opens one seat per helper it wants, works itself, and closes the seats when no tile is left. It waits only
 * for the workers that took a seat: if the cores are busy with something else, a worker that has not been scheduled
 * costs nothing. (OpenMP's barrier waits for every worker, for milliseconds, even if there is little to do; its team
 * does not survive a fork; and it keeps one team for every user thread that ever called.)
 *
 * Workers are started when first needed, and then shared by all callers. Between regions a worker spins for a moment,
 * so that consecutive calls find it awake, and then sleeps.
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <time.h>

#include "region.h"

/* Seconds between two checks for signals by the caller; that a worker stays awake without work; and that the caller
 * spins for its last workers before it leaves them its core. */
static const double SIGNAL_CHECK = 0.05, WORKER_SPIN = 1e-3, CALLER_SPIN = 5e-5;

/* `seats` counts open seats in the bits below INSIDE, and workers inside the region in those above: a single word, so
 * that no worker can enter while the seats close. */
enum { INSIDE = 1 << 16, OPEN = INSIDE - 1 };

typedef struct {
    pthread_t thread;
    int core, sent_away; /* core: where the worker was last awake, or NOWHERE */
} Worker;

enum { NOWHERE = -1 };

static const struct team {
    pthread_mutex_t mutex;
    pthread_cond_t opened, left;
    Region *region;
    int taken, started, asleep, awaited;
    uint32_t seats;
    Worker workers[MAX_WORKERS];
#ifdef __linux__
    cpu_set_t cores; /* the cores on which the caller may run */
#endif
} NO_TEAM = {.mutex = PTHREAD_MUTEX_INITIALIZER, .opened = PTHREAD_COND_INITIALIZER, .left = PTHREAD_COND_INITIALIZER};

static struct team team;

static inline double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + 1e-9 * now.tv_nsec;
}

static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static inline int this_core(void)
{
#ifdef __linux__
    return sched_getcpu();
#else
    return NOWHERE;
#endif
}

/* The `stop_function` of every region. */
static int is_interrupted(void **arrays, int64_t worker)
{
    Region *const region = (Region *)arrays;
    if (worker == 0 && seconds() - region->checked > SIGNAL_CHECK) {
        if (region->check_signals())
            __atomic_store_n(&region->interrupted, 1, __ATOMIC_RELAXED);
        region->checked = seconds();
    }
    return __atomic_load_n(&region->interrupted, __ATOMIC_RELAXED);
}

static void work(Region *region, int64_t worker)
{
    while (!is_interrupted(region->arrays, worker)) {
        const int64_t begin = __atomic_fetch_add(&region->next_tile, region->grain, __ATOMIC_RELAXED);
        if (begin >= region->tiles)
            return;
        const int64_t rest = region->tiles - begin;
        region->kernel(region->arrays, region->ints, region->scalars, begin,
                       begin + (rest < region->grain ? rest : region->grain), worker);
    }
}

static inline uint32_t seats(void) { return __atomic_load_n(&team.seats, __ATOMIC_SEQ_CST); }

/* Wait until `mask` of the seats is set, or not set. Spins for a while, yielding to anyone else who wants the core, and
 * then sleeps on `condition`, counted in `sleepers` (whoever changes the seats checks that afterwards). Returns once
 * woken, even if too late: a worker is then awake for the next region. */
static void await_seats(uint32_t mask, int set, double spin, pthread_cond_t *condition, int *sleepers, int *core)
{
    for (double begun = seconds(); seconds() - begun < spin; sched_yield()) {
        __atomic_store_n(core, this_core(), __ATOMIC_RELAXED);
        for (int i = 0; i < 32; i++) {
            if (!(seats() & mask) == !set)
                return;
            relax();
        }
    }
    __atomic_store_n(core, NOWHERE, __ATOMIC_RELAXED);
    pthread_mutex_lock(&team.mutex);
    __atomic_fetch_add(sleepers, 1, __ATOMIC_SEQ_CST);
    if (!(seats() & mask) != !set)
        pthread_cond_wait(condition, &team.mutex);
    __atomic_fetch_sub(sleepers, 1, __ATOMIC_SEQ_CST);
    pthread_mutex_unlock(&team.mutex);
    __atomic_store_n(core, this_core(), __ATOMIC_RELAXED);
}

static void wake(pthread_cond_t *condition, int *sleepers, int count)
{
    if (!__atomic_load_n(sleepers, __ATOMIC_SEQ_CST))
        return;
    pthread_mutex_lock(&team.mutex);
    for (int i = 0; i < count && i < *sleepers; i++)
        pthread_cond_signal(condition);
    pthread_mutex_unlock(&team.mutex);
}

/* Linux likes to put a thread on the core of the one that wakes it: a worker on its caller's, or the caller on a
 * worker's. There a worker would stand behind the caller for many calls while other cores idle. Those that are about to
 * wake, or are here, go to other cores; once they run they may move on to any. */
static void send_workers_away(void)
{
#ifdef __linux__
    const int here = this_core();
    cpu_set_t others;
    for (int i = 0, asked = 0; i < team.started; i++) {
        const int core = __atomic_load_n(&team.workers[i].core, __ATOMIC_RELAXED);
        if (core != here && core != NOWHERE)
            continue;
        if (!asked++) {
            if (here < 0 || here >= CPU_SETSIZE || sched_getaffinity(0, sizeof team.cores, &team.cores))
                return;
            others = team.cores;
            CPU_CLR(here, &others);
            if (!CPU_COUNT(&others))
                return;
        }
        if (!pthread_setaffinity_np(team.workers[i].thread, sizeof others, &others))
            __atomic_store_n(&team.workers[i].sent_away, 1, __ATOMIC_RELEASE);
    }
#endif
}

static void return_worker(Worker *worker)
{
#ifdef __linux__
    if (__atomic_exchange_n(&worker->sent_away, 0, __ATOMIC_ACQUIRE))
        pthread_setaffinity_np(pthread_self(), sizeof team.cores, &team.cores);
#endif
}

/* The loop of a worker. Its number in a region is that of its seat, starting at 1. */
static void *help(void *self)
{
    Worker *const worker = self;
    for (;;) {
        await_seats(OPEN, 1, WORKER_SPIN, &team.opened, &team.asleep, &worker->core);
        return_worker(worker);
        for (uint32_t now = seats(); now & OPEN;)
            if (__atomic_compare_exchange_n(&team.seats, &now, now - 1 + INSIDE, 0, __ATOMIC_SEQ_CST,
                                            __ATOMIC_SEQ_CST)) {
                work(team.region, now & OPEN);
                if (__atomic_sub_fetch(&team.seats, INSIDE, __ATOMIC_SEQ_CST) < INSIDE)
                    wake(&team.left, &team.awaited, 1);
                break;
            }
    }
    return NULL;
}

/* Start workers until there are `count`, or as many as the system allows. They block signals, which are for the threads
 * of the program. */
static void start_workers(int count)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (Worker *worker; team.started < count; team.started++) {
        worker = &team.workers[team.started];
        worker->core = NOWHERE;
        if (pthread_create(&worker->thread, NULL, help, worker))
            break;
        pthread_detach(worker->thread);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* Run a region on up to `threads` threads. A caller that finds the team busy works alone, so that, besides the team,
 * each caller runs at most one thread. Returns -1 if a signal handler raised. */
static int run_region(Region *region, int threads)
{
    region->arrays[MAX_ARRAYS] = (void *)is_interrupted;
    region->checked = seconds();
    region->next_tile = region->interrupted = 0;
    if (threads < 2 || __atomic_exchange_n(&team.taken, 1, __ATOMIC_ACQUIRE)) {
        work(region, 0);
        return -region->interrupted;
    }
    if (team.started < threads - 1)
        start_workers(threads - 1);
    send_workers_away();
    team.region = region;
    __atomic_store_n(&team.seats, threads - 1, __ATOMIC_SEQ_CST);
    wake(&team.opened, &team.asleep, threads - 1);
    work(region, 0);
    __atomic_fetch_and(&team.seats, ~(uint32_t)OPEN, __ATOMIC_SEQ_CST);
    for (int core; seats();)
        await_seats(~(uint32_t)OPEN, 0, CALLER_SPIN, &team.left, &team.awaited, &core);
    __atomic_store_n(&team.taken, 0, __ATOMIC_RELEASE);
    return -region->interrupted;
}

/* A forked child only has the thread that forked: it starts a team of its own when it needs one. */
static void forget_team(void) { team = NO_TEAM; }

static int found_team(void)
{
    forget_team();
    return pthread_atfork(NULL, NULL, forget_team);
}
