/* Makes kernel objects of one kind in some processes until no more are allowed, says how many, and holds them until
 * SIGUSR1 comes, or for the time that it is given; SIGTERM ends them at once.
 * arguments: kind, processes, seconds to hold, and two numbers that mean something to some kinds. A line of the output
 * is a process: its number, how many it made, and why it made no more. With `calibrate` alone it says how fast this
 * machine is. */
#include "maker.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

long made, first, second;
int self;
char bytes[1 << 17];

static const char *why = "flat";

void stop(void) { why = strerrorname_np(errno); }

int keep(int descriptor) {
    if (descriptor < 0) {
        stop();
        return 0;
    }
    made++;
    return 1;
}

void new_name(char *name, size_t size, const char *kind, long number) {
    snprintf(name, size, "%s/%s_%d_%ld", number & 1 ? "/tmp" : ".", kind, self, number);
}

int new_file(const char *kind, long number) {
    char name[80];
    new_name(name, sizeof name, kind, number);
    return open(name, O_RDWR | O_CREAT, 0600);
}

static const struct maker *find(const char *name) {
    static const struct maker *const lists[] = {file_makers,    ipc_makers,    memory_makers,
                                                process_makers, option_makers, socket_makers};
    for (unsigned list = 0; list < sizeof lists / sizeof *lists; list++)
        for (const struct maker *maker = lists[list]; maker->name; maker++)
            if (!strcmp(maker->name, name)) return maker;
    return 0;
}

static void over(int signal) { (void)signal; }

/* The meter has seen enough. */
static void end(int signal) {
    (void)signal;
    dprintf(1, "%d: %ld ENOUGH\n", self, made);
    _exit(0);
}

/* Microseconds of CPU time that the same harmless calls take wherever this runs. */
static int calibrate(void) {
    for (int round = 0; round < 20000; round++) {
        int ends[2];
        if (pipe(ends) || write(ends[1], bytes, 4096) != 4096) return 1;
        close(ends[0]);
        close(ends[1]);
    }
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    printf("%ld\n", used.tv_sec * 1000000 + used.tv_nsec / 1000);
    return 0;
}

int main(int count, char **words) {
    if (count == 2 && !strcmp(words[1], "calibrate")) return calibrate();
    const struct maker *maker = count > 1 ? find(words[1]) : 0;
    if (!maker) {
        fprintf(stderr, "no kind %s\n", count > 1 ? words[1] : "given");
        return 64;
    }
    int processes = count > 2 ? atoi(words[2]) : 1, hold = count > 3 ? atoi(words[3]) : 8;
    first = count > 4 ? atol(words[4]) : 0;
    second = count > 5 ? atol(words[5]) : 0;
    setvbuf(stdout, 0, _IOLBF, 4096);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    /* Waited for by sigsuspend, so that one that comes early isn't lost. */
    sigset_t ends, others;
    sigemptyset(&ends);
    sigaddset(&ends, SIGUSR1);
    sigaddset(&ends, SIGALRM);
    sigprocmask(SIG_BLOCK, &ends, 0);
    sigfillset(&others);
    sigdelset(&others, SIGUSR1);
    sigdelset(&others, SIGALRM);
    struct sigaction action = {.sa_handler = over};
    sigaction(SIGUSR1, &action, 0);
    sigaction(SIGALRM, &action, 0);
    int making[2]; /* its end comes when no process makes any more */
    if (pipe(making)) return 70;
    for (self = 0; self < processes; self++) {
        int child = fork();
        if (child < 0) {
            printf("%d: 0 fork %s\n", self, strerrorname_np(errno));
            break;
        }
        if (child == 0) {
            signal(SIGTERM, end);
            maker->make();
            signal(SIGTERM, SIG_IGN); /* it says once how many */
            printf("%d: %ld %s\n", self, made, why);
            close(making[1]);
            alarm(hold);
            sigsuspend(&others);
            return 0;
        }
    }
    close(making[1]);
    while (read(making[0], bytes, 1) < 0 && errno == EINTR) {
    }
    prctl(PR_SET_NAME, "census held"); /* what the meter looks for */
    while (wait(0) > 0 || errno == EINTR) {
    }
    return 0;
}
