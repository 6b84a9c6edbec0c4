/* Loaded before the C library: system calls on chosen files fail, or do only a part of what was asked for.
 *
 * In this process, by ctypes:  fail_arm(calls, part, at, error, sticky), fail_seen().
 *   calls    names that are meant, of: open read pread write fsync close fstat stat mmap mkdir rename unlink ftruncate
 *   part     part of the path of the files that are meant
 *   at       the call that fails, counted from 1; sticky: and all after it; 0: none, they are counted only
 *   error    an errno; 0: a read or write does half of what was asked for, at least one byte;
 *            less than 0: the signal -error ends the process, before the call, or if sticky when a write has done half of it
 *
 * In forked children (the workers of a comparison), by the environment:
 *   FAIL_SIGNAL   the signal that a child sends to itself when it opens a file with
 *   FAIL_PATH     this in its path
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static char wanted_calls[256], wanted_part[PATH_MAX];
static long wanted_at;
static int wanted_error, is_sticky;
static atomic_int is_armed;
static atomic_long seen;
static pid_t loaded_in;

__attribute__((constructor)) static void on_load(void) { loaded_in = getpid(); }

void fail_arm(const char *calls, const char *part, long at, int error, int sticky) {
    atomic_store(&is_armed, 0);
    snprintf(wanted_calls, sizeof wanted_calls, " %s ", calls);
    snprintf(wanted_part, sizeof wanted_part, "%s", part);
    wanted_at = at;
    wanted_error = error;
    is_sticky = sticky;
    atomic_store(&seen, 0);
    atomic_store(&is_armed, calls[0] != '\0');
}

long fail_seen(void) { return atomic_load(&seen); }

/* Both the name and the file or directory behind a descriptor count. */
static int is_meant(int file, const char *name) {
    char link[64], path[PATH_MAX];
    if (name != NULL && strstr(name, wanted_part) != NULL) {
        return 1;
    }
    if (file < 0) {
        return 0;
    }
    int error = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t size = readlink(link, path, sizeof path - 1);
    errno = error;
    if (size < 0) {
        return 0;
    }
    path[size] = '\0';
    return strstr(path, wanted_part) != NULL;
}

/* True if this call is to fail; errno is set then, unless it is to do a part only. */
static int fails(const char *call, int file, const char *name) {
    char word[32];
    if (!atomic_load(&is_armed)) {
        return 0;
    }
    snprintf(word, sizeof word, " %s ", call);
    if (strstr(wanted_calls, word) == NULL || !is_meant(file, name)) {
        return 0;
    }
    long now = atomic_fetch_add(&seen, 1) + 1;
    if (wanted_at == 0 || now < wanted_at || (!is_sticky && now > wanted_at)) {
        return 0;
    }
    if (wanted_error < 0 && !is_sticky) {
        kill(getpid(), -wanted_error);
    }
    if (wanted_error > 0) {
        errno = wanted_error;
    }
    return 1;
}

static void act_on_open(const char *name) {
    const char *number = getenv("FAIL_SIGNAL"), *part = getenv("FAIL_PATH");
    if (number != NULL && part != NULL && getpid() != loaded_in && strstr(name, part) != NULL) {
        kill(getpid(), atoi(number));
    }
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define HALF(size) ((size) > 1 ? (size) / 2 : (size))

#define OPEN(function)                                                         \
    int function(const char *name, int flags, ...) {                           \
        va_list arguments;                                                     \
        va_start(arguments, flags);                                            \
        mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0; \
        va_end(arguments);                                                     \
        act_on_open(name);                                                     \
        return fails("open", -1, name) ? -1 : REAL(function)(name, flags, mode); \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(function)                                                       \
    int function(int directory, const char *name, int flags, ...) {            \
        va_list arguments;                                                     \
        va_start(arguments, flags);                                            \
        mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0; \
        va_end(arguments);                                                     \
        return fails("open", directory, name) ? -1 : REAL(function)(directory, name, flags, mode); \
    }
OPENAT(openat)
OPENAT(openat64)

#define PREAD(function, offset_type)                                           \
    ssize_t function(int file, void *into, size_t size, offset_type offset) {  \
        if (fails("pread", file, NULL)) {                                      \
            return wanted_error != 0 ? -1 : REAL(function)(file, into, HALF(size), offset); \
        }                                                                      \
        return REAL(function)(file, into, size, offset);                       \
    }
PREAD(pread, off_t)
PREAD(pread64, off64_t)

/* The one vector of a preadv, shortened. */
#define PREADV(function, offset_type)                                          \
    ssize_t function(int file, const struct iovec *parts, int count, offset_type offset, int flags) { \
        if (fails("pread", file, NULL)) {                                      \
            struct iovec one = {parts[0].iov_base, HALF(parts[0].iov_len)};    \
            return wanted_error != 0 ? -1 : REAL(function)(file, &one, 1, offset, flags); \
        }                                                                      \
        return REAL(function)(file, parts, count, offset, flags);              \
    }
PREADV(preadv2, off_t)
PREADV(preadv64v2, off64_t)

ssize_t read(int file, void *into, size_t size) {
    if (fails("read", file, NULL)) {
        return wanted_error != 0 ? -1 : REAL(read)(file, into, HALF(size));
    }
    return REAL(read)(file, into, size);
}

ssize_t write(int file, const void *data, size_t size) {
    if (fails("write", file, NULL)) {
        if (wanted_error > 0) {
            return -1;
        }
        ssize_t done = REAL(write)(file, data, HALF(size));
        if (wanted_error < 0) {
            kill(getpid(), -wanted_error);
        }
        return done;
    }
    return REAL(write)(file, data, size);
}

ssize_t writev(int file, const struct iovec *parts, int count) {
    if (fails("write", file, NULL)) {
        struct iovec one = {parts[0].iov_base, HALF(parts[0].iov_len)};
        return wanted_error != 0 ? -1 : REAL(writev)(file, &one, 1);
    }
    return REAL(writev)(file, parts, count);
}

int fsync(int file) { return fails("fsync", file, NULL) ? -1 : REAL(fsync)(file); }

int close(int file) {
    int failed = fails("close", file, NULL), error = errno;
    int done = REAL(close)(file);
    if (failed) {
        errno = error;
    }
    return failed ? -1 : done;
}

int fstat(int file, struct stat *status) { return fails("fstat", file, NULL) ? -1 : REAL(fstat)(file, status); }
int fstat64(int file, struct stat64 *status) { return fails("fstat", file, NULL) ? -1 : REAL(fstat64)(file, status); }
int stat(const char *name, struct stat *status) { return fails("stat", -1, name) ? -1 : REAL(stat)(name, status); }
int stat64(const char *name, struct stat64 *status) { return fails("stat", -1, name) ? -1 : REAL(stat64)(name, status); }

void *mmap(void *at, size_t size, int protection, int flags, int file, off_t offset) {
    return file >= 0 && fails("mmap", file, NULL) ? MAP_FAILED : REAL(mmap)(at, size, protection, flags, file, offset);
}
void *mmap64(void *at, size_t size, int protection, int flags, int file, off64_t offset) {
    return file >= 0 && fails("mmap", file, NULL) ? MAP_FAILED : REAL(mmap64)(at, size, protection, flags, file, offset);
}

int mkdir(const char *name, mode_t mode) { return fails("mkdir", -1, name) ? -1 : REAL(mkdir)(name, mode); }
int mkdirat(int directory, const char *name, mode_t mode) {
    return fails("mkdir", directory, name) ? -1 : REAL(mkdirat)(directory, name, mode);
}
int renameat(int from, const char *before, int to, const char *after) {
    return fails("rename", to, after) ? -1 : REAL(renameat)(from, before, to, after);
}
int rename(const char *before, const char *after) { return fails("rename", -1, after) ? -1 : REAL(rename)(before, after); }
int unlink(const char *name) { return fails("unlink", -1, name) ? -1 : REAL(unlink)(name); }
int ftruncate(int file, off_t size) { return fails("ftruncate", file, NULL) ? -1 : REAL(ftruncate)(file, size); }
int ftruncate64(int file, off64_t size) { return fails("ftruncate", file, NULL) ? -1 : REAL(ftruncate64)(file, size); }
