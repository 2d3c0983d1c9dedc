// LD_PRELOAD library for the tests: a disk that fails when it is told to, and a clock that is wrong.
//
//   FAULT_DISK_BELOW  folder whose files fail, absolute, without symbolic links
//   FAULT_DISK        file that says how, `<errno> <operations>`: w writes and new files, s syncs, r reads;
//                     while it is not there the disk works
//   FAULT_CLOCK       file that says by how many seconds the time of day is off; not the monotonic clock, which no
//                     adjustment of the time moves either
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

// What the file that the variable names says; 0 if there is none. By system calls: the functions are replaced here.
static int told(const char *variable, char *text, size_t size) {
    const char *path = getenv(variable);
    if (!path)
        return 0;
    int before = errno, fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    ssize_t length = fd < 0 ? -1 : syscall(SYS_read, fd, text, size - 1);
    if (fd >= 0)
        syscall(SYS_close, fd);
    errno = before;
    if (length <= 0)
        return 0;
    text[length] = 0;
    return 1;
}

static int is_below(const char *path) {
    const char *folder = getenv("FAULT_DISK_BELOW");
    size_t length = folder ? strlen(folder) : 0;
    return length > 0 && strncmp(path, folder, length) == 0 && path[length] == '/';
}

// The error that this operation meets on this path now; 0 for none.
static int fails(const char *path, char operation) {
    char text[64], *operations;
    if (!is_below(path) || !told("FAULT_DISK", text, sizeof text))
        return 0;
    long error = strtol(text, &operations, 10);
    return strchr(operations, operation) ? (int)error : 0;
}

static int fails_fd(int fd, char operation) {
    char link[64], path[PATH_MAX];
    if (!getenv("FAULT_DISK_BELOW"))
        return 0;
    int before = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = before;
    if (length < 0)
        return 0;
    path[length] = 0;
    return fails(path, operation);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define FAILING(operation, type, name, parameters, ...)     \
    type name parameters {                                  \
        int error = fails_fd(fd, operation);                \
        if (error) {                                        \
            errno = error;                                  \
            return -1;                                      \
        }                                                   \
        return REAL(name)(__VA_ARGS__);                     \
    }

FAILING('w', ssize_t, write, (int fd, const void *from, size_t count), fd, from, count)
FAILING('w', ssize_t, pwrite, (int fd, const void *from, size_t count, off_t at), fd, from, count, at)
FAILING('w', ssize_t, pwrite64, (int fd, const void *from, size_t count, off64_t at), fd, from, count, at)
FAILING('w', ssize_t, writev, (int fd, const struct iovec *from, int count), fd, from, count)
FAILING('w', int, ftruncate, (int fd, off_t length), fd, length)
FAILING('w', int, ftruncate64, (int fd, off64_t length), fd, length)
FAILING('w', int, fallocate, (int fd, int mode, off_t at, off_t length), fd, mode, at, length)
FAILING('w', int, fallocate64, (int fd, int mode, off64_t at, off64_t length), fd, mode, at, length)
FAILING('s', int, fsync, (int fd), fd)
FAILING('s', int, fdatasync, (int fd), fd)
FAILING('r', ssize_t, read, (int fd, void *to, size_t count), fd, to, count)
FAILING('r', ssize_t, pread, (int fd, void *to, size_t count, off_t at), fd, to, count, at)
FAILING('r', ssize_t, pread64, (int fd, void *to, size_t count, off64_t at), fd, to, count, at)

#define OPENING(name)                                                          \
    int name(const char *path, int flags, ...) {                               \
        va_list more;                                                          \
        va_start(more, flags);                                                 \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; \
        va_end(more);                                                          \
        int error = flags & (O_CREAT | O_WRONLY | O_RDWR) ? fails(path, 'w') : 0; \
        if (error) {                                                           \
            errno = error;                                                     \
            return -1;                                                         \
        }                                                                      \
        return REAL(name)(path, flags, mode);                                  \
    }

OPENING(open)
OPENING(open64)

int rename(const char *from, const char *to) {
    int error = fails(to, 'w');
    if (error) {
        errno = error;
        return -1;
    }
    return REAL(rename)(from, to);
}

static long long clock_is_off_s(void) {
    char text[64];
    return told("FAULT_CLOCK", text, sizeof text) ? strtoll(text, NULL, 10) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int result = syscall(SYS_clock_gettime, clock, time);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        time->tv_sec += clock_is_off_s();
    return result;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    struct timespec now;
    (void)zone;
    int result = clock_gettime(CLOCK_REALTIME, &now);
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return result;
}

time_t time(time_t *to) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (to)
        *to = now.tv_sec;
    return now.tv_sec;
}
