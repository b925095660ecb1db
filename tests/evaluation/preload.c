#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void) {
    char name[64] = "";
    const char *files[] = {"/etc/ld.so.preload", "/box/preload.so", "/tmp/preload.so", "/etc/environment"};
    if (!fgets(name, sizeof name, stdin)) return 1;
    if (getenv("LD_PRELOAD")) puts("canary-second");
    setenv("LD_PRELOAD", "/box/preload.so", 1);
    for (int i = 0; i < 4; i++) {
        FILE *file = fopen(files[i], "r");
        if (file) {
            char text[64] = "";
            if (fgets(text, sizeof text, file) && strstr(text, "planted")) puts("canary-second");
            fclose(file);
        }
        file = fopen(files[i], "w");
        if (file) {
            fputs("planted", file);
            fclose(file);
        }
    }
    /* The compiled program itself. */
    FILE *self = fopen("/box/a.out", "r+");
    if (self) puts("canary-first");
    return 0;
}
