/* Signals: a handler on its own stack, a fault that is recovered from, a stack overflow, and real-time signals. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

static sigjmp_buf back;
static volatile void *fault;
static volatile int code, queued;

static void on_fault(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)context;
    fault = info->si_addr;
    code = info->si_code;
    siglongjmp(back, 1);
}

static void on_queued(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)context;
    queued = queued * 10 + info->si_value.sival_int;
}

static int overflow(int n)
{
    volatile char room[4096];
    memset((char *)room, n, sizeof room);
    return overflow(n + 1) + room[n & 4095];
}

int main(void)
{
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    stack_t stack = {.ss_sp = malloc(65536), .ss_size = 65536};
    char *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    sigaltstack(&stack, NULL);
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    if (!sigsetjmp(back, 1))
        page[7] = 1;
    printf("read-only: code %d, right address %d\n", code, fault == page + 7);
    if (!sigsetjmp(back, 1))
        *(volatile char *)16 = 1;
    printf("nothing: code %d, address %p\n", code, fault);
    if (!sigsetjmp(back, 1))
        overflow(0);
    printf("overflow: code %d\n", code);
    action.sa_sigaction = on_queued;
    sigaction(SIGRTMIN, &action, NULL);
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    sigprocmask(SIG_BLOCK, &set, &old);
    for (int i = 1; i <= 4; i++)
        sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = i});
    sigprocmask(SIG_SETMASK, &old, NULL);
    printf("queued %d\n", queued);
    fflush(stdout);
    pid_t child = fork();
    if (!child)
        abort();
    int status;
    waitpid(child, &status, 0);
    printf("child: signal %d\n", WTERMSIG(status));
    return 0;
}
