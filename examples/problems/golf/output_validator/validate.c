#include <stdio.h>
#include <string.h>

/* The shorter the sum, the better: 1+1+1 for 3. */
int main(int count, char **arguments) {
    char path[256], line[256] = "";
    int wanted, sum = 0, terms = 0, value, read;
    FILE *answer = fopen(arguments[2], "r");
    if (count < 4 || !answer || fscanf(answer, "%d", &wanted) != 1) return 1;
    if (!fgets(line, sizeof line, stdin)) return 43;
    for (char *at = line; sscanf(at, "%d%n", &value, &read) == 1; at += read) {
        sum += value;
        terms++;
        at += at[read] == '+';
    }
    if (sum != wanted || !terms) return 43;
    snprintf(path, sizeof path, "%sscore_multiplier.txt", arguments[3]);
    FILE *score = fopen(path, "w");
    if (!score) return 1;
    fprintf(score, "%f\n", 1.0 / terms);
    return fclose(score) ? 1 : 42;
}
