/* Convert a value as a program says, which streamapp/decode/kernel_program.py makes of a writer schema.

   A program is an array of numbers; a node in it is an operation and its arguments, and names other nodes by their
   index. Names and texts are in the blob, by their place and size; names end with a null there. A program is trusted:
   it contains no number from a record. */
#ifndef STREAMAPP_PROGRAM_H
#define STREAMAPP_PROGRAM_H

#include "work.h"

/* The same numbers as in kernel_program.py. */
enum {
    OP_DECLINE,
    OP_NULL,
    OP_BOOLEAN,
    OP_INT,
    OP_LONG,
    OP_FLOAT,
    OP_DOUBLE,
    OP_BYTES,
    OP_STRING,
    OP_FIXED,       /* size */
    OP_ENUM,        /* count, then of each symbol: place, size */
    OP_DATE,        /* days → date */
    OP_INSTANT,     /* divisor: a long → date */
    OP_EVENT_DATE,  /* days → milliseconds */
    OP_EVENT_TIME,  /* divisor: a long → milliseconds */
    OP_DECIMAL,     /* scale, size of the fixed or -1 */
    OP_UUID,
    OP_ARRAY,       /* item, its least encoded size, memory of an item */
    OP_MAP,         /* likewise, the size with that of the key */
    OP_UNION,       /* count, then the branches */
    OP_RECORD       /* see `Record` */
};

typedef struct {
    const int64_t *words;
    const uint8_t *blob;
} Program;

/* After the operation of a record: these numbers, its fields, its copies. */
typedef struct {
    int64_t count, memory, copies, constants_at, constants_size;
} Record;

/* `slot`: where the written value is remembered, or -1. */
typedef struct {
    int64_t node, name_at, name_size, slot;
} Field;

/* A field that repeats the value in a slot under another name. */
typedef struct {
    int64_t slot, name_at, name_size;
} Copy;

#define MILLIS_PER_DAY 86400000
#define MAX_MAP_KEYS 32

static int put_value(Work *w, const Program *p, int64_t at, uint8_t *type);

static int64_t floor_divided(int64_t number, int64_t divisor) {
    int64_t quotient = number / divisor;
    return quotient - (number % divisor < 0);
}

static int put_boolean(Work *w) {
    const uint8_t *byte;
    return take(w, 1, &byte) && *byte <= 1 && put(w, byte, 1);
}

static int put_float(Work *w) {
    const uint8_t *bytes;
    if (!take(w, 4, &bytes)) return 0;
    uint32_t bits = (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
    float narrow;
    memcpy(&narrow, &bits, 4);
    double wide = narrow;
    uint64_t wide_bits;
    memcpy(&wide_bits, &wide, 8);
    return narrow == narrow && put_number(w, wide_bits, 8); /* the bits of NaN depend on the processor */
}

static int put_fixed(Work *w, size_t size) {
    const uint8_t *bytes;
    return take(w, size, &bytes) && put(w, bytes, size);
}

static int put_binary(Work *w, int64_t size) {
    return (size >= 0 || read_length(w, &size)) && put_number(w, (uint64_t)size, 4) && put_byte(w, 0) &&
           put_fixed(w, (size_t)size);
}

static int put_text(Work *w) {
    const uint8_t *text;
    size_t size;
    return read_string(w, &text, &size) && put_string(w, text, size);
}

static int put_symbol(Work *w, const Program *p, const int64_t *node) {
    int64_t index;
    if (!read_index(w, node[1], &index)) return 0;
    return put_string(w, p->blob + node[2 + 2 * index], (size_t)node[3 + 2 * index]);
}

static int put_uuid(Work *w) {
    static const char hex[] = "0123456789abcdef";
    const uint8_t *bytes;
    char text[36];
    size_t size = 0;
    if (!take(w, 16, &bytes)) return 0;
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) text[size++] = '-';
        text[size++] = hex[bytes[i] >> 4];
        text[size++] = hex[bytes[i] & 15];
    }
    return put_string(w, text, size);
}

/* A two's complement number of at most 16 bytes, without its sign; returns the sign. */
static int magnitude(const uint8_t *bytes, size_t size, uint64_t *high, uint64_t *low) {
    int is_negative = size && bytes[0] >> 7;
    *high = *low = is_negative ? UINT64_MAX : 0;
    for (size_t i = 0; i < size; i++) {
        *high = *high << 8 | *low >> 56;
        *low = *low << 8 | bytes[i];
    }
    if (is_negative) {
        *low = ~*low + 1;
        *high = ~*high + !*low;
    }
    return is_negative;
}

/* Decimal128: 34 digits, the exponent with a bias of 6176 above them. Zeros at the end could make up for more digits;
   the generic path sees to that. */
static int put_decimal(Work *w, int64_t scale, int64_t size) {
    static const uint64_t most_high = UINT64_C(0x1ed09bead87c0), most_low = UINT64_C(0x378d8e63ffffffff);
    const uint8_t *bytes;
    uint64_t high, low;
    if ((size < 0 && !read_length(w, &size)) || size > 16 || !take(w, (size_t)size, &bytes)) return 0;
    uint64_t sign = (uint64_t)magnitude(bytes, (size_t)size, &high, &low);
    if (high > most_high || (high == most_high && low > most_low)) return 0;
    return put_number(w, low, 8) && put_number(w, high | (uint64_t)(6176 - scale) << 49 | sign << 63, 8);
}

/* An integer, or an instant. */
static int put_converted(Work *w, const int64_t *node, uint8_t *type) {
    int64_t number;
    int is_days = node[0] == OP_DATE || node[0] == OP_EVENT_DATE;
    if (!(is_days || node[0] == OP_INT ? read_int : read_long)(w, &number)) return 0;
    if (is_days) number *= MILLIS_PER_DAY;
    if (node[0] == OP_INSTANT || node[0] == OP_EVENT_TIME) number = floor_divided(number, node[1]);
    if (node[0] != OP_DATE && node[0] != OP_INSTANT) return put_integer(w, number, type);
    *type = BSON_DATE;
    return put_number(w, (uint64_t)number, 8);
}

/* -- Arrays and maps. */

typedef struct {
    const uint8_t *text;
    size_t size;
} Key;

/* The key of an entry. A key that comes twice, and one that BSON cannot hold, are left to the generic path. */
static int put_key(Work *w, Key *keys, size_t index) {
    if (index >= MAX_MAP_KEYS || !read_string(w, &keys[index].text, &keys[index].size)) return 0;
    const Key *key = &keys[index];
    for (size_t i = 0; i < index; i++)
        if (keys[i].size == key->size && !memcmp(keys[i].text, key->text, key->size)) return 0;
    return !memchr(key->text, 0, key->size) && put(w, key->text, key->size) && put_byte(w, 0);
}

static int put_position(Work *w, size_t index) {
    char digits[20];
    size_t size = digits_of(index, digits);
    return put(w, digits, size) && put_byte(w, 0);
}

static int put_item(Work *w, const Program *p, int64_t node, Key *keys, size_t index) {
    size_t type_at = w->used;
    uint8_t type;
    if (!put_byte(w, 0) || !(keys ? put_key(w, keys, index) : put_position(w, index))) return 0;
    if (!put_value(w, p, node, &type)) return 0;
    w->out[type_at] = type;
    return 1;
}

/* The number of items in the next block, 0 after the last one; `*size` is that of the block in bytes, or -1. */
static int read_block(Work *w, const int64_t *node, int64_t *count, int64_t *size) {
    *size = -1;
    if (!read_long(w, count) || (*count < 0 && !read_length(w, size))) return 0;
    if (*count < -MAX_LENGTH || *count > MAX_LENGTH) return 0;
    if (*count < 0) *count = -*count;
    return *count <= (int64_t)left(w) / node[2] && build(w, *count * node[3]);
}

static int put_blocks(Work *w, const Program *p, const int64_t *node, Key *keys) {
    size_t at, index = 0;
    int64_t count, size;
    if (++w->depth > MAX_DEPTH || !begin_document(w, &at)) return 0;
    for (;;) {
        if (!read_block(w, node, &count, &size)) return 0;
        if (!count) break;
        const uint8_t *begin = w->at;
        for (; count; count--)
            if (!put_item(w, p, node[1], keys, index++)) return 0;
        if (size >= 0 && w->at - begin != size) return 0;
    }
    w->depth--;
    return end_document(w, at);
}

static int put_map(Work *w, const Program *p, const int64_t *node) {
    Key keys[MAX_MAP_KEYS];
    return put_blocks(w, p, node, keys);
}

/* -- Records. */

static int put_field(Work *w, const Program *p, const Field *field) {
    size_t type_at = w->used;
    uint8_t type;
    if (!put_byte(w, 0) || !put(w, p->blob + field->name_at, (size_t)field->name_size)) return 0;
    size_t at = w->used;
    if (!put_value(w, p, field->node, &type)) return 0;
    w->out[type_at] = type;
    if (field->slot >= 0) w->slots[field->slot] = (Slot){type, at, w->used - at};
    return 1;
}

static int put_copy(Work *w, const Program *p, const Copy *copy) {
    const Slot *slot = &w->slots[copy->slot];
    if (!put_byte(w, slot->type) || !put(w, p->blob + copy->name_at, (size_t)copy->name_size)) return 0;
    if (!reserve(w, slot->size)) return 0;
    memcpy(w->out + w->used, w->out + slot->at, slot->size);
    w->used += slot->size;
    return 1;
}

/* The elements of a record, without the size and the end of the document. */
static int put_elements(Work *w, const Program *p, int64_t at) {
    const Record *record = (const Record *)(p->words + at + 1);
    const Field *fields = (const Field *)(record + 1);
    const Copy *copies = (const Copy *)(fields + record->count);
    if (++w->depth > MAX_DEPTH || !build(w, record->memory)) return 0;
    for (int64_t i = 0; i < record->count; i++)
        if (!put_field(w, p, &fields[i])) return 0;
    for (int64_t i = 0; i < record->copies; i++)
        if (!put_copy(w, p, &copies[i])) return 0;
    w->depth--;
    return put(w, p->blob + record->constants_at, (size_t)record->constants_size);
}

static int put_record(Work *w, const Program *p, int64_t node) {
    size_t at;
    return begin_document(w, &at) && put_elements(w, p, node) && end_document(w, at);
}

/* No union has a union among its branches, so that the recursion is as deep as the documents are nested. */
static int put_branch(Work *w, const Program *p, const int64_t *node, uint8_t *type) {
    int64_t index;
    return read_index(w, node[1], &index) && put_value(w, p, node[2 + index], type);
}

static int put_value(Work *w, const Program *p, int64_t at, uint8_t *type) {
    const int64_t *node = p->words + at;
    switch (node[0]) {
    case OP_NULL: *type = BSON_NULL; return 1;
    case OP_BOOLEAN: *type = BSON_BOOLEAN; return put_boolean(w);
    case OP_FLOAT: *type = BSON_DOUBLE; return put_float(w);
    case OP_DOUBLE: *type = BSON_DOUBLE; return put_fixed(w, 8);
    case OP_BYTES: *type = BSON_BINARY; return put_binary(w, -1);
    case OP_STRING: *type = BSON_STRING; return put_text(w);
    case OP_FIXED: *type = BSON_BINARY; return put_binary(w, node[1]);
    case OP_ENUM: *type = BSON_STRING; return put_symbol(w, p, node);
    case OP_DECIMAL: *type = BSON_DECIMAL128; return put_decimal(w, node[1], node[2]);
    case OP_UUID: *type = BSON_STRING; return put_uuid(w);
    case OP_ARRAY: *type = BSON_ARRAY; return put_blocks(w, p, node, NULL);
    case OP_MAP: *type = BSON_DOCUMENT; return put_map(w, p, node);
    case OP_UNION: return put_branch(w, p, node, type);
    case OP_RECORD: *type = BSON_DOCUMENT; return put_record(w, p, at);
    case OP_DECLINE: return 0;
    default: return put_converted(w, node, type);
    }
}

#endif
