// LD_PRELOAD library for the tests: notes which length of which file a successful sync has put on the disk.
//
//   SYNCED_SIZES_BELOW  folder whose regular files are watched, absolute, without symbolic links
//   SYNCED_SIZES_LOG    a line per sync: order, inode, birth time in ns, length in bytes
//   SYNCED_SIZES_LIE    end of the names of files whose syncs say that they succeeded, do nothing and note nothing
//
// A file is named by inode and birth time: so the note follows it through rename and link, and a new file of the
// same name, or in the same inode, has none. Only fsync and fdatasync count: sync_file_range(2) promises nothing
// after a power cut, and what msync put there is forgotten here, which is harsher than the truth.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_mutex_t order_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned long long last_order;

struct note {
    int watched, lied;
    unsigned long long order, inode, born_ns, length;
};

static _Noreturn void fail(const char *what) {
    // A harness that cannot note a sync must not let the program believe in it.
    fprintf(stderr, "synced_sizes: %s: %s\n", what, strerror(errno));
    abort();
}

static int is_below(int fd, int *lied) {
    const char *folder = getenv("SYNCED_SIZES_BELOW"), *lie = getenv("SYNCED_SIZES_LIE");
    char link[64], path[PATH_MAX];
    if (!folder)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    size_t prefix = strlen(folder), end = lie ? strlen(lie) : 0;
    *lied = end > 0 && end <= (size_t)length && strcmp(path + length - end, lie) == 0;
    return strncmp(path, folder, prefix) == 0 && path[prefix] == '/';
}

// Before the sync: what is written while it runs may miss it. The order tells later which note is the newer one.
static struct note look(int fd) {
    struct note note = {0};
    struct statx file;
    if (!is_below(fd, &note.lied))
        return note;
    pthread_mutex_lock(&order_lock);
    note.order = ++last_order;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, &file) != 0)
        fail("statx");
    pthread_mutex_unlock(&order_lock);
    note.watched = S_ISREG(file.stx_mode);
    note.inode = file.stx_ino;
    note.born_ns = (unsigned long long)file.stx_btime.tv_sec * 1000000000ULL + file.stx_btime.tv_nsec;
    note.length = file.stx_size;
    return note;
}

static void keep(const struct note *note) {
    const char *path = getenv("SYNCED_SIZES_LOG");
    char line[128];
    if (!note->watched)
        return;
    int length = snprintf(line, sizeof line, "%llu %llu %llu %llu\n", note->order, note->inode, note->born_ns, note->length);
    int log = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
    if (log < 0 || write(log, line, length) != length)
        fail("its log");
    close(log);
}

static int observed(const char *name, int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    if (!real)
        fail(name);
    struct note note = look(fd);
    if (note.watched && note.lied)
        return 0;
    int result = real(fd);
    int error = errno;
    if (result == 0)
        keep(&note);
    errno = error;
    return result;
}

int fsync(int fd) { return observed("fsync", fd); }

int fdatasync(int fd) { return observed("fdatasync", fd); }
