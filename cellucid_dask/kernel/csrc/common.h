/* What all parts of the kernel share.

   Plain C11 of one translation unit (kernel.c), loaded with ctypes: no Python.h, no global state, and
   no I/O but that of files.h. Every function gets its arrays from the caller and returns OK or one of the
   codes below. */

#define _POSIX_C_SOURCE 200809L /* pread, O_NOFOLLOW */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "files are little-endian, and so must be the machine that writes them"
#endif

#if defined _WIN32
#define EXPORTED __declspec(dllexport)
#else
#define EXPORTED __attribute__((visibility("default")))
#endif
/* Forces a copy of the function for every set of constants that it is called with. */
#define SPECIALIZED static inline __attribute__((always_inline))

enum {
  OK = 0,
  OUT_OF_MEMORY = -1,
  DAMAGED = -2,    /* indices outside the shape, or pointers that do not fit the values */
  UNSORTED = -3,   /* entries of one gene are not in ascending order of different cells */
  INCONSISTENT = -4 /* a defect of the kernel: what was planned is not what was written */
};
