/* Find the records in the bytes of a record batch of Kafka, without a copy of their keys and values.

   Whatever is not plainly a record is declined: aiokafka then reads the records, or reports the error. So are records
   that streamapp/transport reads in a way of its own: too many headers, names of headers that are not UTF-8, offsets
   beyond the batch. */
#ifndef STREAMAPP_RECORDS_H
#define STREAMAPP_RECORDS_H

#include "work.h"

/* Bytes of the smallest record, which has neither key nor value nor headers. */
#define LEAST_RECORD 7

/* A record, as in streamapp/model/record_columns.py: places are in the bytes of its batch, and the size of null is -1.
   `memory` is what the transport counts for it. */
typedef struct {
    int64_t offset, timestamp;
    int32_t key_at, key_size, value_at, value_size, headers_at, header_count, memory, unused;
} Row;

/* What is the same for all records of a batch. */
typedef struct {
    int64_t base_offset, last_offset, first_ms, append_ms;
    int has_append_ms;
    int64_t record_memory, header_memory, most_headers;
} RecordBatch;

typedef struct {
    const uint8_t *data;
    Row *rows;
    size_t count;
    /* Records before this offset are left out. */
    int64_t next_offset;
    /* Bytes and counted memory of the records that are kept. */
    size_t kept_bytes;
    int64_t memory;
    int has_headers;
} Rows;

static int sum_of(int64_t a, int64_t b, int64_t *sum) {
    if (b > 0 ? a > INT64_MAX - b : a < INT64_MIN - b) return 0;
    *sum = a + b;
    return 1;
}

/* Bytes or null; there are at most MAX_LENGTH bytes from `data` on. */
static int read_nullable(Work *w, const uint8_t *data, int32_t *at, int32_t *size) {
    const uint8_t *bytes;
    int64_t length;
    if (!read_long(w, &length) || length > MAX_LENGTH) return 0;
    *at = (int32_t)(w->at - data);
    *size = length < 0 ? -1 : (int32_t)length;
    return length < 0 || take(w, (size_t)length, &bytes);
}

/* The size of a text in Python, in which the transport counts memory. */
static int64_t character_count(const uint8_t *text, size_t size) {
    int64_t count = 0;
    for (size_t i = 0; i < size; i++) count += (text[i] & 0xc0) != 0x80;
    return count;
}

static int read_headers(Work *w, const RecordBatch *b, const uint8_t *data, Row *row, int64_t *memory) {
    int64_t count;
    if (!read_long(w, &count) || count < 0 || count > b->most_headers) return 0;
    row->headers_at = (int32_t)(w->at - data);
    row->header_count = (int32_t)count;
    for (int64_t i = 0; i < count; i++) {
        const uint8_t *name;
        size_t name_size;
        int32_t value_at, value_size;
        if (!read_bytes(w, &name, &name_size) || !is_utf8(name, name_size)) return 0;
        if (!read_nullable(w, data, &value_at, &value_size)) return 0;
        *memory += b->header_memory + character_count(name, name_size) + (value_size < 0 ? 0 : value_size);
    }
    return 1;
}

/* Read what a record has after its length. */
static int read_fields(Work *w, const RecordBatch *b, const uint8_t *data, Row *row) {
    const uint8_t *attributes;
    int64_t after_first_ms, after_base, memory = b->record_memory;
    if (!take(w, 1, &attributes) || *attributes > 127 || !read_long(w, &after_first_ms) || !read_long(w, &after_base))
        return 0;
    if (!sum_of(b->base_offset, after_base, &row->offset) || row->offset > b->last_offset) return 0;
    if (!sum_of(b->first_ms, after_first_ms, &row->timestamp)) return 0;
    if (b->has_append_ms) row->timestamp = b->append_ms;
    if (!read_nullable(w, data, &row->key_at, &row->key_size)) return 0;
    if (!read_nullable(w, data, &row->value_at, &row->value_size)) return 0;
    if (!read_headers(w, b, data, row, &memory)) return 0;
    memory += (row->key_size < 0 ? 0 : row->key_size) + (int64_t)(row->value_size < 0 ? 0 : row->value_size);
    row->memory = (int32_t)memory;
    row->unused = 0;
    return memory <= INT32_MAX && w->at == w->end;
}

/* Read a record, and keep it unless its offset is not beyond that of the record before it. */
static int read_row(Work *w, const RecordBatch *b, Rows *found) {
    const uint8_t *end = w->end;
    Row *row = &found->rows[found->count];
    int64_t length;
    if (!read_length(w, &length) || !length || (size_t)length > left(w)) return 0;
    w->end = w->at + length;
    if (!read_fields(w, b, found->data, row)) return 0;
    w->end = end;
    if (row->offset < found->next_offset) return 1;
    found->next_offset = row->offset + (row->offset < INT64_MAX);
    found->has_headers |= row->header_count > 0;
    found->kept_bytes += (size_t)length;
    found->memory += row->memory;
    found->count++;
    return 1;
}

/* Find `count` records, for which `found->rows` has room. The bytes of records that are left out stay in memory: there
   must not be more of them than what is counted for the others. */
static int read_rows(const RecordBatch *b, size_t size, int64_t count, Rows *found) {
    Work w = {0};
    w.at = found->data;
    w.end = found->data + size;
    for (; count > 0; count--)
        if (!read_row(&w, b, found)) return 0;
    return w.at == w.end && (!found->count || (int64_t)(size - found->kept_bytes) <= found->memory);
}

/* The number of rows until their memory reaches `most`, and that memory. */
static size_t fitting_rows(const Row *rows, size_t count, int64_t most, int64_t *memory) {
    size_t i = 0;
    for (*memory = 0; i < count && *memory < most; i++) *memory += rows[i].memory;
    return i;
}

#endif
