/*
 * Faults of a disk and of memory, at the nth call: preloaded into the daemon of a scratch host (LD_PRELOAD), and
 * obeying a page that the scenario writes.
 *
 * Counted are the calls on files below COUNTERSIGN_FAULTS_BELOW: open, read, write, sync, cut, rename, remove, map and
 * allocate; or, on demand, every malloc of the process. Nothing else is touched.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { NONE, INPUT_OUTPUT, NO_SPACE, SHORT, KILL_BEFORE, KILL_AFTER, TORN, DEAD_DISK, NO_MEMORY };

/* The page: numbers first, then the name of the call that was hit. */
struct page {
    _Atomic uint32_t nth, kind, calls, hits;
    char call[16];
};

#define DESCRIPTORS 4096

static struct page *page;
static const char *below;
static _Atomic unsigned char ours[DESCRIPTORS];

static int (*real_open)(const char *, int, ...);
static int (*real_openat)(int, const char *, int, ...);
static int (*real_close)(int);
static ssize_t (*real_read)(int, void *, size_t);
static ssize_t (*real_pread)(int, void *, size_t, off_t);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_ftruncate)(int, off_t);
static int (*real_fallocate)(int, off_t, off_t);
static int (*real_rename)(const char *, const char *);
static int (*real_renameat2)(int, const char *, int, const char *, unsigned);
static int (*real_unlink)(const char *);
static void *(*real_mmap)(void *, size_t, int, int, int, off_t);
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);

/* Other libraries may open and close files before this one is told to begin. */
__attribute__((constructor)) static void begin(void)
{
    if (real_open != NULL)
        return;
    const char *path = getenv("COUNTERSIGN_FAULTS");
    below = getenv("COUNTERSIGN_FAULTS_BELOW");
    real_open = dlsym(RTLD_NEXT, "open64");
    real_openat = dlsym(RTLD_NEXT, "openat64");
    real_close = dlsym(RTLD_NEXT, "close");
    real_read = dlsym(RTLD_NEXT, "read");
    real_pread = dlsym(RTLD_NEXT, "pread64");
    real_write = dlsym(RTLD_NEXT, "write");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
    real_fallocate = dlsym(RTLD_NEXT, "posix_fallocate64");
    real_rename = dlsym(RTLD_NEXT, "rename");
    real_renameat2 = dlsym(RTLD_NEXT, "renameat2");
    real_unlink = dlsym(RTLD_NEXT, "unlink");
    real_mmap = dlsym(RTLD_NEXT, "mmap64");
    if (path == NULL || below == NULL)
        return;
    int file = real_open(path, O_RDWR | O_CLOEXEC);
    if (file < 0)
        abort();
    void *mapped = real_mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    real_close(file);
    if (mapped == MAP_FAILED)
        abort();
    page = mapped;
}

/* The fault that befalls this call, if it is its turn. */
static uint32_t turn(const char *call)
{
    if (page == NULL)
        return NONE;
    uint32_t nth = atomic_load(&page->nth), kind = atomic_load(&page->kind);
    if (nth == 0 || (kind == NO_MEMORY) != (strcmp(call, "malloc") == 0))
        return NONE;
    uint32_t count = atomic_fetch_add(&page->calls, 1) + 1;
    if (count < nth || (count > nth && kind != DEAD_DISK))
        return NONE;
    if (atomic_fetch_add(&page->hits, 1) == 0)
        strncpy(page->call, call, sizeof page->call - 1);
    if (kind == KILL_BEFORE)
        raise(SIGKILL);
    return kind;
}

/* After a call that was done. */
static void done(uint32_t fault)
{
    if (fault == KILL_AFTER || fault == TORN)
        raise(SIGKILL);
}

static int fails(uint32_t fault)
{
    if (fault == INPUT_OUTPUT || fault == DEAD_DISK)
        errno = EIO;
    else if (fault == NO_SPACE)
        errno = ENOSPC;
    else
        return 0;
    return 1;
}

static int is_below(const char *path)
{
    begin();
    return page != NULL && path != NULL && strncmp(path, below, strlen(below)) == 0;
}

static int is_ours(int file)
{
    begin();
    return file >= 0 && file < DESCRIPTORS && atomic_load(&ours[file]);
}

static void remember(int file, int it_is)
{
    begin();
    if (file >= 0 && file < DESCRIPTORS)
        atomic_store(&ours[file], (unsigned char)it_is);
}

static size_t cut(uint32_t fault, size_t length)
{
    return (fault == SHORT || fault == TORN) && length > 1 ? length / 2 : length;
}

#define AROUND(CALL, MINE, RESULT, WORK)                                                                               \
    uint32_t fault = (MINE) ? turn(CALL) : NONE;                                                                       \
    if (fails(fault))                                                                                                  \
        return RESULT;                                                                                                 \
    __typeof__(WORK) result = WORK;                                                                                    \
    done(fault);                                                                                                       \
    return result

static int open_any(int directory, const char *path, int flags, mode_t mode)
{
    int mine = is_below(path);
    uint32_t fault = mine ? turn("open") : NONE;
    if (fails(fault))
        return -1;
    int file = directory == AT_FDCWD ? real_open(path, flags, mode) : real_openat(directory, path, flags, mode);
    remember(file, mine);
    done(fault);
    return file;
}

#define OPEN(NAME)                                                                                                     \
    int NAME(const char *path, int flags, ...)                                                                         \
    {                                                                                                                  \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0;                                      \
        va_end(rest);                                                                                                  \
        return open_any(AT_FDCWD, path, flags, mode);                                                                  \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(NAME)                                                                                                   \
    int NAME(int directory, const char *path, int flags, ...)                                                          \
    {                                                                                                                  \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0;                                      \
        va_end(rest);                                                                                                  \
        return open_any(directory, path, flags, mode);                                                                 \
    }
OPENAT(openat)
OPENAT(openat64)

int close(int file)
{
    remember(file, 0);
    return real_close(file);
}

ssize_t read(int file, void *bytes, size_t length)
{
    AROUND("read", is_ours(file), -1, real_read(file, bytes, cut(fault, length)));
}

ssize_t pread64(int file, void *bytes, size_t length, off_t at)
{
    AROUND("pread", is_ours(file), -1, real_pread(file, bytes, length, at));
}

ssize_t write(int file, const void *bytes, size_t length)
{
    AROUND("write", is_ours(file), -1, real_write(file, bytes, cut(fault, length)));
}

ssize_t pwrite64(int file, const void *bytes, size_t length, off_t at)
{
    AROUND("pwrite", is_ours(file), -1, real_pwrite(file, bytes, cut(fault, length), at));
}

int fsync(int file)
{
    AROUND("fsync", is_ours(file), -1, real_fsync(file));
}

int fdatasync(int file)
{
    AROUND("fdatasync", is_ours(file), -1, real_fdatasync(file));
}

int ftruncate64(int file, off_t length)
{
    AROUND("ftruncate", is_ours(file), -1, real_ftruncate(file, length));
}

/* Its error is its result. */
int posix_fallocate64(int file, off_t at, off_t length)
{
    AROUND("fallocate", is_ours(file), errno, real_fallocate(file, at, length));
}

int rename(const char *from, const char *to)
{
    AROUND("rename", is_below(from) || is_below(to), -1, real_rename(from, to));
}

int renameat2(int from_in, const char *from, int to_in, const char *to, unsigned flags)
{
    AROUND("renameat2", is_below(from) || is_below(to), -1, real_renameat2(from_in, from, to_in, to, flags));
}

int unlink(const char *path)
{
    AROUND("unlink", is_below(path), -1, real_unlink(path));
}

void *mmap64(void *at, size_t length, int protection, int flags, int file, off_t from)
{
    AROUND("mmap", is_ours(file), MAP_FAILED, real_mmap(at, length, protection, flags, file, from));
}

/* On this system off_t has 64 bits, and both names are one function. */
ssize_t pread(int, void *, size_t, off_t) __attribute__((alias("pread64")));
ssize_t pwrite(int, const void *, size_t, off_t) __attribute__((alias("pwrite64")));
int ftruncate(int, off_t) __attribute__((alias("ftruncate64")));
void *mmap(void *, size_t, int, int, int, off_t) __attribute__((alias("mmap64")));
int posix_fallocate(int, off_t, off_t) __attribute__((alias("posix_fallocate64")));

void *malloc(size_t size)
{
    if (turn("malloc") == NO_MEMORY) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    if (turn("malloc") == NO_MEMORY) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
    if (turn("malloc") == NO_MEMORY) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_realloc(old, size);
}
