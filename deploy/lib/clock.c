// Gives a process its own wall clock, for tests. Preloaded by LD_PRELOAD, it sets the wall clock ahead of the machine's by
// the number of seconds in the first eight bytes of the file STEPPED_CLOCK; changing the file steps the clock. Clocks
// that only count (CLOCK_MONOTONIC, CLOCK_BOOTTIME) are not changed, as when an operator or NTP steps a machine's clock.
// Waits until a wall-clock time are passed to the kernel in the machine's time: otherwise a step would prolong them.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

static const int64_t *steps;

__attribute__((constructor)) static void open_clock(void) {
    const char *path = getenv("STEPPED_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *page = mmap(NULL, sizeof *steps, PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (page != MAP_FAILED) steps = page;
}

static int64_t ahead(void) { return steps ? __atomic_load_n(steps, __ATOMIC_RELAXED) : 0; }

// The function that is replaced. The oldest versions of the waits date from LinuxThreads; these are not wanted.
static void *real(const char *name) {
    void *found = dlvsym(RTLD_NEXT, name, "GLIBC_2.3.2");
    if (!found) found = dlsym(RTLD_NEXT, name);
    if (!found) abort();
    return found;
}

#define REAL(name) \
    static __typeof__(name) *next; \
    if (!next) next = (__typeof__(name) *)real(#name)

int clock_gettime(clockid_t clock, struct timespec *now) {
    REAL(clock_gettime);
    int code = next(clock, now);
    if (code == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += ahead();
    return code;
}

int timespec_get(struct timespec *now, int base) {
    REAL(timespec_get);
    int code = next(now, base);
    if (code == TIME_UTC) now->tv_sec += ahead();
    return code;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    REAL(gettimeofday);
    int code = next(now, zone);
    if (code == 0) now->tv_sec += ahead();
    return code;
}

time_t time(time_t *now) {
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    if (now) *now = precise.tv_sec;
    return precise.tv_sec;
}

// A condition may use a clock that only counts, which cannot be seen here: but no machine has been up for thirty years.
static struct timespec of_machine(const struct timespec *until) {
    struct timespec machine = *until;
    if (machine.tv_sec > 1000000000) machine.tv_sec -= ahead();
    return machine;
}

int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *until) {
    REAL(pthread_cond_timedwait);
    struct timespec machine = of_machine(until);
    return next(condition, mutex, &machine);
}

int cnd_timedwait(cnd_t *condition, mtx_t *mutex, const struct timespec *until) {
    REAL(cnd_timedwait);
    struct timespec machine = of_machine(until);
    return next(condition, mutex, &machine);
}

int sem_timedwait(sem_t *semaphore, const struct timespec *until) {
    REAL(sem_timedwait);
    struct timespec machine = of_machine(until);
    return next(semaphore, &machine);
}
