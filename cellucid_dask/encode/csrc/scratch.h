/* Tiles that wait on a local disk: reading many ranges at once, and checksums of their genes. */

#if defined _WIN32
static int64_t read_ranges(const char *const *paths, const int64_t *starts, const int64_t *lengths,
                           int64_t n_ranges, uint8_t *out) {
  (void)paths, (void)starts, (void)lengths, (void)n_ranges, (void)out;
  return 0; /* Python reads them */
}
#else
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* Reads up to `length` bytes at `start`; false where the file cannot be read, or ends before. */
static bool read_all(int file, int64_t start, int64_t length, uint8_t *out) {
  while (length > 0) {
    const ssize_t n = pread(file, out, (size_t)length, (off_t)start);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    out += n, start += n, length -= n;
  }
  return true;
}

/* Reads ranges of files, each to the next multiple of 8 in `out`; a file is opened once for consecutive
   ranges. Returns how many were read; the caller finds out what hinders the next. */
static int64_t read_ranges(const char *const *paths, const int64_t *starts, const int64_t *lengths,
                           int64_t n_ranges, uint8_t *out) {
  int file = -1;
  int64_t done = 0;
  for (; done < n_ranges; done++) {
    if (done == 0 || strcmp(paths[done], paths[done - 1])) {
      if (file >= 0) close(file);
      file = open(paths[done], O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
      if (file < 0) break;
    }
    if (!read_all(file, starts[done], lengths[done], out)) break;
    out += (lengths[done] + 7) & ~(int64_t)7;
  }
  if (file >= 0) close(file);
  return done;
}
#endif

static inline uint64_t word_at(const uint8_t *bytes, size_t n) {
  uint64_t word = 0;
  memcpy(&word, bytes, n);
  return word;
}

/* No step loses anything of the state: a difference in one word is always seen, in more almost surely. */
static inline uint64_t mix(uint64_t state, uint64_t word) {
  state = (state ^ word) * UINT64_C(0x9e3779b97f4a7c15);
  return state ^ state >> 32;
}

static uint64_t add_bytes(uint64_t state, const uint8_t *bytes, size_t n) {
  uint64_t lanes[4] = {state, 1, 2, 3}; /* side by side, because a step waits for the one before */
  for (; n >= 32; bytes += 32, n -= 32)
    for (int lane = 0; lane < 4; lane++) lanes[lane] = mix(lanes[lane], word_at(bytes + 8 * lane, 8));
  for (; n >= 8; bytes += 8, n -= 8) lanes[0] = mix(lanes[0], word_at(bytes, 8));
  state = mix(lanes[0], word_at(bytes, n) ^ (uint64_t)n << 56);
  for (int lane = 1; lane < 4; lane++) state = mix(state, lanes[lane]);
  return state;
}

/* Fills (n_tiles, n_genes) with checksums of the cells and values of each gene in each tile. */
static int sum_genes(const Genes *genes, uint64_t *sums) {
  static const size_t value_bytes[] = {1, 1, 2, 2, 2, 4, 4, 4, 8, 8, 8};
  for (int64_t t = 0; t < genes->n_tiles; t++) {
    const Tile *tile = &genes->tiles[t];
    const size_t width = value_bytes[tile->value_type];
    for (int64_t gene = 0; gene < genes->n_genes; gene++) {
      int64_t first, last;
      if (!gene_values(tile, gene, genes->n_cells, &first, &last)) return DAMAGED;
      uint64_t sum = add_bytes(0, (const uint8_t *)tile->values + (size_t)first * width,
                               (size_t)(last - first) * width);
      if (tile->indptr)
        sum = add_bytes(sum, (const uint8_t *)tile->cells + first * tile->cell_bytes,
                        (size_t)((last - first) * tile->cell_bytes));
      sums[t * genes->n_genes + gene] = sum;
    }
  }
  return OK;
}
