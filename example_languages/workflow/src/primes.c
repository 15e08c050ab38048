/* The primes p with BEGIN <= p < END, one on each line: primes BEGIN END */
#include <stdio.h>
#include <stdlib.h>

int main(int count, char **words)
{
    if (count != 3) {
        fprintf(stderr, "usage: primes BEGIN END\n");
        return 2;
    }
    long begin = atol(words[1]), end = atol(words[2]);
    if (begin < 2)
        begin = 2;
    if (end <= begin)
        return 0;

    /* composite[n - begin]: struck out as a multiple of a smaller number */
    char *composite = calloc(end - begin, 1);
    if (!composite) {
        perror("primes");
        return 1;
    }
    for (long factor = 2; factor * factor < end; factor++) {
        long multiple = (begin + factor - 1) / factor * factor;
        if (multiple < factor * factor)
            multiple = factor * factor;
        for (; multiple < end; multiple += factor)
            composite[multiple - begin] = 1;
    }
    for (long number = begin; number < end; number++)
        if (!composite[number - begin])
            printf("%ld\n", number);
    free(composite);
    return fflush(stdout) ? 1 : 0;
}
