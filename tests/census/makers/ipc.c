/* What System V and POSIX objects between processes cost. */
#include "maker.h"

#include <fcntl.h>
#include <mqueue.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/syscall.h>

static void make_shm(void) {
    while (made < 5000) {
        int segment = shmget(IPC_PRIVATE, first ? first : 4096, 0600 | IPC_CREAT);
        if (segment < 0) return stop();
        char *memory = shmat(segment, 0, 0);
        if (memory != (char *)-1) *memory = 1;
        made++;
    }
}

static void make_sem(void) {
    while (keep(semget(IPC_PRIVATE, first ? first : 32000, 0600 | IPC_CREAT))) {
    }
}

/* An entry a process and set for what is to be undone at its end. */
static void make_sem_undo(void) {
    for (;;) {
        int set = semget(IPC_PRIVATE, first ? first : 500, 0600 | IPC_CREAT);
        if (set < 0) return stop();
        struct sembuf up = {0, 1, SEM_UNDO};
        if (semop(set, &up, 1)) return stop();
        made++;
    }
}

static void make_msg(void) {
    static struct {
        long type;
        char text[8192];
    } message = {.type = 1};
    for (;;) {
        int queue = msgget(IPC_PRIVATE, 0600 | IPC_CREAT);
        if (queue < 0) return stop();
        while (!msgsnd(queue, &message, first ? first : 8192, IPC_NOWAIT)) made++;
    }
}

static void make_mq(void) {
    struct mq_attr little = {.mq_maxmsg = 10, .mq_msgsize = first ? first : 512};
    for (long number = 0;; number++) {
        char name[40];
        snprintf(name, sizeof name, "queue%d_%ld", self, number);
        int queue = syscall(SYS_mq_open, name, O_CREAT | O_RDWR | O_NONBLOCK, 0600, &little);
        if (!keep(queue)) return;
        while (!syscall(SYS_mq_timedsend, queue, bytes, little.mq_msgsize, 0, 0)) {
        }
    }
}

const struct maker ipc_makers[] = {
    {"shm", make_shm}, {"sem", make_sem}, {"sem_undo", make_sem_undo}, {"msg", make_msg}, {"mq", make_mq}, {0},
};
