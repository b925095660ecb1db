/* orphans that end, one after the other, each a signal to PID 1; bounded: 20 s, four that fork, each one child at a time */
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
int main(void) {
    time_t end = time(0) + 20;
    for (int i = 0; i < 3; i++) if (fork() == 0) break;
    while (time(0) < end) {
        pid_t child = fork();
        if (child == 0) { fork(); _exit(0); }
        if (child > 0) waitpid(child, 0, 0);
    }
    return 0;
}
