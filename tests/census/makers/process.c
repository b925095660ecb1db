/* What processes and threads, and what is kept for them, cost. */
#include "maker.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>

static void make_null(void) {}

static void *sleep_on(void *nothing) {
    pause();
    return nothing;
}

static void make_thread(void) {
    pthread_attr_t small;
    pthread_t thread;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 16384);
    while (!(errno = pthread_create(&thread, &small, sleep_on, 0))) made++;
    stop();
}

/* The list itself is the program's memory; the kernel only knows where it begins. */
static void make_robust_list(void) {
    static struct {
        void *next;
        long offset;
        void *pending;
    } list = {&list, 0, 0};
    if (syscall(SYS_set_robust_list, &list, sizeof list)) return stop();
    made++;
}

/* Whatever of prctl takes a value and no privilege. */
static void make_prctl(void) {
    static const int settings[][2] = {{PR_SET_NAME, 0},     {PR_SET_PDEATHSIG, SIGTERM}, {PR_SET_DUMPABLE, 1},
                                      {PR_SET_KEEPCAPS, 0}, {PR_SET_TIMERSLACK, 1},      {PR_SET_CHILD_SUBREAPER, 1},
                                      {PR_SET_THP_DISABLE, 1}};
    for (unsigned setting = 0; setting < sizeof settings / sizeof *settings; setting++) {
        long value = settings[setting][0] == PR_SET_NAME ? (long)"census" : settings[setting][1];
        if (prctl(settings[setting][0], value, 0, 0, 0)) stop();
        else made++;
    }
}

static void make_rt_signal(void) {
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, 0);
    union sigval nothing = {0};
    while (!sigqueue(getpid(), SIGRTMIN + 1, nothing)) made++;
    stop();
}

static void make_posix_timer(void) {
    struct sigevent silent = {.sigev_notify = SIGEV_NONE};
    timer_t timer;
    while (!timer_create(CLOCK_MONOTONIC, &silent, &timer)) made++;
    stop();
}

static void make_seccomp(void) {
    static struct sock_filter code[4096];
    int length = first ? first : 4000;
    for (int line = 0; line < length - 1; line++) code[line] = (struct sock_filter)BPF_STMT(BPF_ALU | BPF_XOR | BPF_K, 3);
    code[length - 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {length, code};
    while (!second || made < second) {
        if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) return stop();
        made++;
    }
}

static void make_landlock(void) {
    struct {
        uint64_t files, network;
    } handled = {0x1fff, 0};
    while (keep(syscall(SYS_landlock_create_ruleset, &handled, 8, 0))) {
    }
}

/* Rules by the number, one a file. */
static void make_landlock_rule(void) {
    struct {
        uint64_t files, network;
    } handled = {0x1fff, 0};
    struct {
        uint64_t allowed;
        int parent;
    } __attribute__((packed)) rule = {4, -1};
    int set = syscall(SYS_landlock_create_ruleset, &handled, 8, 0);
    if (set < 0) return stop();
    for (long number = 0;; number++) {
        rule.parent = new_file("ruled", number);
        if (rule.parent < 0 || syscall(SYS_landlock_add_rule, set, 1, &rule, 0)) return stop();
        close(rule.parent);
        made++;
    }
}

const struct maker process_makers[] = {
    {"null", make_null},
    {"thread", make_thread},
    {"robust_list", make_robust_list},
    {"prctl", make_prctl},
    {"rt_signal", make_rt_signal},
    {"posix_timer", make_posix_timer},
    {"seccomp", make_seccomp},
    {"landlock", make_landlock},
    {"landlock_rule", make_landlock_rule},
    {0},
};
