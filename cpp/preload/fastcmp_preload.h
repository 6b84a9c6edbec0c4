/* The C interface of libfastcmp_preload.so, for programs that find the library in their own process (dlsym, ctypes). */
#ifndef FASTCMP_PRELOAD_H
#define FASTCMP_PRELOAD_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Save what a list names, from now on.
 * allow_list: absolute path of a file of lines `{token}/{tensor_path}`, read again whenever it has grown. It must be a regular file of
 *   this user that nobody else may write, and no link.
 * run_directory: absolute path of the directory in which `{token}/{tensor_path}` is written; NULL or "" leaves the files where the
 *   acceleration library would have written them.
 * Returns 0, or an errno: EPERM for a file that others control, EINVAL for a path that is not absolute, ENOTSUP
 *   where FASTCMP_SELECT leaves the choice to the environment. */
int fastcmp_preload_follow(const char *allow_list, const char *run_directory);

/* Wait until all that was accepted so far is on disk or given up. Returns 0, or ETIMEDOUT after `seconds`. */
int fastcmp_preload_drain(double seconds);

/* What was saved, skipped and why, as JSON: the text of the heartbeat file. Cut to `size` bytes with its NUL; returns its whole length. */
size_t fastcmp_preload_status(char *buffer, size_t size);

/* What the environment as it is now selects, as JSON, what is wrong with it, and the version of the library. Follows no list and saves
 * nothing; otherwise as above. */
size_t fastcmp_preload_environment(char *buffer, size_t size);

#ifdef __cplusplus
}
#endif

#endif
