// Recursion without an end: it stops at the limit of the stack, with a signal, and quickly.
#include <stdio.h>
#include <string.h>
static int deeper(int depth) {
    volatile char frame[65536];
    memset((void *)frame, depth & 127, sizeof frame);
    return deeper(depth + 1) + frame[depth % 65536];
}
int main(void) { printf("%d\n", deeper(0)); return 0; }
