/* The program that the witnesses compile; `part` comes from many files. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern int part(void);

int main(void) {
    char text[32];
    snprintf(text, sizeof text, "%d", part());
    return strlen(text) ? puts(text) == EOF : EXIT_FAILURE;
}
