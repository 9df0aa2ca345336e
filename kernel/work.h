/* The state of a conversion: the Avro body that is read, and the BSON documents that are written.

   No function here needs Python's interpreter lock. Each returns 1, or 0: the body is declined, because it is not what
   the Avro specification allows or because it is beyond a limit; the generic path then decodes it or reports the error.
   The limits are those of streamapp/decode/cursor.py. */
#ifndef STREAMAPP_WORK_H
#define STREAMAPP_WORK_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 100
#define MAX_LENGTH INT64_C(0x7fffffff)
#define MAX_BUILT (INT64_C(64) << 20)
#define BUILT_ALWAYS (INT64_C(4) << 20)
#define BUILT_PER_BYTE 512

/* A document has at most MAX_DOCUMENT bytes, and so many for each byte of its value if it has more than SMALL_DOCUMENT. */
#define MAX_DOCUMENT ((size_t)1 << 20)
#define SMALL_DOCUMENT ((size_t)16 << 10)
#define DOCUMENT_PER_BYTE 8

/* Fields that are needed again once they are written: by rollups, and to repeat them. */
#define MAX_SLOTS 16

/* BSON's types. */
enum {
    BSON_DOUBLE = 0x01,
    BSON_STRING = 0x02,
    BSON_DOCUMENT = 0x03,
    BSON_ARRAY = 0x04,
    BSON_BINARY = 0x05,
    BSON_BOOLEAN = 0x08,
    BSON_DATE = 0x09,
    BSON_NULL = 0x0a,
    BSON_INT32 = 0x10,
    BSON_INT64 = 0x12,
    BSON_DECIMAL128 = 0x13
};

/* A value in the written bytes; type 0: absent. */
typedef struct {
    uint8_t type;
    size_t at, size;
} Slot;

typedef struct {
    /* What is read. */
    const uint8_t *at, *end;
    int depth;
    int64_t built, most_built;
    /* What is written: `used` bytes, of which the document may take those up to `limit`. */
    uint8_t *out;
    size_t used, room, limit;
    int is_out_of_memory;
    Slot slots[MAX_SLOTS];
} Work;

static void begin_value(Work *w, const uint8_t *value, size_t size) {
    int64_t most = BUILT_ALWAYS + BUILT_PER_BYTE * (int64_t)size;
    size_t limit = size > MAX_DOCUMENT / DOCUMENT_PER_BYTE ? MAX_DOCUMENT : size * DOCUMENT_PER_BYTE;
    w->at = value;
    w->end = value + size;
    w->depth = 0;
    w->built = (int64_t)size;
    w->most_built = most < MAX_BUILT ? most : MAX_BUILT;
    w->limit = w->used + (limit < SMALL_DOCUMENT ? SMALL_DOCUMENT : limit);
    memset(w->slots, 0, sizeof w->slots);
}

static int build(Work *w, int64_t size) {
    w->built += size;
    return w->built <= w->most_built;
}

/* -- Read Avro. */

static size_t left(const Work *w) { return (size_t)(w->end - w->at); }

static int read_long(Work *w, int64_t *found) {
    uint64_t bits = 0;
    for (unsigned shift = 0; w->at < w->end; shift += 7) {
        uint8_t byte = *w->at++;
        if (shift == 63 && byte > 1) return 0; /* more than 64 bits */
        bits |= (uint64_t)(byte & 127) << shift;
        if (byte < 128) {
            *found = (int64_t)(bits >> 1) ^ -(int64_t)(bits & 1);
            return byte || !shift; /* not more bytes than the number needs */
        }
    }
    return 0;
}

static int read_int(Work *w, int64_t *found) {
    return read_long(w, found) && *found >= INT32_MIN && *found <= INT32_MAX;
}

static int read_length(Work *w, int64_t *found) { return read_long(w, found) && *found >= 0 && *found <= MAX_LENGTH; }

static int read_index(Work *w, int64_t count, int64_t *found) {
    return read_long(w, found) && *found >= 0 && *found < count;
}

static int take(Work *w, size_t size, const uint8_t **found) {
    if (size > left(w)) return 0;
    *found = w->at;
    w->at += size;
    return 1;
}

static int read_bytes(Work *w, const uint8_t **found, size_t *size) {
    int64_t length;
    if (!read_length(w, &length)) return 0;
    *size = (size_t)length;
    return take(w, *size, found);
}

static size_t ascii_prefix(const uint8_t *text, size_t size) {
    size_t i = 0;
    for (; size - i >= 8; i += 8) {
        uint64_t eight;
        memcpy(&eight, text + i, 8);
        if (eight & UINT64_C(0x8080808080808080)) break;
    }
    while (i < size && text[i] < 128) i++;
    return i;
}

/* The size of the character that begins with a byte beyond ASCII; 0 if it is not one of Unicode's in UTF-8. */
static size_t character_size(const uint8_t *text, size_t size) {
    static const struct { uint8_t first, last, least, most, size; } rows[] = {
        {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
        {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
        {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (*text < rows[i].first || *text > rows[i].last) continue;
        if (size < rows[i].size || text[1] < rows[i].least || text[1] > rows[i].most) return 0;
        for (size_t k = 2; k < rows[i].size; k++)
            if ((text[k] & 0xc0) != 0x80) return 0;
        return rows[i].size;
    }
    return 0;
}

static int is_utf8(const uint8_t *text, size_t size) {
    size_t i = 0, step;
    while ((i += ascii_prefix(text + i, size - i)) < size) {
        if (!(step = character_size(text + i, size - i))) return 0;
        i += step;
    }
    return 1;
}

static int read_string(Work *w, const uint8_t **text, size_t *size) {
    if (!read_bytes(w, text, size)) return 0;
    if (ascii_prefix(*text, *size) == *size) return 1;
    return is_utf8(*text, *size) && build(w, 3 * (int64_t)*size);
}

/* -- Write BSON. */

static int reserve(Work *w, size_t size) {
    if (size > w->limit - w->used) return 0;
    if (size <= w->room - w->used) return 1;
    size_t room = 2 * w->room + size;
    uint8_t *out = realloc(w->out, room);
    if (!out) {
        w->is_out_of_memory = 1;
        return 0;
    }
    w->out = out;
    w->room = room;
    return 1;
}

static int put(Work *w, const void *bytes, size_t size) {
    if (!reserve(w, size)) return 0;
    if (size) memcpy(w->out + w->used, bytes, size);
    w->used += size;
    return 1;
}

static int put_byte(Work *w, uint8_t byte) { return put(w, &byte, 1); }

/* BSON is little-endian, whatever the processor is. */
static void store(uint8_t *to, uint64_t number, size_t size) {
    for (size_t i = 0; i < size; i++) to[i] = (uint8_t)(number >> 8 * i);
}

static int put_number(Work *w, uint64_t number, size_t size) {
    if (!reserve(w, size)) return 0;
    store(w->out + w->used, number, size);
    w->used += size;
    return 1;
}

static int put_string(Work *w, const void *text, size_t size) {
    return put_number(w, size + 1, 4) && put(w, text, size) && put_byte(w, 0);
}

/* An integer as PyMongo stores it: in the smaller type that holds it. */
static int put_integer(Work *w, int64_t number, uint8_t *type) {
    int is_small = number >= INT32_MIN && number <= INT32_MAX;
    *type = is_small ? BSON_INT32 : BSON_INT64;
    return put_number(w, (uint64_t)number, is_small ? 4 : 8);
}

/* Begin a document or an array; `end_document` writes its size at `*at`. */
static int begin_document(Work *w, size_t *at) {
    *at = w->used;
    return put_number(w, 0, 4);
}

static int end_document(Work *w, size_t at) {
    if (!put_byte(w, 0)) return 0;
    store(w->out + at, w->used - at, 4);
    return 1;
}

/* The digits of a number that is not negative; returns how many. */
static size_t digits_of(uint64_t number, char digits[20]) {
    char reversed[20];
    size_t size = 0;
    do reversed[size++] = (char)('0' + number % 10);
    while (number /= 10);
    for (size_t i = 0; i < size; i++) digits[i] = reversed[size - 1 - i];
    return size;
}

#endif
