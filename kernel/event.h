/* Convert the records of a batch to the documents of their events, and group these by the values of their dimensions. */
#ifndef STREAMAPP_EVENT_H
#define STREAMAPP_EVENT_H

#include "program.h"

#define HEADER_SIZE 5
#define TIME_SLOT 0
#define USER_SLOT 1
#define FIRST_DIMENSION_SLOT 2
#define MAX_DIMENSIONS (MAX_SLOTS - FIRST_DIMENSION_SLOT)
#define MAX_PROBES 16

typedef struct {
    const uint8_t *bytes;
    size_t size;
} Span;

/* A writer schema. */
typedef struct {
    Program program;
    int64_t root;
    /* Number of dimensions that a writer has, and which of them may be null or absent. */
    int dimensions;
    int64_t nullable;
    /* The elements between the event's own and `kafka`. */
    Span after;
} Writer;

/* What is the same for all records of a batch. */
typedef struct {
    /* The `_id` before the offset, and the elements of `kafka` before the offset. */
    Span id_start, kafka_start;
    int64_t earliest, latest, ahead;
} Batch;

/* A record and, once it is converted, its document; `group` is -1 if it is declined. */
typedef struct {
    const uint8_t *value;
    size_t size;
    int64_t offset, timestamp;
    int writer;
    int group;
    int64_t event_time;
    size_t at, document_size, user_at, user_size;
} Event;

/* A writer and values of its dimensions, where they were written first; their type is 0 for null. */
typedef struct {
    uint64_t hash;
    int writer;
    Slot values[MAX_DIMENSIONS];
} Group;

typedef struct {
    Work work;
    Writer *writers;
    Group *groups;
    int group_count;
    /* Hash table of indexes into `groups`, -1: free. Its size is a power of two, more than twice that of the batch. */
    int *table;
    size_t table_size;
} Conversion;

static int put_id(Work *w, const Batch *b, int64_t offset) {
    char digits[20];
    size_t size = digits_of((uint64_t)offset, digits);
    return put(w, "\x02_id", 5) && put_number(w, b->id_start.size + size + 1, 4) &&
           put(w, b->id_start.bytes, b->id_start.size) && put(w, digits, size) && put_byte(w, 0);
}

static int put_kafka(Work *w, const Batch *b, const Event *event) {
    size_t at;
    uint8_t type;
    if (!put(w, "\x03kafka", 7) || !begin_document(w, &at) || !put(w, b->kafka_start.bytes, b->kafka_start.size))
        return 0;
    size_t type_at = w->used;
    if (!put(w, "\0offset", 8) || !put_integer(w, event->offset, &type)) return 0;
    w->out[type_at] = type;
    return put(w, "\x09timestamp", 11) && put_number(w, (uint64_t)event->timestamp, 8) && end_document(w, at);
}

static int put_document(Work *w, const Writer *writer, const Batch *b, const Event *event) {
    size_t at;
    return begin_document(w, &at) && put_id(w, b, event->offset) && put_elements(w, &writer->program, writer->root) &&
           w->at == w->end && put(w, writer->after.bytes, writer->after.size) && put_kafka(w, b, event) &&
           end_document(w, at);
}

static int64_t load(const uint8_t *from, size_t size) {
    uint64_t number = 0;
    for (size_t i = 0; i < size; i++) number |= (uint64_t)from[i] << 8 * i;
    return size == 4 ? (int64_t)(int32_t)(uint32_t)number : (int64_t)number;
}

static int is_in_range(const Batch *b, int64_t at, int64_t timestamp) {
    if (timestamp < 0 || at < b->earliest || at > b->latest) return 0;
    return at <= timestamp || at - timestamp <= b->ahead;
}

/* Fill in what rollups need. */
static int note_fields(const Work *w, const Writer *writer, const Batch *b, Event *event) {
    const Slot *time = &w->slots[TIME_SLOT], *user = &w->slots[USER_SLOT];
    if ((time->type != BSON_INT32 && time->type != BSON_INT64) || user->type != BSON_STRING) return 0;
    for (int i = 0; i < writer->dimensions; i++) {
        uint8_t type = w->slots[FIRST_DIMENSION_SLOT + i].type;
        int is_null = type == 0 || type == BSON_NULL;
        if (is_null ? !(writer->nullable >> i & 1) : type != BSON_STRING) return 0;
    }
    event->event_time = load(w->out + time->at, time->size);
    event->user_at = user->at + 4;
    event->user_size = user->size - 5;
    return is_in_range(b, event->event_time, event->timestamp);
}

static uint64_t hashed(uint64_t hash, const uint8_t *bytes, size_t size) {
    uint64_t eight;
    for (; size >= 8; bytes += 8, size -= 8) {
        memcpy(&eight, bytes, 8);
        hash = (hash ^ eight) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 32;
    }
    for (; size; bytes++, size--) hash = (hash ^ *bytes) * UINT64_C(0x100000001b3);
    return hash;
}

static void fill_group(Group *group, const Work *w, const Writer *writer, int index) {
    static const Slot null = {0, 0, 0};
    uint64_t hash = UINT64_C(0xcbf29ce484222325) + (uint64_t)index;
    for (int i = 0; i < writer->dimensions; i++) {
        const Slot *slot = &w->slots[FIRST_DIMENSION_SLOT + i];
        /* A string in BSON begins with its size, so that the values of two dimensions cannot be taken for others. */
        group->values[i] = slot->type == BSON_STRING ? *slot : null;
        hash = hashed(hash, w->out + group->values[i].at, group->values[i].size);
    }
    group->hash = hash ^ hash >> 29;
    group->writer = index;
}

static int is_same(const Work *w, const Writer *writer, const Group *one, const Group *other) {
    if (one->hash != other->hash || one->writer != other->writer) return 0;
    for (int i = 0; i < writer->dimensions; i++) {
        const Slot *a = &one->values[i], *b = &other->values[i];
        if (a->size != b->size || memcmp(w->out + a->at, w->out + b->at, a->size)) return 0;
    }
    return 1;
}

/* The index of the event's group. After MAX_PROBES others it has one of its own, equal to another perhaps: producers can
   choose values of one hash. */
static int grouped(Conversion *c, int writer) {
    Group *group = &c->groups[c->group_count]; /* stays only if there is none like it */
    fill_group(group, &c->work, &c->writers[writer], writer);
    size_t mask = c->table_size - 1, at = (size_t)group->hash & mask;
    for (int probes = 0; c->table[at] >= 0; at = (at + 1) & mask) {
        if (is_same(&c->work, &c->writers[writer], group, &c->groups[c->table[at]])) return c->table[at];
        if (++probes == MAX_PROBES) return c->group_count++;
    }
    return c->table[at] = c->group_count++;
}

/* Convert a record, whose value has a header at least. What a declined one has written is overwritten. */
static void convert(Conversion *c, const Batch *b, Event *event) {
    Work *w = &c->work;
    const Writer *writer = &c->writers[event->writer];
    event->at = w->used;
    begin_value(w, event->value, event->size);
    w->at += HEADER_SIZE;
    if (put_document(w, writer, b, event) && note_fields(w, writer, b, event)) {
        event->document_size = w->used - event->at;
        event->group = grouped(c, event->writer);
    } else {
        w->used = event->at;
        event->group = -1;
    }
}

#endif
