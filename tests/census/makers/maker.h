/* What the makers share. A maker makes as many kernel objects of one kind as the sandbox lets one process have. */
#ifndef MAKER_H
#define MAKER_H

#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct maker {
    const char *name;
    void (*make)(void);
};

/* One list a file, ended by an empty entry. */
extern const struct maker file_makers[], ipc_makers[], memory_makers[], process_makers[], option_makers[],
    socket_makers[];

extern long made;             /* objects of this process */
extern int self;              /* which of the processes this is */
extern long first, second;    /* two numbers of the row, which mean something to some makers; 0 if not given */
extern char bytes[1 << 17];

/* Notes why no more are made. */
void stop(void);

/* Counts a descriptor, or notes why there is none. */
int keep(int descriptor);

/* A new file in the working directory or, every other time, in /tmp. */
int new_file(const char *kind, long number);
void new_name(char *name, size_t size, const char *kind, long number);

/* A listening TCP socket on the loopback address, whose address it writes. */
struct sockaddr_in;
int listener(struct sockaddr_in *address, int receive_bytes);

#endif
