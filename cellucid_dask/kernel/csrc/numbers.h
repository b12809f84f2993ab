/* Numbers -> one zlib stream (RFC 1950 and 1951), for arrays that any program reads.

   A general search tries several matches at every byte. Here one is tried, and where numbers have them: a
   value matches the last one that is equal. Of cells the bytes lie in planes (the first bytes of all, then
   the second ones, and so on), where they come in runs, or three together came before.

   A block covers BLOCK_BYTES, and has codes of its own. */

enum {
  BLOCK_BYTES = 1 << 16,
  WINDOW = 1 << 15,  /* how far back a match may be */
  SLOT_BITS = 15,
  NO_MATCH = 255,
  MAX_SEQUENCES = BLOCK_BYTES / MIN_MATCH + 1
};

typedef struct { /* bytes as they are, and then a match, except at the end of a block */
  uint32_t n_literals;
  uint16_t distance; /* less 1 */
  uint8_t length;    /* less MIN_MATCH */
  uint8_t symbol;    /* of the distance; NO_MATCH */
} Sequence;

typedef struct {
  uint32_t places[1 << SLOT_BITS]; /* where a number of the slot came last, plus 1; 0 for none */
  Sequence sequences[MAX_SEQUENCES];
  uint32_t literals[MAX_SYMBOLS], distances[N_DISTANCES]; /* how often each symbol occurs in the block */
  int64_t n_sequences; /* without the last, of literals alone */
} Search;

/* A distance's symbol; its extra bits are the low ones of the distance less 1. */
static inline int distance_index(uint32_t rest) {
  if (rest < 2) return (int)rest;
  const int top = 31 - __builtin_clz(rest);
  return 2 * top + (int)(rest >> (top - 1) & 1);
}

static inline int distance_bits(int index) { return index < 4 ? 0 : index / 2 - 1; }

static inline void add_literals(Search *search, const uint8_t *literals, int64_t n) {
  const Sequence sequence = {(uint32_t)n, 0, 0, NO_MATCH};
  search->sequences[search->n_sequences] = sequence;
  for (int64_t i = 0; i < n; i++) search->literals[literals[i]]++;
}

static inline void add_match(Search *search, int64_t length, int64_t distance) {
  const uint32_t rest = (uint32_t)distance - 1;
  Sequence *sequence = &search->sequences[search->n_sequences++];
  sequence->distance = (uint16_t)rest;
  sequence->length = (uint8_t)(length - MIN_MATCH);
  sequence->symbol = (uint8_t)distance_index(rest);
  search->literals[FIRST_LENGTH + length_index((uint32_t)length)]++;
  search->distances[sequence->symbol]++;
}

SPECIALIZED uint64_t number_at(const uint8_t *data, int64_t at, int width) {
  uint64_t number = 0;
  memcpy(&number, data + at, (size_t)width);
  return number;
}

/* Where a number came last, or another of its slot, or -1; now it is at `at`. */
SPECIALIZED int64_t place_of(Search *search, uint64_t number, int64_t at) {
  uint32_t *place = &search->places[number * UINT64_C(0x9e3779b97f4a7c15) >> (64 - SLOT_BITS)];
  const int64_t before = (int64_t)*place - 1;
  *place = (uint32_t)at + 1;
  return before;
}

/* Finds whole numbers that came before. */
SPECIALIZED void find_numbers(Search *search, const uint8_t *data, int64_t first, int64_t last, int width) {
  int64_t literals = first, at = first;
  while (at + width <= last) {
    const uint64_t number = number_at(data, at, width);
    const int64_t before = place_of(search, number, at);
    if (before < 0 || at - before > WINDOW || number_at(data, before, width) != number) {
      at += width;
      continue;
    }
    int64_t end = at + width;
    const int64_t limit = last - at < MAX_MATCH ? last : at + MAX_MATCH;
    while (end + width <= limit) {
      const uint64_t next = number_at(data, end, width);
      if (number_at(data, before + end - at, width) != next) break;
      place_of(search, next, end);
      end += width;
    }
    add_literals(search, data + literals, at - literals);
    add_match(search, end - at, at - before);
    literals = at = end;
  }
  add_literals(search, data + literals, last - literals);
}

static inline uint64_t three_at(const uint8_t *data, int64_t at) { return number_at(data, at, 4) & 0xffffff; }

/* Finds bytes that are equal to the one before, and otherwise three bytes that came before. */
static void find_bytes(Search *search, const uint8_t *data, int64_t first, int64_t last) {
  int64_t literals = first, at = first;
  while (at + 4 <= last) {
    const uint64_t bytes = three_at(data, at);
    const bool run = bytes == (bytes & 0xff) * 0x10101;
    int64_t before = at - 1;
    if (!run) before = place_of(search, bytes, at);
    if (before < 0 || at - before > WINDOW || three_at(data, before) != bytes) {
      at++;
      continue;
    }
    const int64_t limit = last - at < MAX_MATCH ? last : at + MAX_MATCH, distance = at - before;
    int64_t end = at + MIN_MATCH;
    while (end + 8 <= limit && number_at(data, end, 8) == number_at(data, end - distance, 8)) end += 8;
    while (end < limit && data[end] == data[end - distance]) end++;
    add_literals(search, data + literals, at - literals);
    add_match(search, end - at, distance);
    if (!run)
      for (at++; at < end && at + 4 <= last; at++) place_of(search, three_at(data, at), at);
    literals = at = end;
  }
  add_literals(search, data + literals, last - literals);
}

typedef struct {
  uint32_t literals[END_OF_BLOCK + 1]; /* bits, and their number above bit 16 */
  uint32_t lengths[256];               /* less MIN_MATCH: with extra bits, and the number above bit 24 */
  uint32_t distances[N_DISTANCES];     /* as literals */
} Strings;

static void prepare_strings(Strings *strings, const uint8_t *lengths, const uint8_t *distance_lengths) {
  uint16_t codes[MAX_SYMBOLS];
  canonical_codes(lengths, MAX_SYMBOLS, codes);
  for (int i = 0; i <= END_OF_BLOCK; i++) strings->literals[i] = codes[i] | (uint32_t)lengths[i] << 16;
  for (uint32_t i = 0; i < 256; i++) {
    const int index = length_index(i + MIN_MATCH), extra = extra_bits(index);
    const int n = lengths[FIRST_LENGTH + index];
    const uint32_t rest = i & ((1u << extra) - 1);
    strings->lengths[i] = codes[FIRST_LENGTH + index] | rest << n | (uint32_t)(n + extra) << 24;
  }
  canonical_codes(distance_lengths, N_DISTANCES, codes);
  for (int i = 0; i < N_DISTANCES; i++)
    strings->distances[i] = codes[i] | (uint32_t)distance_lengths[i] << 16;
}

static inline void put_literal(Output *out, const Strings *strings, int symbol) {
  put(out, strings->literals[symbol] & 0xffff, (int)(strings->literals[symbol] >> 16));
}

static void put_sequences(Output *result, const Search *search, const Strings *strings,
                          const uint8_t *data) {
  Output out = *result; /* a copy that stays in registers */
  for (int64_t i = 0;; i++) {
    const Sequence sequence = search->sequences[i];
    const uint8_t *end = data + sequence.n_literals;
    for (; end - data >= 3; data += 3) { /* of at most 15 bits each, with 7 left over below a word */
      put_literal(&out, strings, data[0]);
      put_literal(&out, strings, data[1]);
      put_literal(&out, strings, data[2]);
      flush(&out);
    }
    for (; data < end; data++) put_literal(&out, strings, *data);
    flush(&out);
    if (sequence.symbol == NO_MATCH) break;
    const uint32_t length = strings->lengths[sequence.length], distance = strings->distances[sequence.symbol];
    const int extra = distance_bits(sequence.symbol), n_bits = (int)(distance >> 16);
    put(&out, length & 0xffffff, (int)(length >> 24));
    put(&out, (distance & 0xffff) | (uint64_t)(sequence.distance & ((1u << extra) - 1)) << n_bits,
        n_bits + extra);
    flush(&out);
    data += sequence.length + MIN_MATCH;
  }
  put_literal(&out, strings, END_OF_BLOCK);
  flush(&out);
  *result = out;
}

static void put_plain(Output *out, const uint8_t *data, int64_t n, bool final) {
  do {
    const int64_t length = n < MAX_STORED ? n : MAX_STORED;
    put_stored_head(out, length, final && length == n);
    memcpy(out->at, data, (size_t)length);
    out->at += length, data += length, n -= length;
  } while (n > 0);
}

/* Writes one block, of codes of its own unless it takes fewer bits as it is. */
static int put_numbers(Output *out, Search *search, const uint8_t *data, int64_t n, bool final) {
  uint8_t lengths[MAX_SYMBOLS], distance_lengths[N_DISTANCES];
  Header header;
  Strings strings;
  search->literals[END_OF_BLOCK] = 1;
  code_lengths(search->literals, MAX_SYMBOLS, MAX_CODE_BITS, lengths);
  code_lengths(search->distances, N_DISTANCES, MAX_CODE_BITS, distance_lengths);
  uint64_t bits = 3 + plan_header(&header, lengths, distance_lengths, N_DISTANCES);
  bits += coded_bits(search->literals, MAX_SYMBOLS, lengths);
  bits += coded_bits(search->distances, N_DISTANCES, distance_lengths);
  for (int i = 0; i < N_LENGTHS; i++)
    bits += (uint64_t)search->literals[FIRST_LENGTH + i] * (uint64_t)extra_bits(i);
  for (int i = 0; i < N_DISTANCES; i++)
    bits += (uint64_t)search->distances[i] * (uint64_t)distance_bits(i);
  const uint64_t plain = (uint64_t)n + 5 * (uint64_t)(n / MAX_STORED + 1);
  const uint64_t needed = bits / 8 < plain ? bits / 8 : plain;
  if (needed + WORD_SLACK > (uint64_t)(out->end - out->at)) return OUT_OF_MEMORY;
  if (bits / 8 >= plain) {
    put_plain(out, data, n, final);
    return OK;
  }
  const uint8_t *start = out->at;
  const int start_bits = out->n_bits;
  put(out, (uint64_t)final | (uint64_t)DYNAMIC << 1, 3);
  flush(out);
  put_header(out, &header);
  prepare_strings(&strings, lengths, distance_lengths);
  put_sequences(out, search, &strings, data);
  const uint64_t written = (uint64_t)(out->at - start) * 8 + (uint64_t)out->n_bits;
  return written == bits + (uint64_t)start_bits ? OK : INCONSISTENT;
}

/* Adler-32 of RFC 1950: the sum of all bytes, and that of its values after each byte. */
static uint32_t adler32(const uint8_t *data, int64_t n) {
  enum { PRIME = 65521, STRETCH = 512 };
  int16_t weights[STRETCH];
  for (int i = 0; i < STRETCH; i++) weights[i] = (int16_t)(STRETCH - i);
  uint64_t low = 1, high = 0;
  for (; n >= STRETCH; data += STRETCH, n -= STRETCH) {
    int32_t sum = 0, weighted = 0; /* the compiler adds many at once */
    for (int i = 0; i < STRETCH; i++) sum += data[i], weighted += weights[i] * (int16_t)data[i];
    high = (high + STRETCH * low + (uint64_t)weighted) % PRIME;
    low = (low + (uint64_t)sum) % PRIME;
  }
  for (; n > 0; n--) low = (low + *data++) % PRIME, high = (high + low) % PRIME;
  return (uint32_t)(high << 16 | low);
}

/* The most bytes of the stream of n bytes. */
static int64_t stream_bound(int64_t n) { return n + 16 * (n / BLOCK_BYTES + 1) + 2 * WORD_SLACK; }

SPECIALIZED void split(uint8_t *planes, const uint8_t *data, int64_t n, int width) {
  for (int byte = 0; byte < width; byte++)
    for (int64_t i = 0; i < n / width; i++) planes[byte * (n / width) + i] = data[i * width + byte];
}

/* Compresses n bytes of numbers of 4 or 8 bytes, as they are or as planes. */
static int put_stream(uint8_t *out, int64_t capacity, const uint8_t *data, int64_t n, int width,
                      bool as_planes, int64_t *size) {
  if (n >= UINT32_MAX || capacity < stream_bound(n)) return OUT_OF_MEMORY;
  Search *search = malloc(sizeof *search + (as_planes ? (size_t)n : 0));
  if (!search) return OUT_OF_MEMORY;
  memset(search->places, 0, sizeof search->places);
  if (as_planes) {
    uint8_t *planes = (uint8_t *)(search + 1);
    if (width == 4) split(planes, data, n, 4);
    else split(planes, data, n, 8);
    data = planes;
  }
  Output output = {out, out + capacity - 4, 0, 0};
  put(&output, 0x0178, 16); /* a window of 32 KiB, the fastest method */
  flush(&output);
  int result = OK;
  int64_t first = 0;
  do {
    const int64_t last = n - first < BLOCK_BYTES ? n : first + BLOCK_BYTES;
    memset(search->literals, 0, sizeof search->literals);
    memset(search->distances, 0, sizeof search->distances);
    search->n_sequences = 0;
    if (as_planes) find_bytes(search, data, first, last);
    else if (width == 4) find_numbers(search, data, first, last, 4);
    else find_numbers(search, data, first, last, 8);
    result = put_numbers(&output, search, data + first, last - first, last == n);
    first = last;
  } while (first < n && result == OK);
  const uint32_t sum = adler32(data, n);
  free(search);
  if (result) return result;
  if (output.n_bits) *output.at++ = (uint8_t)output.word;
  for (int shift = 24; shift >= 0; shift -= 8) *output.at++ = (uint8_t)(sum >> shift);
  *size = output.at - out;
  return OK;
}
