/* Tokens -> one gzip member (RFC 1951 and 1952).

   The only matches are runs: a gap is its first background code, then copies of it at distance 1; short
   gaps are literals, where those take fewer bits. Tokens are cut into blocks, each with Huffman codes
   of its own, where the statistics change. What is planned with code lengths that are not yet known is
   planned again with those that result, and strings of bits are built only from the final codes. */

enum {
  MAX_GAP = MAX_MATCH + 1, /* the longest gap that one literal and one match can say */
  SEGMENT_TOKENS = 8192,   /* blocks consist of whole segments */
  STRING_BITS = 41,        /* of a gap: with a literal and 7 bits left over, below a word */
  LONG_STRING = 0xff       /* in place of a number of bits: written symbol by symbol */
};

typedef struct {
  uint32_t literals[256];      /* that are no part of a gap of up to MAX_GAP */
  uint32_t gaps[MAX_GAP + 1];
  uint32_t lengths[N_LENGTHS]; /* of matches in longer gaps and repeats */
  int64_t n_cells;
} Histogram;

typedef struct {
  BlockKind kind;
  uint64_t bits;                   /* of the whole block */
  bool matched[MAX_GAP + 1];       /* whether a gap of this length is a match */
  uint8_t lengths[MAX_SYMBOLS];    /* of the codes of literals and match lengths */
  uint8_t distance_bits;           /* of the one code of distance 1 */
  Header header;
} Block;

/* ---- Symbols ------------------------------------------------------------------------------- */

/* Counts `length` copies of the code before; what is left after the last match are literals. */
static void count_copies(Histogram *histogram, uint32_t length, uint8_t code) {
  histogram->lengths[N_LENGTHS - 1] += length / MAX_MATCH;
  const uint32_t rest = length % MAX_MATCH;
  if (rest >= MIN_MATCH) histogram->lengths[length_index(rest)]++;
  else histogram->literals[code] += rest;
}

static void count_gap(Histogram *histogram, uint32_t gap, uint8_t background) {
  histogram->n_cells += gap;
  if (gap <= MAX_GAP) {
    histogram->gaps[gap]++;
  } else {
    histogram->literals[background]++;
    count_copies(histogram, gap - 1, background);
  }
}

static void count_tokens(Histogram *histogram, const Tokens *tokens, int64_t first, int64_t last) {
  memset(histogram, 0, sizeof *histogram);
  int64_t n_cells = 0;
  for (int64_t i = first; i < last; i++) {
    const uint32_t gap = tokens->gaps[i];
    if (gap <= MAX_GAP) {
      histogram->gaps[gap]++;
      n_cells += gap;
    } else if (gap & REPEAT) {
      count_copies(histogram, gap & ~REPEAT, tokens->codes[i]);
      n_cells += gap & ~REPEAT;
      continue;
    } else {
      count_gap(histogram, gap, tokens->background);
    }
    histogram->literals[tokens->codes[i]]++;
    n_cells++;
  }
  histogram->n_cells += n_cells;
  if (last == tokens->n_tokens) count_gap(histogram, (uint32_t)tokens->tail, tokens->background);
}

static void add_histogram(Histogram *sum, const Histogram *more) {
  for (int i = 0; i < 256; i++) sum->literals[i] += more->literals[i];
  for (int i = 0; i <= MAX_GAP; i++) sum->gaps[i] += more->gaps[i];
  for (int i = 0; i < N_LENGTHS; i++) sum->lengths[i] += more->lengths[i];
  sum->n_cells += more->n_cells;
}

/* ---- Planning a block ---------------------------------------------------------------------- */

/* Decides with some code lengths which gaps are matches; returns how often each symbol then occurs
   (`counts`, MAX_SYMBOLS), the number of matches, and the extra bits. */
static uint64_t plan_gaps(Block *block, const Histogram *histogram, uint8_t background,
                          const uint8_t *lengths, int distance_bits, uint32_t *counts,
                          uint32_t *n_matches) {
  const int unused = 11; /* bits assumed for symbols that have no code yet */
  const int literal = lengths[background] ? lengths[background] : unused;
  uint64_t extra = 0;
  *n_matches = 0;
  memset(block->matched, 0, sizeof block->matched);
  memcpy(counts, histogram->literals, sizeof histogram->literals);
  counts[END_OF_BLOCK] = 1;
  counts[FIRST_LENGTH + N_LENGTHS] = counts[FIRST_LENGTH + N_LENGTHS + 1] = 0;
  for (int i = 0; i < N_LENGTHS; i++) {
    counts[FIRST_LENGTH + i] = histogram->lengths[i];
    *n_matches += histogram->lengths[i];
    extra += (uint64_t)histogram->lengths[i] * (uint64_t)extra_bits(i);
  }
  for (int gap = 1; gap <= MAX_GAP; gap++) {
    const uint32_t count = histogram->gaps[gap];
    if (!count) continue;
    if (gap > MIN_MATCH) {
      const int index = length_index((uint32_t)gap - 1);
      const int known = lengths[FIRST_LENGTH + index];
      const int match = (known ? known : unused) + extra_bits(index) + distance_bits;
      block->matched[gap] = match < (gap - 1) * literal;
      if (block->matched[gap]) {
        counts[background] += count;
        counts[FIRST_LENGTH + index] += count;
        *n_matches += count;
        extra += (uint64_t)count * (uint64_t)extra_bits(index);
        continue;
      }
    }
    counts[background] += count * (uint32_t)gap;
  }
  return extra;
}

/* Plans a block with codes of its own, its gaps by the code lengths that are given. */
static void plan_dynamic(Block *block, const Histogram *histogram, uint8_t background,
                         const uint8_t *lengths, int distance_bits) {
  uint32_t counts[MAX_SYMBOLS], n_matches;
  block->kind = DYNAMIC;
  block->bits = 3 + plan_gaps(block, histogram, background, lengths, distance_bits, counts, &n_matches);
  code_lengths(counts, MAX_SYMBOLS, MAX_CODE_BITS, block->lengths);
  block->distance_bits = n_matches > 0;
  block->bits += coded_bits(counts, MAX_SYMBOLS, block->lengths);
  block->bits += (uint64_t)n_matches * block->distance_bits +
                 plan_header(&block->header, block->lengths, &block->distance_bits, 1);
}

static void plan_fixed(Block *block, const Histogram *histogram, uint8_t background) {
  uint32_t counts[MAX_SYMBOLS], n_matches;
  block->kind = FIXED;
  block->distance_bits = 5;
  for (int i = 0; i < MAX_SYMBOLS; i++)
    block->lengths[i] = i < 144 ? 8 : i < END_OF_BLOCK ? 9 : i < 280 ? 7 : 8;
  block->bits = 3 + plan_gaps(block, histogram, background, block->lengths, 5, counts, &n_matches);
  block->bits += coded_bits(counts, MAX_SYMBOLS, block->lengths);
  block->bits += (uint64_t)n_matches * 5;
}

/* Chooses the form of a block that takes the fewest bits, starting from its plan. */
static void choose_form(Block *block, const Histogram *histogram, uint8_t background, int n_bits) {
  Block other;
  uint32_t counts[MAX_SYMBOLS], n_matches;
  plan_gaps(&other, histogram, background, block->lengths, 1, counts, &n_matches);
  if (memcmp(other.matched, block->matched, sizeof other.matched) != 0) {
    plan_dynamic(&other, histogram, background, block->lengths, 1);
    if (other.bits < block->bits) *block = other;
  }
  plan_fixed(&other, histogram, background);
  if (other.bits < block->bits) *block = other;
  const int64_t n_stored = (histogram->n_cells + MAX_STORED - 1) / MAX_STORED;
  if (n_stored == 0) return;
  /* the first stored block begins where the last block ended, in the middle of a byte */
  const uint64_t padding = (uint64_t)(-(n_bits + 3) & 7);
  const uint64_t bits = (uint64_t)histogram->n_cells * 8 + 3 + padding + 32 +
                        (uint64_t)(n_stored - 1) * 40;
  if (bits < block->bits) block->kind = STORED, block->bits = bits;
}

/* ---- Writing ------------------------------------------------------------------------------- */

typedef struct {
  uint8_t lengths[MAX_SYMBOLS];
  uint16_t codes[MAX_SYMBOLS];
  uint8_t distance_bits;
  uint64_t strings[MAX_GAP + 1]; /* of gaps: the bits, and their number above bit 56 */
  uint32_t literals[256];        /* the same, above bit 16 */
} Writer;

static inline void put_symbol(Output *out, const Writer *writer, int symbol) {
  put(out, writer->codes[symbol], writer->lengths[symbol]);
}

/* The string of one match: at most 15 + 5 + 5 bits. The code of distance 1 is zeros. */
static inline uint64_t match_string(const Writer *writer, uint32_t length, int *n_bits) {
  const int index = length_index(length), symbol = FIRST_LENGTH + index, extra = extra_bits(index);
  const uint64_t rest = (length - MIN_MATCH) & ((1u << extra) - 1);
  *n_bits = writer->lengths[symbol] + extra + writer->distance_bits;
  return writer->codes[symbol] | rest << writer->lengths[symbol];
}

static void prepare_writer(Writer *writer, const Block *block, uint8_t background) {
  memcpy(writer->lengths, block->lengths, sizeof writer->lengths);
  canonical_codes(block->lengths, MAX_SYMBOLS, writer->codes);
  writer->distance_bits = block->distance_bits;
  for (int i = 0; i < 256; i++)
    writer->literals[i] = writer->codes[i] | (uint32_t)writer->lengths[i] << 16;
  writer->strings[0] = 0;
  const int literal = writer->lengths[background];
  for (int gap = 1; gap <= MAX_GAP; gap++) {
    uint64_t bits = writer->codes[background];
    int n_bits = literal;
    if (block->matched[gap]) {
      int more;
      bits |= match_string(writer, (uint32_t)gap - 1, &more) << n_bits;
      n_bits += more;
    } else if (gap * literal <= STRING_BITS) {
      for (int i = 1; i < gap; i++, n_bits += literal)
        bits |= (uint64_t)writer->codes[background] << n_bits;
    } else {
      n_bits = LONG_STRING;
    }
    writer->strings[gap] = bits | (uint64_t)n_bits << 56;
  }
}

static void put_copies(Output *out, const Writer *writer, uint32_t length, uint8_t code) {
  int n_bits;
  for (; length >= MIN_MATCH; length -= length < MAX_MATCH ? length : MAX_MATCH) {
    const uint64_t bits = match_string(writer, length < MAX_MATCH ? length : MAX_MATCH, &n_bits);
    put(out, bits, n_bits);
    flush(out);
  }
  for (; length > 0; length--) {
    put_symbol(out, writer, code);
    flush(out);
  }
}

static void put_gap(Output *out, const Writer *writer, uint32_t gap, uint8_t background) {
  if (gap > MAX_GAP) {
    put_symbol(out, writer, background);
    flush(out);
    put_copies(out, writer, gap - 1, background);
  } else if (writer->strings[gap] >> 56 == LONG_STRING) {
    for (; gap > 0; gap--) {
      put_symbol(out, writer, background);
      flush(out);
    }
  } else {
    put(out, writer->strings[gap] & 0xffffffffffffff, (int)(writer->strings[gap] >> 56));
    flush(out);
  }
}

static void put_tokens(Output *result, const Block *block, const Tokens *tokens, int64_t first,
                       int64_t last) {
  Writer writer;
  prepare_writer(&writer, block, tokens->background);
  Output out = *result; /* a copy that stays in registers */
  for (int64_t i = first; i < last; i++) {
    const uint32_t gap = tokens->gaps[i];
    const uint8_t code = tokens->codes[i];
    const uint64_t string = gap <= MAX_GAP ? writer.strings[gap] : (uint64_t)LONG_STRING << 56;
    if (string >> 56 != LONG_STRING) {
      put(&out, string & 0xffffffffffffff, (int)(string >> 56));
    } else if (gap & REPEAT) {
      *result = out;
      put_copies(result, &writer, gap & ~REPEAT, code);
      out = *result;
      continue;
    } else {
      *result = out;
      put_gap(result, &writer, gap, tokens->background);
      out = *result;
    }
    put(&out, writer.literals[code] & 0xffff, (int)(writer.literals[code] >> 16));
    flush(&out);
  }
  *result = out;
  if (last == tokens->n_tokens) put_gap(result, &writer, (uint32_t)tokens->tail, tokens->background);
  put_symbol(result, &writer, END_OF_BLOCK);
  flush(result);
}

/* Writes the cells of a block as they are. */
static void put_stored(Output *out, const Tokens *tokens, int64_t first, int64_t last, int64_t n_cells,
                       bool final) {
  int64_t token = first, background = 0, copies = 0, room = 0;
  uint8_t code = 0;
  for (int64_t left = n_cells; left > 0; left--, room--) {
    if (room == 0) {
      room = left < MAX_STORED ? left : MAX_STORED;
      put_stored_head(out, room, final && room == left);
    }
    while (background == 0 && copies == 0) {
      if (token == last) {
        background = tokens->tail;
      } else if (tokens->gaps[token] & REPEAT) {
        copies = tokens->gaps[token] & ~REPEAT;
        code = tokens->codes[token++];
      } else {
        background = tokens->gaps[token];
        copies = 1;
        code = tokens->codes[token++];
      }
    }
    if (background > 0) *out->at++ = tokens->background, background--;
    else *out->at++ = code, copies--;
  }
}

static int put_block(Output *out, const Block *block, const Tokens *tokens, int64_t first, int64_t last,
                     int64_t n_cells) {
  const bool final = last == tokens->n_tokens;
  /* All bits of the block are known, so that nothing can be written beyond the end ... */
  if (block->bits / 8 + WORD_SLACK > (uint64_t)(out->end - out->at)) return OUT_OF_MEMORY;
  const uint8_t *start = out->at;
  const int start_bits = out->n_bits;
  if (block->kind == STORED) {
    put_stored(out, tokens, first, last, n_cells, final);
  } else {
    put(out, (uint64_t)final | (uint64_t)block->kind << 1, 3);
    flush(out);
    if (block->kind == DYNAMIC) put_header(out, &block->header);
    put_tokens(out, block, tokens, first, last);
  }
  /* ... and a string that was planned with one code and written with another cannot pass. */
  const uint64_t written = (uint64_t)(out->at - start) * 8 + (uint64_t)out->n_bits;
  return written == block->bits + (uint64_t)start_bits ? OK : INCONSISTENT;
}

/* Writes all blocks: a segment joins the block before it, unless codes of its own take fewer bits. */
static int put_blocks(Output *out, const Tokens *tokens) {
  const uint8_t background = tokens->background;
  const int64_t n = tokens->n_tokens;
  Histogram current, next, joined;
  Block block, own, both;
  uint8_t first_lengths[MAX_SYMBOLS] = {0}; /* a guess */
  memset(first_lengths + FIRST_LENGTH, 6, N_LENGTHS);
  first_lengths[background] = 2;
  int64_t first = 0, end = n < SEGMENT_TOKENS ? n : SEGMENT_TOKENS;
  count_tokens(&current, tokens, 0, end);
  plan_dynamic(&block, &current, background, first_lengths, 1);
  while (end < n) {
    const int64_t stop = n - end < SEGMENT_TOKENS ? n : end + SEGMENT_TOKENS;
    count_tokens(&next, tokens, end, stop);
    joined = next;
    add_histogram(&joined, &current);
    plan_dynamic(&own, &next, background, block.lengths, 1);
    plan_dynamic(&both, &joined, background, block.lengths, 1);
    if (both.bits <= block.bits + own.bits) {
      current = joined;
      block = both;
    } else {
      choose_form(&block, &current, background, out->n_bits);
      const int result = put_block(out, &block, tokens, first, end, current.n_cells);
      if (result) return result;
      current = next;
      block = own;
      first = end;
    }
    end = stop;
  }
  choose_form(&block, &current, background, out->n_bits);
  return put_block(out, &block, tokens, first, n, current.n_cells);
}

/* The most bytes of a member: blocks are stored where codes would take more. */
static int64_t member_bound(int64_t n_cells) { return n_cells + n_cells / 512 + 128; }

static int put_member(uint8_t *out, int64_t capacity, Tokens *tokens, const Crc *crc, int64_t *size,
                      uint8_t *repetitive) {
  /* no name, no time, unknown system: the same bytes on every machine */
  static const uint8_t header[10] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff};
  if (capacity < (int64_t)sizeof header + WORD_SLACK) return OUT_OF_MEMORY;
  memcpy(out, header, sizeof header);
  fold_repeats(tokens);
  Output output = {out + sizeof header, out + capacity, 0, 0};
  const int result = put_blocks(&output, tokens);
  if (result) return result;
  if (output.n_bits) *output.at++ = (uint8_t)output.word;
  if (output.end - output.at < 8) return OUT_OF_MEMORY;
  const uint32_t trailer[2] = {crc_of_tokens(crc, tokens), (uint32_t)tokens->n_cells};
  memcpy(output.at, trailer, 8);
  *size = output.at + 8 - out;
  /* of a short vector a few bytes are a per cent, and a search takes no time */
  *repetitive = (tokens->n_cells <= 4096 && *size <= 256) || is_repetitive(tokens, 8 * *size);
  return OK;
}
