/* A team of threads that helps one caller at a time through the tiles of its region.
 *
 * Members have numbers, the caller is 0, and wake each other as a tree: number w wakes w * BRANCHES + 1 to
 * w * BRANCHES + BRANCHES, before it takes tiles, and waits for them when no tile is left. So the last of n members is
 * woken after log(n) steps, and nobody waits for more than a few others. Each member has cache lines of its own: those
 * who spin on one do not slow down whoever writes another.
 *
 * Whoever wakes a member opens its seat, and closes it again unless it was taken: if the cores are busy with something
 * else, a worker that has not been scheduled costs nothing but its help and that of those it would have woken.
 * (OpenMP's barrier waits for every worker, for milliseconds, even if there is little to do; its team does not survive a
 * fork; and it keeps one team for every user thread that ever called.)
 *
 * Workers are started when first needed, and then shared by all callers. Between regions a worker spins for a moment,
 * so that consecutive calls find it awake, and then sleeps.
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include "region.h"

/* Seconds between two checks for signals by the caller; that a worker stays awake without work; and that a member
 * spins for those it woke before it leaves them its core. */
static const double SIGNAL_CHECK = 0.05, WORKER_SPIN = 1e-3, MEMBER_SPIN = 5e-5;

enum { BRANCHES = 2, NOWHERE = -1 };

/* A seat is open from when its member is woken until that takes it, and taken as long as it may use the region. */
enum { CLOSED, OPEN, TAKEN };

typedef struct {
    _Alignas(2 * CACHE_LINE) uint32_t seat; /* lines are fetched in pairs */
    int asleep;
    int core, sent_away; /* core: where the worker was last awake, or NOWHERE */
    pthread_mutex_t mutex;
    pthread_cond_t woken;
    pthread_t thread;
#ifdef __linux__
    cpu_set_t cores; /* where it may run again after it was sent away */
#endif
} Member;

static struct {
    Region *region;
    int taken, started;
    Member members[1 + MAX_WORKERS];
} team;

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

/* Wait until `seat` is as wanted. Spins for a while, yielding to anyone else who wants the core, and then sleeps
 * (whoever changes the seat checks that afterwards). Returns once woken, even if too late: a worker is then awake for
 * the next region. */
static void await(Member *self, const uint32_t *seat, uint32_t wanted, double spin)
{
    for (double begun = seconds(); seconds() - begun < spin; sched_yield()) {
        __atomic_store_n(&self->core, this_core(), __ATOMIC_RELAXED);
        for (int i = 0; i < 32; i++) {
            if (__atomic_load_n(seat, __ATOMIC_SEQ_CST) == wanted)
                return;
            relax();
        }
    }
    __atomic_store_n(&self->core, NOWHERE, __ATOMIC_RELAXED);
    pthread_mutex_lock(&self->mutex);
    __atomic_store_n(&self->asleep, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(seat, __ATOMIC_SEQ_CST) != wanted)
        pthread_cond_wait(&self->woken, &self->mutex);
    __atomic_store_n(&self->asleep, 0, __ATOMIC_SEQ_CST);
    pthread_mutex_unlock(&self->mutex);
    __atomic_store_n(&self->core, this_core(), __ATOMIC_RELAXED);
}

/* Change a seat that `waiting` may wait for. */
static void set_seat(uint32_t *seat, uint32_t value, Member *waiting)
{
    __atomic_store_n(seat, value, __ATOMIC_SEQ_CST);
    if (!__atomic_load_n(&waiting->asleep, __ATOMIC_SEQ_CST))
        return;
    pthread_mutex_lock(&waiting->mutex);
    pthread_cond_signal(&waiting->woken);
    pthread_mutex_unlock(&waiting->mutex);
}

/* Linux likes to put a thread on the core of the one that wakes it: a worker on its caller's, or the caller on a
 * worker's. There a worker would stand behind the caller for many calls while other cores idle. One that is about to
 * wake, or is here, goes to other cores; once it runs it may move on to any. */
static void send_away(Member *worker)
{
#ifdef __linux__
    const int here = this_core(), core = __atomic_load_n(&worker->core, __ATOMIC_RELAXED);
    if ((core != here && core != NOWHERE) || here < 0 || here >= CPU_SETSIZE ||
        sched_getaffinity(0, sizeof worker->cores, &worker->cores))
        return;
    cpu_set_t others = worker->cores;
    CPU_CLR(here, &others);
    if (CPU_COUNT(&others) && !pthread_setaffinity_np(worker->thread, sizeof others, &others))
        __atomic_store_n(&worker->sent_away, 1, __ATOMIC_RELEASE);
#endif
}

static void return_to_any(Member *worker)
{
#ifdef __linux__
    if (__atomic_exchange_n(&worker->sent_away, 0, __ATOMIC_ACQUIRE))
        pthread_setaffinity_np(pthread_self(), sizeof worker->cores, &worker->cores);
#endif
}

/* The first of those that a member wakes, and the one after the last. */
static inline int first_woken(int number) { return number * BRANCHES + 1; }
static inline int past_woken(int number, const Region *region)
{
    const int past = first_woken(number) + BRANCHES;
    return past < region->threads ? past : region->threads;
}

/* Work as a member of a region, with those that it wakes. */
static void take_part(Region *region, int number)
{
    const int first = first_woken(number), past = past_woken(number, region);
    for (int i = first; i < past; i++) {
        send_away(&team.members[i]);
        set_seat(&team.members[i].seat, OPEN, &team.members[i]);
    }
    work(region, number);
    for (int i = first; i < past; i++) {
        uint32_t *seat = &team.members[i].seat, open = OPEN;
        if (!__atomic_compare_exchange_n(seat, &open, CLOSED, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
            while (__atomic_load_n(seat, __ATOMIC_SEQ_CST) != CLOSED)
                await(&team.members[number], seat, CLOSED, MEMBER_SPIN);
    }
}

/* The loop of a worker. */
static void *help(void *member)
{
    Member *const self = member;
    const int number = (int)(self - team.members);
    for (;;) {
        await(self, &self->seat, OPEN, WORKER_SPIN);
        return_to_any(self);
        uint32_t open = OPEN;
        if (__atomic_compare_exchange_n(&self->seat, &open, TAKEN, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
            take_part(team.region, number);
            set_seat(&self->seat, CLOSED, &team.members[(number - 1) / BRANCHES]);
        }
    }
    return NULL;
}

static void reset(Member *member)
{
    memset(member, 0, sizeof *member);
    member->core = NOWHERE;
    pthread_mutex_init(&member->mutex, NULL);
    pthread_cond_init(&member->woken, NULL);
}

/* Start workers until there are `count`, or as many as the system allows. They block signals, which are for the threads
 * of the program. */
static void start_workers(int count)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (Member *worker; team.started < count; team.started++) {
        worker = &team.members[1 + team.started];
        reset(worker);
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
    region->threads = threads < team.started + 1 ? threads : team.started + 1;
    team.region = region;
    take_part(region, 0);
    __atomic_store_n(&team.taken, 0, __ATOMIC_RELEASE);
    return -region->interrupted;
}

/* A forked child only has the thread that forked: it starts a team of its own when it needs one. */
static void forget_team(void)
{
    team.taken = team.started = 0;
    reset(&team.members[0]);
}

static int found_team(void)
{
    forget_team();
    return pthread_atfork(NULL, NULL, forget_team);
}
