/* A program that has nothing to do with an acceleration library. While one of its threads walks through the loaded objects, as profilers and
 * unwinders do, it forks; in the children that walk never ends, and neither does another one. Prints how many of them did not end. */
#define _GNU_SOURCE
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static int visit(struct dl_phdr_info *info, size_t size, void *data) {
    (void)info, (void)size, (void)data;
    usleep(2000);
    return 0;
}

static void *walk(void *unused) {
    for (;;) {
        dl_iterate_phdr(visit, unused);
    }
}

int main(void) {
    pthread_t thread;
    int hanging = 0;
    pthread_create(&thread, NULL, walk, NULL);
    usleep(5000);
    for (int number = 0; number < 8; ++number) {
        pid_t child = fork();
        if (child == 0) {
            exit(0);
        }
        int tries = 0;
        while (waitpid(child, NULL, WNOHANG) == 0) {
            usleep(10000);
            if (++tries == 300) {
                ++hanging;
                kill(child, SIGKILL);
            }
        }
    }
    printf("%d\n", hanging);
    fflush(stdout);
    _exit(0);
}
