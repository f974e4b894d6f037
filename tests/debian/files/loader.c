/* Loads plugin.so, calls it from two threads, and unloads it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static int (*count)(void);
static void *call(void *unused) { (void)unused; return (void *)(long)count(); }
static int see(struct dl_phdr_info *info, size_t size, void *found)
{
    (void)size;
    if (strstr(info->dlpi_name, "plugin.so"))
        ++*(int *)found;
    return 0;
}

int main(void)
{
    int found = 0;
    void *result, *handle = dlopen("./plugin.so", RTLD_NOW);
    pthread_t thread;
    Dl_info info;
    if (!handle || dlopen("./none.so", RTLD_NOW)) {
        puts(dlerror());
        return 1;
    }
    puts(strstr(dlerror(), "cannot open") ? "none.so: cannot open" : "?");
    *(void **)&count = dlsym(handle, "count");
    count();
    printf("here %d\n", count());
    pthread_create(&thread, NULL, call, NULL);
    pthread_join(thread, &result);
    printf("there %ld\n", (long)result);
    if (dladdr((void *)count, &info))
        printf("%s %s\n", info.dli_sname, strrchr(info.dli_fname, '/'));
    dl_iterate_phdr(see, &found);
    printf("found %d\n", found);
    dlclose(handle);
    puts("end");
    return 0;
}
