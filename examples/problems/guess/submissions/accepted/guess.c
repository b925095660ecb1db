#include <stdio.h>

int main(void) {
    char answer[16];
    for (int low = 1, high = 100;;) {
        int middle = (low + high) / 2;
        printf("%d\n", middle);
        fflush(stdout);
        if (scanf("%15s", answer) != 1) return 1;
        if (answer[0] == 'c') return 0;
        if (answer[0] == 'h') low = middle + 1;
        else high = middle - 1;
    }
}
