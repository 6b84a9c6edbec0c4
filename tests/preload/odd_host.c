/* Calls into the preload library as few hosts do. Argument: small-stack, handler, cancel or early. Prints "done". */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

static int (*is_round_needed)(uint64_t);
static int (*is_before_needed)(void);
static size_t (*status)(char *, size_t);
static atomic_int handled;

static void look_up(void) {
    is_round_needed = (int (*)(uint64_t))dlsym(RTLD_DEFAULT, "_ZN3atb5Probe21IsExecuteCountInRangeEm");
    is_before_needed = (int (*)(void))dlsym(RTLD_DEFAULT, "_ZN3atb5Probe18IsSaveTensorBeforeEv");
    status = (size_t(*)(char *, size_t))dlsym(RTLD_DEFAULT, "fastcmp_preload_status");
    if (is_round_needed == NULL || is_before_needed == NULL || status == NULL) {
        fprintf(stderr, "the library is not there\n");
        exit(2);
    }
}

static void *ask(void *times) {
    for (long number = 0; number < (long)times; ++number) {
        is_round_needed((uint64_t)number);
        is_before_needed();
    }
    return NULL;
}

static void on_alarm(int signal) {
    (void)signal;
    ask((void *)2);
    atomic_fetch_add(&handled, 1);
}

/* 16 KiB, and no page behind it. */
static void small_stack(void) {
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 16384);
    if (pthread_create(&thread, &attributes, ask, (void *)1000) != 0) {
        exit(2);
    }
    pthread_join(thread, NULL);
}

static void handler(void) {
    struct itimerval every = {{0, 500}, {0, 500}};
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_alarm;
    sigaction(SIGALRM, &action, NULL);
    ask((void *)1); /* what is made at the first call is made outside the handler */
    setitimer(ITIMER_REAL, &every, NULL);
    while (atomic_load(&handled) < 300) {
        ask((void *)1000);
    }
    memset(&every, 0, sizeof every);
    setitimer(ITIMER_REAL, &every, NULL);
}

static void cancel(void) {
    for (int number = 0; number < 200; ++number) {
        pthread_t thread;
        pthread_create(&thread, NULL, ask, (void *)LONG_MAX);
        usleep((useconds_t)(number % 7) * 100);
        pthread_cancel(thread);
        if (number % 20 == 0) {
            ask((void *)10); /* no lock of it is left behind */
        }
        pthread_detach(thread);
    }
    _exit(puts("done") < 0 || fflush(stdout) != 0); /* some threads may never come to a point where they can be cancelled */
}

__attribute__((constructor)) static void early(void) {
    if (getenv("ODD_HOST_EARLY") != NULL) {
        look_up();
        ask((void *)10);
    }
}

int main(int count, char **arguments) {
    look_up();
    const char *how = count > 1 ? arguments[1] : "";
    if (strcmp(how, "small-stack") == 0) {
        small_stack();
    } else if (strcmp(how, "handler") == 0) {
        handler();
    } else if (strcmp(how, "cancel") == 0) {
        cancel();
    }
    ask((void *)100);
    puts("done");
    return 0;
}
