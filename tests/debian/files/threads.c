/* Threads with mutexes, condition variables, barriers, thread-local data and cancellation. */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define THREADS 8
#define ROUNDS 2000

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static sem_t semaphore;
static __thread long mine;
static long sum, turn, cleaned;

static void clean(void *arg) { __atomic_fetch_add((long *)arg, 1, __ATOMIC_SEQ_CST); }

static void *work(void *arg)
{
    long id = (long)arg;
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < ROUNDS; i++) {
        pthread_mutex_lock(&mutex);
        sum++;
        pthread_mutex_unlock(&mutex);
        mine += id;
    }
    for (int i = 0; i < 20; i++) {
        pthread_mutex_lock(&mutex);
        while (turn % THREADS != id)
            pthread_cond_wait(&cond, &mutex);
        turn++;
        pthread_cond_broadcast(&cond);
        pthread_mutex_unlock(&mutex);
    }
    for (int i = 0; i < 200; i++) {
        if (i % 10 == 0)
            pthread_rwlock_wrlock(&rwlock);
        else
            pthread_rwlock_rdlock(&rwlock);
        pthread_rwlock_unlock(&rwlock);
    }
    sem_post(&semaphore);
    return (void *)mine;
}

static void *forever(void *arg)
{
    pthread_cleanup_push(clean, arg);
    for (;;)
        sleep(100);
    pthread_cleanup_pop(0);
    return NULL;
}

int main(void)
{
    pthread_t threads[THREADS], sleeper;
    struct timespec soon;
    long total = 0;
    void *result;
    pthread_barrier_init(&barrier, NULL, THREADS);
    sem_init(&semaphore, 0, 0);
    for (long i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, work, (void *)i))
            return 1;
    for (int i = 0; i < THREADS; i++)
        sem_wait(&semaphore);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], &result);
        total += (long)result;
    }
    printf("sum %ld turns %ld own %ld\n", sum, turn, total);
    pthread_create(&sleeper, NULL, forever, &cleaned);
    pthread_cancel(sleeper);
    pthread_join(sleeper, &result);
    printf("cancelled %d cleaned %ld\n", result == PTHREAD_CANCELED, cleaned);
    clock_gettime(CLOCK_REALTIME, &soon);
    soon.tv_nsec += 20000000;
    if (soon.tv_nsec >= 1000000000) {
        soon.tv_sec++;
        soon.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&mutex);
    printf("timed %d\n", pthread_cond_timedwait(&cond, &mutex, &soon) == ETIMEDOUT);
    return 0;
}
