/* What descriptors, files and watches of them cost. */
#include "maker.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/xattr.h>
#include <signal.h>
#include <time.h>

static void fill(int descriptor) {
    fcntl(descriptor, F_SETPIPE_SZ, 1 << 20);
    fcntl(descriptor, F_SETFL, O_NONBLOCK);
    while (write(descriptor, bytes, 65536) > 0) {
    }
}

static void make_pipe(void) {
    int ends[2];
    while (!pipe(ends)) {
        made++;
        fill(ends[1]);
    }
    stop();
}

static void make_fifo(void) {
    for (long number = 0;; number++) {
        char name[80];
        new_name(name, sizeof name, "fifo", number);
        if (mkfifo(name, 0600)) return stop();
        int end = open(name, O_RDWR | O_NONBLOCK);
        if (!keep(end)) return;
        fill(end);
    }
}

static void make_eventfd(void) {
    while (keep(eventfd(0, 0))) {
    }
}

static void make_timerfd(void) {
    for (;;) {
        int timer = timerfd_create(CLOCK_MONOTONIC, 0);
        if (!keep(timer)) return;
        struct itimerspec often = {{1000, 0}, {1000, 0}};
        timerfd_settime(timer, 0, &often, 0);
    }
}

static void make_signalfd(void) {
    sigset_t all;
    sigfillset(&all);
    while (keep(signalfd(-1, &all, 0))) {
    }
}

static void make_memfd(void) {
    while (keep(memfd_create("x", 0))) {
    }
}

static void make_pidfd(void) {
    while (keep(syscall(SYS_pidfd_open, getpid(), 0))) {
    }
}

/* One entry per file and number: a number that was closed keeps its entry while the file lives. */
static void make_epoll(void) {
    int sets[64], files[64], set_count = 0, file_count = 0, refused = 0;
    while (set_count < 40 && (sets[set_count] = epoll_create1(0)) >= 0) set_count++;
    while (file_count < 60 && (files[file_count] = eventfd(0, 0)) >= 0) file_count++;
    for (int number = 150; number < 250; number++)
        for (int file = 0; file < file_count; file++) {
            if (dup2(files[file], number) < 0) return stop();
            for (int set = 0; set < set_count; set++) {
                struct epoll_event event = {.events = EPOLLIN};
                if (!epoll_ctl(sets[set], EPOLL_CTL_ADD, number, &event)) {
                    made++;
                } else {
                    stop();
                    if (++refused > 10) return;
                }
            }
        }
}

static void make_inotify(void) {
    while (keep(inotify_init1(IN_NONBLOCK))) {
    }
}

static void make_inotify_watch(void) {
    int watcher = inotify_init1(0);
    if (watcher < 0) return stop();
    for (long number = 0;; number++) {
        char name[80];
        int file = new_file("watched", number);
        if (file < 0) return stop();
        close(file);
        new_name(name, sizeof name, "watched", number);
        if (inotify_add_watch(watcher, name, IN_ALL_EVENTS) < 0) return stop();
        made++;
    }
}

/* Events that are never read, with long names. */
static void make_inotify_event(void) {
    char directory[40], name[300];
    int watchers[128], count = 0;
    snprintf(directory, sizeof directory, "events%d", self);
    mkdir(directory, 0700);
    while (count < 128) {
        watchers[count] = inotify_init1(IN_NONBLOCK);
        if (watchers[count] < 0) break;
        inotify_add_watch(watchers[count++], directory, IN_CREATE | IN_DELETE | IN_OPEN | IN_CLOSE);
    }
    for (long number = 0; number < (first ? first : 3000); number++) {
        snprintf(name, sizeof name, "%s/%0200ld", directory, number % 2);
        int file = open(name, O_CREAT | O_WRONLY, 0600);
        if (file < 0) return stop();
        close(file);
        made += count * 2;
    }
}

static void make_dnotify(void) {
    for (long number = 0;; number++) {
        char name[80];
        new_name(name, sizeof name, "noted", number);
        mkdir(name, 0700);
        int directory = open(name, O_RDONLY);
        if (directory < 0) return stop();
        if (fcntl(directory, F_NOTIFY, DN_CREATE | DN_MULTISHOT)) return stop();
        made++;
    }
}

static void make_fasync(void) {
    int ends[2];
    while (!pipe(ends)) {
        fcntl(ends[0], F_SETOWN, getpid());
        if (fcntl(ends[0], F_SETFL, O_ASYNC) || fcntl(ends[1], F_SETFL, O_ASYNC)) return stop();
        made += 2;
    }
    stop();
}

/* Every other byte, from the end of the file: a lock each that merges with none, and none is passed on the way. */
static void lock_bytes(int command) {
    long files = first ? first : 240, locks = second ? second : 800;
    for (long number = 0; number < files; number++) {
        int file = new_file("locked", number);
        if (file < 0) return stop();
        for (long at = locks; at > 0; at--) {
            struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = at * 2, .l_len = 1};
            if (fcntl(file, command, &lock)) return stop();
            made++;
        }
    }
}

static void make_posix_lock(void) { lock_bytes(F_SETLK); }
static void make_ofd_lock(void) { lock_bytes(F_OFD_SETLK); }

static void make_flock(void) {
    for (long number = 0;; number++) {
        int file = new_file("flocked", number);
        if (file < 0 || flock(file, LOCK_EX)) return stop();
        made++;
    }
}

static void make_lease(void) {
    for (long number = 0;; number++) {
        int file = new_file("leased", number);
        if (file < 0 || fcntl(file, F_SETLEASE, F_WRLCK)) return stop();
        made++;
    }
}

/* Names that aren't there, which the kernel remembers. */
static void make_negative(void) {
    for (long number = 0; number < (first ? first : 100000); number++) {
        char name[80];
        snprintf(name, sizeof name, "/usr/lib/no_%d_%ld_%032d", self, number, 0);
        access(name, F_OK);
        made++;
    }
}

static void make_inode(void) {
    for (long number = 0;; number++) {
        char name[300];
        snprintf(name, sizeof name, "%s/%0200ld_%d", number & 1 ? "/tmp" : ".", number, self);
        int file = open(name, O_CREAT | O_WRONLY, 0600);
        if (file < 0) return stop();
        close(file);
        made++;
    }
}

static void make_symlink(void) {
    char target[121];
    memset(target, 'x', 120);
    target[120] = 0;
    for (long number = 0;; number++) {
        char name[80];
        new_name(name, sizeof name, "link", number);
        if (symlink(target, name)) return stop();
        made++;
    }
}

static void make_xattr(void) {
    static const char *const names[] = {"user.x", "security.x", "trusted.x"};
    for (long number = 0;; number++) {
        int file = new_file("attribute", number);
        if (file < 0) return stop();
        for (int name = 0; name < 3; name++) {
            if (!fsetxattr(file, names[name], bytes, 60000, 0)) made++;
            else stop();
        }
        close(file);
        if (made == 0) return;
    }
}

/* Access lists of files and, twice, of directories; smaller ones when the kernel has no room for such long ones. */
static void make_acl(void) {
    static struct {
        uint32_t version;
        struct {
            uint16_t tag, permissions;
            uint32_t id;
        } entries[8192];
    } list = {.version = 2};
    static const uint16_t last_tags[] = {4, 16, 32}; /* the group, the mask, others */
    long wanted = first ? first : 8180;
    for (long number = 0;; number++) {
        char name[80];
        int count = 0;
        list.entries[count].tag = 1; /* the owner */
        list.entries[count].permissions = 7;
        list.entries[count++].id = -1;
        for (long user = 0; user < wanted; user++) {
            list.entries[count].tag = 2;
            list.entries[count].permissions = 7;
            list.entries[count++].id = getuid();
        }
        for (int tag = 0; tag < 3; tag++) {
            list.entries[count].tag = last_tags[tag];
            list.entries[count].permissions = last_tags[tag] == 16 ? 7 : 0;
            list.entries[count++].id = -1;
        }
        size_t size = 4 + 8 * count;
        new_name(name, sizeof name, "list", number);
        if (mkdir(name, 0700)) return stop();
        for (int kind = 0; kind < 2; kind++) {
            const char *attribute = kind ? "system.posix_acl_default" : "system.posix_acl_access";
            if (!setxattr(name, attribute, &list, size, 0)) {
                made++;
                continue;
            }
            stop();
            if (errno != ENOMEM || wanted < 60) return;
            wanted /= 2;
        }
    }
}

/* Files of /proc, each with an inode of its own. */
static void make_proc_open(void) {
    for (;;) {
        int file = open("/proc/self/maps", O_RDONLY);
        if (!keep(file)) return;
        char read_to_here[10];
        if (read(file, read_to_here, sizeof read_to_here) < 0) return stop();
    }
}

static void make_pty(void) {
    for (;;) {
        int master = posix_openpt(O_RDWR | O_NOCTTY);
        if (master < 0) return stop();
        grantpt(master);
        unlockpt(master);
        int terminal = open(ptsname(master), O_RDWR | O_NOCTTY);
        fcntl(master, F_SETFL, O_NONBLOCK);
        fcntl(terminal, F_SETFL, O_NONBLOCK);
        for (int round = 0; round < 20; round++)
            if (write(master, bytes, 4096) < 0 && write(terminal, bytes, 4096) < 0) break;
        made++;
    }
}

const struct maker file_makers[] = {
    {"pipe", make_pipe},
    {"fifo", make_fifo},
    {"eventfd", make_eventfd},
    {"timerfd", make_timerfd},
    {"signalfd", make_signalfd},
    {"memfd", make_memfd},
    {"pidfd", make_pidfd},
    {"epoll", make_epoll},
    {"inotify", make_inotify},
    {"inotify_watch", make_inotify_watch},
    {"inotify_event", make_inotify_event},
    {"dnotify", make_dnotify},
    {"fasync", make_fasync},
    {"posix_lock", make_posix_lock},
    {"ofd_lock", make_ofd_lock},
    {"flock", make_flock},
    {"lease", make_lease},
    {"negative", make_negative},
    {"inode", make_inode},
    {"symlink", make_symlink},
    {"xattr", make_xattr},
    {"acl", make_acl},
    {"proc_open", make_proc_open},
    {"pty", make_pty},
    {0},
};
