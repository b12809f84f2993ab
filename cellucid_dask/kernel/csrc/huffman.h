/* Huffman codes of limited length, as deflate (RFC 1951) has them. */

/* Of literals and match lengths; the last two never occur, but belong to the fixed code. */
enum { MAX_SYMBOLS = 288, MAX_CODE_BITS = 15 };

/* Sorts (count << 9 | symbol), so that ties break by symbol and the result is the same everywhere. */
static void sort_keys(uint64_t *keys, int n) {
  uint64_t spare[MAX_SYMBOLS];
  uint64_t *from = keys, *to = spare;
  if (n <= 24) {
    for (int i = 1; i < n; i++) {
      uint64_t key = keys[i];
      int at = i;
      for (; at > 0 && keys[at - 1] > key; at--) keys[at] = keys[at - 1];
      keys[at] = key;
    }
    return;
  }
  uint64_t all = 0;
  for (int i = 0; i < n; i++) all |= keys[i];
  /* Symbols ascend already, and passes are stable: only the counts need sorting. */
  for (int shift = 9; shift < 64 && all >> shift; shift += 8) {
    int starts[257] = {0};
    for (int i = 0; i < n; i++) starts[(from[i] >> shift & 255) + 1]++;
    for (int i = 0; i < 256; i++) starts[i + 1] += starts[i];
    for (int i = 0; i < n; i++) to[starts[from[i] >> shift & 255]++] = from[i];
    uint64_t *swapped = from;
    from = to;
    to = swapped;
  }
  if (from != keys) memcpy(keys, from, (size_t)n * sizeof *keys);
}

/* Replaces ascending weights by the lengths of their Huffman codes (Moffat and Katajainen, 1995). */
static void minimum_redundancy(uint64_t *a, int n) {
  int root = 0, leaf = 2, next;
  a[0] += a[1];
  for (next = 1; next < n - 1; next++) {
    if (leaf >= n || a[root] < a[leaf]) {
      a[next] = a[root];
      a[root++] = (uint64_t)next;
    } else {
      a[next] = a[leaf++];
    }
    if (leaf >= n || (root < next && a[root] < a[leaf])) {
      a[next] += a[root];
      a[root++] = (uint64_t)next;
    } else {
      a[next] += a[leaf++];
    }
  }
  a[n - 2] = 0;
  for (next = n - 3; next >= 0; next--) a[next] = a[a[next]] + 1;
  int available = 1, used = 0;
  uint64_t depth = 0;
  root = n - 2;
  next = n - 1;
  while (available > 0) {
    while (root >= 0 && a[root] == depth) used++, root--;
    while (available > used) a[next--] = depth, available--;
    available = 2 * used;
    depth++;
    used = 0;
  }
}

/* Gives each symbol with a count the length of its code, and the others 0. There are always at least
   two codes, so that the code is complete, which zlib asks for. */
static void code_lengths(const uint32_t *counts, int n_symbols, int limit, uint8_t *lengths) {
  uint64_t keys[MAX_SYMBOLS], weights[MAX_SYMBOLS];
  int n = 0;
  for (int symbol = 0; symbol < n_symbols; symbol++) {
    lengths[symbol] = 0;
    if (counts[symbol]) keys[n++] = (uint64_t)counts[symbol] << 9 | (uint64_t)symbol;
  }
  if (n < 2) {
    int only = n ? (int)(keys[0] & 511) : 0;
    lengths[only] = lengths[only ? 0 : 1] = 1;
    return;
  }
  sort_keys(keys, n);
  for (int i = 0; i < n; i++) weights[i] = keys[i] >> 9;
  minimum_redundancy(weights, n);
  int of_length[64] = {0};
  for (int i = 0; i < n; i++) of_length[weights[i] < 63 ? weights[i] : 63]++;
  for (int length = limit + 1; length < 64; length++) of_length[limit] += of_length[length];
  /* Codes that were cut to the limit take too much room: lengthen others until all fit. */
  uint64_t total = 0;
  for (int length = 1; length <= limit; length++)
    total += (uint64_t)of_length[length] << (limit - length);
  for (; total > (uint64_t)1 << limit; total--) {
    of_length[limit]--;
    for (int length = limit - 1; length > 0; length--)
      if (of_length[length]) {
        of_length[length]--;
        of_length[length + 1] += 2;
        break;
      }
  }
  for (int length = limit, i = 0; length > 0; length--)
    for (int left = of_length[length]; left > 0; left--) lengths[keys[i++] & 511] = (uint8_t)length;
}

/* The bits of all symbols that were counted, without extra ones. */
static uint64_t coded_bits(const uint32_t *counts, int n_symbols, const uint8_t *lengths) {
  uint64_t bits = 0;
  for (int symbol = 0; symbol < n_symbols; symbol++) bits += (uint64_t)counts[symbol] * lengths[symbol];
  return bits;
}

/* Computes the canonical codes of some lengths, with their bits in the order of the stream. */
static void canonical_codes(const uint8_t *lengths, int n_symbols, uint16_t *codes) {
  uint32_t next[MAX_CODE_BITS + 1] = {0};
  uint32_t of_length[MAX_CODE_BITS + 1] = {0}, code = 0;
  for (int symbol = 0; symbol < n_symbols; symbol++) of_length[lengths[symbol]]++;
  of_length[0] = 0;
  for (int length = 1; length <= MAX_CODE_BITS; length++) {
    code = (code + of_length[length - 1]) << 1;
    next[length] = code;
  }
  for (int symbol = 0; symbol < n_symbols; symbol++) {
    const int length = lengths[symbol];
    uint32_t bits = length ? next[length]++ : 0;
    bits = (bits & 0x5555) << 1 | (bits >> 1 & 0x5555); /* reversed by halves */
    bits = (bits & 0x3333) << 2 | (bits >> 2 & 0x3333);
    bits = (bits & 0x0f0f) << 4 | (bits >> 4 & 0x0f0f);
    bits = (bits & 0x00ff) << 8 | bits >> 8;
    codes[symbol] = (uint16_t)(bits >> (16 - length));
  }
}
