/* What mappings cost beside the pages that they hold. */
#include "maker.h"

#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>

static void *map(long number, void *where) {
    int protection = PROT_READ | (number & 1 ? PROT_WRITE : 0); /* neighbours that don't become one */
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (where ? MAP_FIXED_NOREPLACE : 0);
    void *memory = mmap(where, 4096, protection, flags, -1, 0);
    if (memory == MAP_FAILED) {
        stop();
        return 0;
    }
    return memory;
}

/* With gaps between them when the first number is 1: those take places in the kernel's tree, too. */
static void make_vma(void) {
    while (map(made, first ? (char *)(1L << 44) + made * 8192 : 0)) made++;
}

static void make_vma_name(void) {
    void *memory;
    while ((memory = map(made, 0))) {
        char name[80];
        snprintf(name, sizeof name, "%d_%ld_%060d", self, made, 0);
        if (prctl(0x53564d41, 0, memory, 4096, name)) return stop(); /* PR_SET_VMA, PR_SET_VMA_ANON_NAME */
        made++;
    }
}

/* A table for every two megabytes that are looked at, and all of it the one page of zeros. */
static void make_pagetable(void) {
    char *memory = mmap(0, 1L << 40, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return stop();
    madvise(memory, 1L << 40, MADV_NOHUGEPAGE);
    for (long table = 0; table < 1L << 19; table++) {
        *(volatile char *)(memory + (table << 21));
        made++;
    }
}

static void make_hugetlb(void) {
    for (;;) {
        char *memory = mmap(0, 2 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
        if (memory == MAP_FAILED) return stop();
        *memory = 1;
        made++;
    }
}

static void make_memfd_huge(void) {
    for (;;) {
        int file = memfd_create("x", MFD_HUGETLB);
        if (file < 0 || ftruncate(file, 2 << 20)) return stop();
        char *memory = mmap(0, 2 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        if (memory == MAP_FAILED) return stop();
        *memory = 1;
        made++;
    }
}

static void make_shm_huge(void) {
    for (;;) {
        int segment = shmget(IPC_PRIVATE, 2 << 20, 0600 | IPC_CREAT | SHM_HUGETLB);
        if (segment < 0) return stop();
        char *memory = shmat(segment, 0, 0);
        if (memory == (char *)-1) return stop();
        *memory = 1;
        made++;
    }
}

const struct maker memory_makers[] = {
    {"vma", make_vma},
    {"vma_name", make_vma_name},
    {"pagetable", make_pagetable},
    {"hugetlb", make_hugetlb},
    {"memfd_huge", make_memfd_huge},
    {"shm_huge", make_shm_huge},
    {0},
};
