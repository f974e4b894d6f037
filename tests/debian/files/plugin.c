/* A shared object with a constructor, a destructor and thread-local data. */
#include <stdio.h>

static __thread int counter = 40;
__attribute__((constructor)) static void begin(void) { puts("loaded"); }
__attribute__((destructor)) static void end(void) { puts("unloaded"); }
int count(void) { return ++counter; }
