/*
 * What a server gets instead of its system calls when `starling-conformance faults` puts a library made of
 * this before it (LD_PRELOAD): a disk that forgets what was not synced, that lies about it or that is full,
 * and a clock that jumps.
 *
 * FAULTS_CONTROL names a file that holds a `struct control`; it is read at every call, so a fault begins and
 * ends while the server runs. FAULTS_FILES is what the path of a file has in it that the faults are about.
 * Every write to such a file goes to FAULTS_LOG, with what stood there before, and every sync after it was
 * done: whoever reads the log knows what a cut of the power may take.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* As conformance/src/faults/shim.rs writes it. */
struct control {
    int64_t full;     /* whether there is no room for one byte more */
    int64_t lies;     /* whether a sync does nothing and says that it did */
    int64_t clock_ms; /* how far the clock is ahead */
};

/* As conformance/src/faults/disk.rs reads it: the path, the bytes before and the bytes after follow. */
struct record {
    uint32_t kind; /* 1 write, 2 truncate, 3 sync, 4 unlink */
    uint32_t path;
    uint64_t offset; /* of a write, or the new end of the file */
    uint64_t before; /* how many bytes stood there */
    uint64_t after;  /* how many bytes were written */
    uint64_t size;   /* of the file before */
};

enum { WRITE = 1, TRUNCATE, SYNC, UNLINK };

#define FILES 4096

static struct control nothing;
static volatile struct control *control = &nothing;
static const char *watched_part;
static int log_fd = -1;
static char *paths[FILES];
static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAULTS_CONTROL");
    int fd = path ? syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0) : -1;
    if (fd >= 0) {
        void *map = mmap(NULL, sizeof *control, PROT_READ, MAP_SHARED, fd, 0);
        if (map != MAP_FAILED) control = map;
        syscall(SYS_close, fd);
    }
    watched_part = getenv("FAULTS_FILES");
    path = getenv("FAULTS_LOG");
    if (path) log_fd = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
}

static int is_watched(const char *path) {
    size_t length = strlen(path);
    /* Memory that processes share, which no power loss leaves anything of. */
    int is_shared = length > 4 && strcmp(path + length - 4, "-shm") == 0;
    return watched_part && strstr(path, watched_part) && !is_shared;
}

static int opened(int fd, const char *path) {
    if (fd >= 0 && fd < FILES && is_watched(path)) {
        char *name = strdup(path);
        pthread_mutex_lock(&order);
        paths[fd] = name;
        pthread_mutex_unlock(&order);
    }
    return fd;
}

static const char *path_of(int fd) { return fd >= 0 && fd < FILES ? paths[fd] : NULL; }

static uint64_t size_of(int fd) {
    struct stat found;
    return fstat(fd, &found) == 0 ? (uint64_t)found.st_size : 0;
}

static void put(struct iovec *parts, int count) {
    while (count > 0) {
        ssize_t done = syscall(SYS_writev, log_fd, parts, count);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) abort();
        while (count > 0 && (size_t)done >= parts->iov_len) {
            done -= parts->iov_len;
            parts++;
            count--;
        }
        if (count > 0) {
            parts->iov_base = (char *)parts->iov_base + done;
            parts->iov_len -= done;
        }
    }
}

/* Notes what is about to happen to a file. The caller holds `order`. */
static void note(int kind, int fd, const char *path, const void *data, size_t length, off_t offset) {
    if (log_fd < 0) return;
    int kept = errno;
    struct record record = {.kind = kind, .path = strlen(path), .offset = offset, .after = length};
    char *before = NULL;
    if (kind == WRITE || kind == TRUNCATE) {
        record.size = size_of(fd);
        size_t beyond = record.size > record.offset ? record.size - record.offset : 0;
        size_t wanted = kind == WRITE ? length : beyond;
        before = malloc(wanted + 1);
        ssize_t found = before ? syscall(SYS_pread64, fd, before, wanted, offset) : -1;
        /* It was opened for writing only, or there is no memory: nothing here does that. */
        if (found < 0) abort();
        record.before = found;
    }
    struct iovec parts[] = {
        {&record, sizeof record}, {(void *)path, record.path}, {before, record.before}, {(void *)data, length},
    };
    put(parts, 4);
    free(before);
    errno = kept;
}

static ssize_t write_at(int fd, const void *data, size_t length, off_t offset) {
    const char *path = path_of(fd);
    if (!path) return syscall(SYS_pwrite64, fd, data, length, offset);
    pthread_mutex_lock(&order);
    ssize_t done = -1;
    if (control->full && (uint64_t)offset + length > size_of(fd)) {
        errno = ENOSPC;
    } else {
        note(WRITE, fd, path, data, length, offset);
        done = syscall(SYS_pwrite64, fd, data, length, offset);
    }
    pthread_mutex_unlock(&order);
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) { return write_at(fd, data, length, offset); }
ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) { return write_at(fd, data, length, offset); }

ssize_t write(int fd, const void *data, size_t length) {
    if (!path_of(fd)) return syscall(SYS_write, fd, data, length);
    int appends = fcntl(fd, F_GETFL) & O_APPEND;
    off_t offset = syscall(SYS_lseek, fd, 0, appends ? SEEK_END : SEEK_CUR);
    ssize_t done = write_at(fd, data, length, offset);
    if (done > 0) syscall(SYS_lseek, fd, offset + done, SEEK_SET);
    return done;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    if (!path_of(fd) || count < 1) return syscall(SYS_writev, fd, parts, count);
    return write(fd, parts->iov_base, parts->iov_len);
}

static int resize(int fd, off_t length) {
    const char *path = path_of(fd);
    if (!path) return syscall(SYS_ftruncate, fd, length);
    pthread_mutex_lock(&order);
    int done = -1;
    if (control->full && (uint64_t)length > size_of(fd)) {
        errno = ENOSPC;
    } else {
        note(TRUNCATE, fd, path, NULL, 0, length);
        done = syscall(SYS_ftruncate, fd, length);
    }
    pthread_mutex_unlock(&order);
    return done;
}

int ftruncate(int fd, off_t length) { return resize(fd, length); }
int ftruncate64(int fd, off64_t length) { return resize(fd, length); }

static int allocate(int fd, off_t offset, off_t length) {
    if (!path_of(fd)) return syscall(SYS_fallocate, fd, 0, offset, length) == 0 ? 0 : errno;
    return EOPNOTSUPP;
}

int posix_fallocate(int fd, off_t offset, off_t length) { return allocate(fd, offset, length); }
int posix_fallocate64(int fd, off64_t offset, off64_t length) { return allocate(fd, offset, length); }

/*
 * The mutex is held from before the sync until it is noted, so that no write comes between that the sync did
 * not wait for. Nothing is made durable in truth: the power that is cut is no power.
 */
static int sync_file(int fd, long call) {
    const char *path = path_of(fd);
    if (!path) return syscall(call, fd);
    pthread_mutex_lock(&order);
    if (!control->lies) note(SYNC, fd, path, NULL, 0, 0);
    pthread_mutex_unlock(&order);
    return 0;
}

int fsync(int fd) { return sync_file(fd, SYS_fsync); }
int fdatasync(int fd) { return sync_file(fd, SYS_fdatasync); }

int unlink(const char *path) {
    int done = syscall(SYS_unlink, path);
    if (done == 0 && is_watched(path)) {
        pthread_mutex_lock(&order);
        note(UNLINK, -1, path, NULL, 0, 0);
        pthread_mutex_unlock(&order);
    }
    return done;
}

static int open_at(int directory, const char *path, int flags, mode_t mode) {
    /* What is noted has to be read before it is overwritten. */
    if ((flags & O_ACCMODE) == O_WRONLY && is_watched(path)) flags = (flags & ~O_ACCMODE) | O_RDWR;
    return opened(syscall(SYS_openat, directory, path, flags, mode), path);
}

#define OPEN(name, before, directory)                              \
    int name(before const char *path, int flags, ...) {            \
        va_list more;                                              \
        va_start(more, flags);                                     \
        mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(more, int) : 0; \
        va_end(more);                                              \
        return open_at(directory, path, flags, mode);              \
    }
#define WITH_DIRECTORY int directory,
OPEN(open, , AT_FDCWD)
OPEN(open64, , AT_FDCWD)
OPEN(openat, WITH_DIRECTORY, directory)
OPEN(openat64, WITH_DIRECTORY, directory)

int close(int fd) {
    if (path_of(fd)) {
        pthread_mutex_lock(&order);
        free(paths[fd]);
        paths[fd] = NULL;
        pthread_mutex_unlock(&order);
    }
    return syscall(SYS_close, fd);
}

static void ahead(struct timespec *time) {
    int64_t ns = time->tv_sec * INT64_C(1000000000) + time->tv_nsec + control->clock_ms * 1000000;
    time->tv_sec = ns / 1000000000;
    time->tv_nsec = ns % 1000000000;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int done = syscall(SYS_clock_gettime, clock, time);
    if (done == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) ahead(time);
    return done;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec time;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &time) != 0) return -1;
    now->tv_sec = time.tv_sec;
    now->tv_usec = time.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out) {
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}
