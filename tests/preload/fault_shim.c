/* Loaded behind the preload library: system calls on chosen paths take long or fail, and so do threads and memory.
 *
 * FAULT_PATH         part of the path of the files that are meant (of all files where it is unset)
 * FAULT_SLEEP_MS     each write to such a file takes so much longer; FAULT_SLEEP_ONCE: only the first
 * FAULT_WAITS_FOR    writes to such a file do not come back before this other file is there
 * FAULT_CALLS        which calls fail, of: openat mkdirat write close renameat fstat
 * FAULT_AT           the first one that fails, from 1; FAULT_ERRNO with what; FAULT_ONCE: only that one
 * FAULT_TOLD         a file that is made when a call fails
 * FAULT_NO_THREADS   no thread can be made
 * FAULT_MALLOC_AT    the allocation that fails, from 1, of all that threads other than the first make; FAULT_MALLOC_ON: and all after it
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static atomic_long calls;
static atomic_long allocations;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static long number(const char *name) {
    const char *text = getenv(name);
    return text == NULL ? 0 : atol(text);
}

static int is_meant(int file, const char *name) {
    const char *part = getenv("FAULT_PATH");
    char link[64], path[PATH_MAX * 2];
    if (part == NULL) {
        return 1;
    }
    if (name != NULL && strstr(name, part) != NULL) {
        return 1;
    }
    if (file < 0) {
        return 0;
    }
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0) {
        return 0;
    }
    path[size] = '\0';
    return strstr(path, part) != NULL;
}

static void tell(void) {
    const char *file = getenv("FAULT_TOLD");
    int made = file == NULL ? -1 : REAL(openat)(AT_FDCWD, file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (made >= 0) {
        REAL(close)(made);
    }
}

/* True if this call is to fail; errno says how. */
static int fails(const char *call, int file, const char *name) {
    const char *names = getenv("FAULT_CALLS");
    if (names == NULL || strstr(names, call) == NULL || !is_meant(file, name)) {
        return 0;
    }
    long at = number("FAULT_AT"), now = atomic_fetch_add(&calls, 1) + 1;
    if (now < at || (getenv("FAULT_ONCE") != NULL && now > at)) {
        return 0;
    }
    tell();
    errno = (int)number("FAULT_ERRNO");
    return 1;
}

static void rest(int file) {
    const char *other = getenv("FAULT_WAITS_FOR");
    while (other != NULL && is_meant(file, NULL) && access(other, F_OK) != 0) {
        usleep(5000);
    }
    static atomic_long slept;
    long ms = number("FAULT_SLEEP_MS");
    if (ms > 0 && is_meant(file, NULL) && (getenv("FAULT_SLEEP_ONCE") == NULL || atomic_fetch_add(&slept, 1) == 0)) {
        struct timespec time = {ms / 1000, (ms % 1000) * 1000000};
        while (nanosleep(&time, &time) != 0) {
        }
    }
}

/* Rests afterwards: what is done to the descriptor meanwhile meets the next call. */
ssize_t write(int file, const void *data, size_t size) {
    ssize_t done = fails("write", file, NULL) ? -1 : REAL(write)(file, data, size);
    int error = errno;
    rest(file);
    errno = error;
    return done;
}

ssize_t writev(int file, const struct iovec *parts, int count) {
    ssize_t done = fails("write", file, NULL) ? -1 : REAL(writev)(file, parts, count);
    int error = errno;
    rest(file);
    errno = error;
    return done;
}

int openat(int directory, const char *name, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    return fails("openat", directory, name) ? -1 : REAL(openat)(directory, name, flags, mode);
}

int mkdirat(int directory, const char *name, mode_t mode) {
    return fails("mkdirat", directory, name) ? -1 : REAL(mkdirat)(directory, name, mode);
}

int close(int file) {
    if (fails("close", file, NULL)) {
        int error = errno;
        REAL(close)(file);
        errno = error;
        return -1;
    }
    return REAL(close)(file);
}

int renameat(int from, const char *before, int to, const char *after) {
    return fails("renameat", to, after) ? -1 : REAL(renameat)(from, before, to, after);
}

int fstat(int file, struct stat *status) { return fails("fstat", file, NULL) ? -1 : REAL(fstat)(file, status); }

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument) {
    return getenv("FAULT_NO_THREADS") != NULL ? EAGAIN : REAL(pthread_create)(thread, attributes, start, argument);
}

extern void *__libc_malloc(size_t size);

void *malloc(size_t size) {
    static long at = -1; /* read once: a thread may ask while the first one changes the environment */
    static int on;
    if (at < 0) {
        on = getenv("FAULT_MALLOC_ON") != NULL;
        at = number("FAULT_MALLOC_AT");
    }
    if (at > 0 && gettid() != getpid()) {
        long now = atomic_fetch_add(&allocations, 1) + 1;
        if (now == at || (on && now > at)) {
            errno = ENOMEM;
            return NULL;
        }
    }
    return __libc_malloc(size);
}
