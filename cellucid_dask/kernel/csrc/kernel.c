/* The functions that Python calls; library.py declares them once more. */

#include "common.h"
#include "checksum.h"
#include "files.h"
#include "huffman.h"
#include "stream.h"
#include "tokens.h"
#include "crc32.h"
#include "deflate.h"
#include "numbers.h"
#include "genes.h"
#include "columns.h"
#include "transpose.h"
#include "sums.h"

#define VERSION 5 /* of these functions; library.py refuses another */

EXPORTED int32_t cellucid_version(void) { return VERSION; }

EXPORTED int64_t cellucid_member_bound(int64_t n_cells) { return member_bound(n_cells); }

/* lowest, highest, n_missing: (n_genes,). */
EXPORTED int32_t cellucid_ranges(const Genes *genes, double *lowest, double *highest,
                                 int64_t *n_missing) {
  return find_ranges(genes, lowest, highest, n_missing);
}

/* Fills (last - first, n_cells) of codes of 8 or 16 bits, or float32 (bits 32). */
EXPORTED int32_t cellucid_vectors(const Genes *genes, int64_t first, int64_t last, int32_t bits,
                                  const double *lowest, const double *highest, void *vectors) {
  for (int64_t gene = first; gene < last; gene++) {
    const Scale scale = scale_of(lowest[gene], highest[gene], bits);
    char *vector = (char *)vectors + (gene - first) * genes->n_cells * (bits / 8);
    const int result = fill_vector(vector, genes, gene, &scale, bits);
    if (result) return result;
  }
  return OK;
}

/* Writes the values of genes first ... last - 1 that are not zero, and the cell of each, gene after gene.
   counts: (last - first,), how many each gene has; `values` and `cells` have as many as all. Values are
   float32, or float64 (bits 64). */
EXPORTED int32_t cellucid_columns(const Genes *genes, int64_t first, int64_t last, const int64_t *counts,
                                  int32_t bits, void *values, int32_t *cells) {
  if (genes->n_cells > MAX_CELLS) return DAMAGED;
  Columns columns = {values, cells, 0, 0, bits == 64};
  return gather_columns(&columns, genes, first, last, counts);
}

/* The memory of cellucid_members: tokens of one gene, its vector, and the tables of the checksum. */
typedef struct {
  Tokens tokens;
  uint8_t *vector;
  Crc crc;
} Workspace;

static Workspace *new_workspace(int64_t n_cells, bool with_vector) {
  const size_t n = (size_t)n_cells + 1; /* one token is written before it is known not to be one */
  Workspace *work = malloc(sizeof *work + n * (4 + 1) + (with_vector ? n : 0));
  if (!work) return NULL;
  work->tokens.gaps = (uint32_t *)(work + 1);
  work->tokens.codes = (uint8_t *)(work->tokens.gaps + n);
  work->vector = work->tokens.codes + n;
  crc_prepare(&work->crc);
  return work;
}

/* Encodes genes first ... last - 1 with 8 bits as gzip members, until all are done or `out` is full.

   ends: (last - first,), where each member ends in `out`. repetitive: (last - first,), whether a search
   for matches may give a smaller one. Returns the number of genes done, or an error. */
EXPORTED int64_t cellucid_members(const Genes *genes, int64_t first, int64_t last, const double *lowest,
                                  const double *highest, uint8_t *out, int64_t capacity, int64_t *ends,
                                  uint8_t *repetitive) {
  if (genes->n_cells > MAX_CELLS) return DAMAGED;
  Workspace *work = new_workspace(genes->n_cells, true);
  if (!work) return OUT_OF_MEMORY;
  int64_t done = 0, used = 0;
  int result = OK;
  for (; first + done < last; done++) {
    const Scale scale = scale_of(lowest[first + done], highest[first + done], 8);
    int64_t size;
    result = tokens_of_gene(&work->tokens, work->vector, genes, first + done, &scale);
    if (result) break;
    result = put_member(out + used, capacity - used, &work->tokens, &work->crc, &size,
                        &repetitive[done]);
    if (result) break;
    used += size;
    ends[done] = used;
  }
  free(work);
  return result == OK || (result == OUT_OF_MEMORY && done) ? done : result;
}

/* Encodes one vector of 8-bit codes as a gzip member; returns its size, or an error. */
EXPORTED int64_t cellucid_member(const uint8_t *vector, int64_t n_cells, uint8_t *out, int64_t capacity,
                                 uint8_t *repetitive) {
  if (n_cells > MAX_CELLS) return DAMAGED;
  Workspace *work = new_workspace(n_cells, false);
  if (!work) return OUT_OF_MEMORY;
  int64_t size = 0;
  tokens_of_vector(&work->tokens, vector, n_cells);
  const int result = put_member(out, capacity, &work->tokens, &work->crc, &size, repetitive);
  free(work);
  return result ? result : size;
}

EXPORTED int64_t cellucid_stream_bound(int64_t n_bytes) { return stream_bound(n_bytes); }

/* Compresses numbers of 4 or 8 bytes (width), as they are or as planes; returns the size of the stream. */
EXPORTED int64_t cellucid_stream(const uint8_t *data, int64_t n_bytes, int32_t width, int32_t as_planes,
                                 uint8_t *out, int64_t capacity) {
  int64_t size = 0;
  const int result = put_stream(out, capacity, data, n_bytes, width, as_planes, &size);
  return result ? result : size;
}

/* Checks rows and counts their values: starts, (n_genes + 1,), where each gene begins in the tile. Zeros
   of dense rows are no values. */
EXPORTED int32_t cellucid_count(const Rows *rows, int64_t *starts) { return count_genes(rows, starts); }

/* Writes the tile of rows that cellucid_count has checked: at most 65,536, so that `cells` has 16 bits.
   UNSORTED: some entry came twice. */
EXPORTED int32_t cellucid_transpose(const Rows *rows, const int64_t *starts, uint16_t *cells,
                                    void *values) {
  int64_t *next = malloc(((size_t)rows->n_genes + 1) * sizeof *next);
  if (!next) return OUT_OF_MEMORY;
  memcpy(next, starts, (size_t)rows->n_genes * sizeof *next);
  const int result = place_by_type(rows, next, starts, cells, values);
  free(next);
  return result;
}

/* Checksums of each gene in each tile, (n_tiles, n_genes). */
EXPORTED int32_t cellucid_sums(const Genes *genes, uint64_t *sums) { return sum_genes(genes, sums); }

/* Continues a checksum, 0 at first; all calls but the last add whole pieces. */
EXPORTED uint64_t cellucid_add(uint64_t sum, const uint8_t *bytes, int64_t n) {
  return add_pieces(sum, bytes, n);
}

/* Of local files, see files.h. */
EXPORTED int64_t cellucid_read(const char *const *paths, const int64_t *starts, const int64_t *lengths,
                               int64_t n_ranges, uint8_t *out) {
  return read_ranges(paths, starts, lengths, n_ranges, out);
}

EXPORTED int64_t cellucid_write(const char *const *unfinished, const char *const *paths,
                                const uint8_t *const *contents, const int64_t *sizes, int64_t n_files) {
  return write_files(unfinished, paths, contents, sizes, n_files);
}

EXPORTED int64_t cellucid_sum_files(const char *const *paths, const int64_t *sizes, int64_t n_files,
                                    uint64_t *sums) {
  return sum_files(paths, sizes, n_files, sums);
}
