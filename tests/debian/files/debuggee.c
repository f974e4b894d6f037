/* Something for a debugger: functions, a variable to watch, threads, and a fault on request. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

volatile int watched;
struct point { int x, y; } origin = {3, 4};

__attribute__((noinline)) int inner(int n) { watched = n * 2; return watched + 1; }
__attribute__((noinline)) int outer(int n) { int result = inner(n) + inner(n + 1); return result; }
static void *thread(void *arg) { for (;;) pause(); return arg; }

int main(int argc, char **argv)
{
    pthread_t other;
    if (argc > 1 && !strcmp(argv[1], "threads"))
        pthread_create(&other, NULL, thread, NULL);
    printf("result %d\n", outer(5));
    fflush(stdout);
    if (argc > 1 && !strcmp(argv[1], "crash"))
        *(volatile int *)0 = 1;
    if (argc > 1 && !strcmp(argv[1], "wait"))
        for (;;)
            usleep(1000);
    return 0;
}
