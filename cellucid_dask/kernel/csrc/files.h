/* Local files, many in one call: Python would let go of its lock, and wait for it, at each step.

   Whatever fails ends the call, which returns how far it got: the caller reads or writes that one itself,
   and says what is wrong, or takes it for another file. */

#if defined _WIN32 /* does none of it */
static int64_t read_ranges(const char *const *paths, const int64_t *starts, const int64_t *lengths,
                           int64_t n_ranges, uint8_t *out) {
  (void)paths, (void)starts, (void)lengths, (void)n_ranges, (void)out;
  return 0;
}

static int64_t write_files(const char *const *unfinished, const char *const *paths,
                           const uint8_t *const *contents, const int64_t *sizes, int64_t n_files) {
  (void)unfinished, (void)paths, (void)contents, (void)sizes, (void)n_files;
  return 0;
}

static int64_t sum_files(const char *const *paths, const int64_t *sizes, int64_t n_files, uint64_t *sums) {
  (void)paths, (void)sizes, (void)n_files, (void)sums;
  return 0;
}
#else
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* Not through a link, and without waiting for the other end of a named pipe. */
static int open_file(const char *path, int flags) {
  return open(path, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
}

/* Reads `length` bytes at `start`; false where the file cannot be read, or ends before. */
static bool read_all(int file, int64_t start, int64_t length, uint8_t *out) {
  while (length > 0) {
    const ssize_t n = pread(file, out, (size_t)length, (off_t)start);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    out += n, start += n, length -= n;
  }
  return true;
}

static bool write_all(int file, const uint8_t *content, int64_t length) {
  while (length > 0) {
    const ssize_t n = write(file, content, (size_t)length);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    content += n, length -= n;
  }
  return true;
}

/* Reads ranges of files, each to the next multiple of 8 in `out`; a file is opened once for consecutive
   ranges. Returns how many were read. */
static int64_t read_ranges(const char *const *paths, const int64_t *starts, const int64_t *lengths,
                           int64_t n_ranges, uint8_t *out) {
  int file = -1;
  int64_t done = 0;
  for (; done < n_ranges; done++) {
    if (done == 0 || strcmp(paths[done], paths[done - 1])) {
      if (file >= 0) close(file);
      file = open_file(paths[done], O_RDONLY);
      if (file < 0) break;
    }
    if (!read_all(file, starts[done], lengths[done], out)) break;
    out += (lengths[done] + 7) & ~(int64_t)7;
  }
  if (file >= 0) close(file);
  return done;
}

/* Writes files under names of their own, and renames each once it is whole; returns how many. */
static int64_t write_files(const char *const *unfinished, const char *const *paths,
                           const uint8_t *const *contents, const int64_t *sizes, int64_t n_files) {
  int64_t done = 0;
  for (; done < n_files; done++) {
    const int file = open_file(unfinished[done], O_WRONLY | O_CREAT | O_EXCL);
    if (file < 0) break;
    const bool is_whole = write_all(file, contents[done], sizes[done]);
    if (close(file) || !is_whole || rename(unfinished[done], paths[done])) {
      unlink(unfinished[done]);
      break;
    }
  }
  return done;
}

static bool sum_file(const char *path, int64_t size, uint8_t *piece, uint64_t *sum) {
  const int file = open_file(path, O_RDONLY);
  if (file < 0) return false;
  struct stat found;
  bool is_same = !fstat(file, &found) && S_ISREG(found.st_mode) && found.st_size == size;
  *sum = 0;
  for (int64_t at = 0; is_same && at < size; at += PIECE) {
    const int64_t length = size - at < PIECE ? size - at : PIECE;
    is_same = read_all(file, at, length, piece);
    *sum = add_bytes(*sum, piece, (size_t)length);
  }
  close(file);
  return is_same;
}

/* Fills in the checksums of files; returns of how many, before one that cannot be read, or has another size. */
static int64_t sum_files(const char *const *paths, const int64_t *sizes, int64_t n_files, uint64_t *sums) {
  uint8_t *piece = malloc(PIECE);
  int64_t done = 0;
  while (piece && done < n_files && sum_file(paths[done], sizes[done], piece, &sums[done])) done++;
  free(piece);
  return piece ? done : OUT_OF_MEMORY;
}
#endif
