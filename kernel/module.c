/* _streamapp_kernel: the records in the bytes of a batch, and the documents of records; see docs/decisions.

   Built with the limited API of Python 3.11: one file serves this version and all later ones. The interpreter lock is
   held to read the records and to make the objects, and released in between. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "event.h"
#include "records.h"

#define PROGRAM_NAME "streamapp.decode.program"
/* Writers of one batch. Records of any others are declined. */
#define MAX_WRITERS 64
/* Bytes of all documents of a batch: so many at least, and so many for each byte of its values. */
#define WRITTEN_ALWAYS ((size_t)8 << 20)
#define WRITTEN_PER_BYTE 4

/* A program with the objects that own its bytes. */
typedef struct {
    Writer writer;
    PyObject *words, *blob, *version;
    /* Of each dimension: which of the writer's it is, or -1 for the schema version. */
    int order[MAX_DIMENSIONS], order_size;
} Compiled;

static struct {
    PyObject *offset, *timestamp, *value, *headers, *raw, *at, *user_id, *dimensions, *nothing;
} names;

/* -- Programs. */

static void free_compiled(Compiled *compiled) {
    Py_XDECREF(compiled->words);
    Py_XDECREF(compiled->blob);
    Py_XDECREF(compiled->version);
    free(compiled);
}

static void free_program(PyObject *capsule) { free_compiled(PyCapsule_GetPointer(capsule, PROGRAM_NAME)); }

static int set_order(Compiled *compiled, PyObject *order) {
    Py_ssize_t size = PyTuple_Size(order);
    if (size < 0 || size > MAX_DIMENSIONS) return 0;
    for (Py_ssize_t i = 0; i < size; i++) {
        long index = PyLong_AsLong(PyTuple_GetItem(order, i));
        if (PyErr_Occurred() || index < -1 || index >= compiled->writer.dimensions) return 0;
        compiled->order[i] = (int)index;
    }
    compiled->order_size = (int)size;
    return 1;
}

static int set_program(Compiled *compiled, PyObject *args) {
    PyObject *words, *blob, *version, *order;
    long long root, nullable;
    Writer *writer = &compiled->writer;
    if (!PyArg_ParseTuple(args, "(SSL)(iLO!)U", &words, &blob, &root, &writer->dimensions, &nullable, &PyTuple_Type, &order,
                          &version))
        return 0;
    compiled->words = Py_NewRef(words);
    compiled->blob = Py_NewRef(blob);
    compiled->version = Py_NewRef(version);
    writer->root = root;
    writer->nullable = nullable;
    writer->program.words = (const int64_t *)(void *)PyBytes_AsString(words);
    writer->program.blob = (const uint8_t *)PyBytes_AsString(blob);
    return writer->dimensions >= 0 && writer->dimensions <= MAX_DIMENSIONS && set_order(compiled, order);
}

static PyObject *program(PyObject *Py_UNUSED(module), PyObject *args) {
    Compiled *compiled = calloc(1, sizeof *compiled);
    if (!compiled) return PyErr_NoMemory();
    PyObject *capsule = set_program(compiled, args) ? PyCapsule_New(compiled, PROGRAM_NAME, free_program) : NULL;
    if (!capsule) {
        free_compiled(compiled);
        if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "not a program");
    }
    return capsule;
}

/* -- Records. */

/* Everything of one call, with references to all objects whose bytes are read. */
typedef struct {
    Batch batch;
    Conversion conversion;
    Writer writers[MAX_WRITERS];
    Compiled *compiled[MAX_WRITERS];
    PyObject *keys[MAX_WRITERS], *found[MAX_WRITERS];
    int writer_count, last_writer;
    Event *events;
    PyObject **values, **offsets;
    Py_ssize_t count;
} Call;

static int same_header(PyObject *key, const uint8_t *value) { return !memcmp(PyBytes_AsString(key), value, HEADER_SIZE); }

/* Add the writer with this header, if the batch has it: header → (program, elements after the event's own). */
static int add_writer(Call *call, PyObject *writers, const uint8_t *value) {
    PyObject *key = PyBytes_FromStringAndSize((const char *)value, HEADER_SIZE);
    PyObject *found = key ? PyDict_GetItemWithError(writers, key) : NULL;
    int index = call->writer_count;
    if (!found || index == MAX_WRITERS) {
        Py_XDECREF(key);
        return -1;
    }
    Compiled *compiled = PyCapsule_GetPointer(PyTuple_GetItem(found, 0), PROGRAM_NAME);
    PyObject *after = PyTuple_GetItem(found, 1);
    if (!compiled || !after || !PyBytes_Check(after)) {
        Py_DECREF(key);
        return -1;
    }
    call->compiled[index] = compiled;
    call->writers[index] = compiled->writer;
    call->writers[index].after = (Span){(const uint8_t *)PyBytes_AsString(after), (size_t)PyBytes_Size(after)};
    call->keys[index] = key;
    call->found[index] = Py_NewRef(found);
    return call->writer_count++;
}

/* The index of the record's writer, -1 if the batch has none. */
static int writer_of(Call *call, PyObject *writers, const uint8_t *value) {
    if (call->writer_count && same_header(call->keys[call->last_writer], value)) return call->last_writer;
    int index = 0;
    while (index < call->writer_count && !same_header(call->keys[index], value)) index++;
    if (index == call->writer_count) index = add_writer(call, writers, value);
    if (index >= 0) call->last_writer = index;
    return index;
}

static int64_t number_of(PyObject *record, PyObject *name, PyObject **kept) {
    PyObject *found = PyObject_GetAttr(record, name);
    int64_t number = found ? PyLong_AsLongLong(found) : -1;
    if (kept)
        *kept = found;
    else
        Py_XDECREF(found);
    return number;
}

/* Take a record apart; its writer is -1 if it is declined, or if an error is set. */
static void read_record(Call *call, Py_ssize_t i, PyObject *record, PyObject *writers) {
    Event *event = &call->events[i];
    PyObject *headers = PyObject_GetAttr(record, names.headers);
    Py_ssize_t header_count = headers ? PyObject_Size(headers) : -1;
    Py_XDECREF(headers);
    event->writer = event->group = -1;
    if (header_count || !(call->values[i] = PyObject_GetAttr(record, names.value))) return;
    if (!PyBytes_Check(call->values[i]) || PyBytes_Size(call->values[i]) < HEADER_SIZE) return;
    event->value = (const uint8_t *)PyBytes_AsString(call->values[i]);
    event->size = (size_t)PyBytes_Size(call->values[i]);
    event->timestamp = number_of(record, names.timestamp, NULL);
    event->offset = number_of(record, names.offset, &call->offsets[i]);
    if (!PyErr_Occurred() && event->offset >= 0) event->writer = writer_of(call, writers, event->value);
}

static int read_objects(Call *call, PyObject *records, PyObject *writers) {
    for (Py_ssize_t i = 0; i < call->count; i++) {
        PyObject *record = PyList_GetItem(records, i);
        if (!record) return 0;
        Py_INCREF(record);
        read_record(call, i, record, writers);
        Py_DECREF(record);
        if (!PyErr_Occurred()) continue;
        if (!PyErr_ExceptionMatches(PyExc_Exception)) return 0;
        PyErr_Clear(); /* an odd record: the generic path reports the error */
        call->events[i].writer = -1;
    }
    return 1;
}

/* The value of a row; NULL if it is null or if it has not these bytes. */
static const uint8_t *value_in(const Row *row, const uint8_t *data, size_t size, size_t least) {
    int is_within = row->value_at >= 0 && (size_t)row->value_at <= size && row->value_size >= 0 &&
                    (size_t)row->value_size <= size - (size_t)row->value_at;
    return is_within && (size_t)row->value_size >= least ? data + row->value_at : NULL;
}

/* Data and rows of a piece, which is a tuple that begins with both. */
typedef struct {
    const uint8_t *data;
    const Row *rows;
    size_t size;
    Py_ssize_t count;
} Piece;

static int get_piece(PyObject *pieces, Py_ssize_t index, Piece *found) {
    PyObject *piece = PyTuple_GetItem(pieces, index);
    PyObject *data = piece ? PyTuple_GetItem(piece, 0) : NULL, *rows = data ? PyTuple_GetItem(piece, 1) : NULL;
    if (!rows) return 0;
    if (!PyBytes_Check(data) || !PyBytes_Check(rows) || PyBytes_Size(rows) % (Py_ssize_t)sizeof(Row)) {
        PyErr_SetString(PyExc_ValueError, "not a piece");
        return 0;
    }
    found->data = (const uint8_t *)PyBytes_AsString(data);
    found->size = (size_t)PyBytes_Size(data);
    found->rows = (const Row *)(const void *)PyBytes_AsString(rows);
    found->count = PyBytes_Size(rows) / (Py_ssize_t)sizeof(Row);
    return 1;
}

/* The number of records of all pieces, -1 with an error. */
static Py_ssize_t count_rows(PyObject *pieces) {
    Py_ssize_t count = 0;
    Piece piece;
    for (Py_ssize_t i = 0; i < PyTuple_Size(pieces); i++) {
        if (!get_piece(pieces, i, &piece)) return -1;
        count += piece.count;
    }
    return count;
}

/* Take a record apart; its writer is -1 if it is declined. */
static void read_row_of(Call *call, Event *event, const Piece *piece, const Row *row, PyObject *writers) {
    event->writer = event->group = -1;
    event->value = value_in(row, piece->data, piece->size, HEADER_SIZE);
    event->size = event->value ? (size_t)row->value_size : 0;
    event->timestamp = row->timestamp;
    event->offset = row->offset;
    if (event->value && !row->header_count && row->offset >= 0) event->writer = writer_of(call, writers, event->value);
}

static int read_pieces(Call *call, PyObject *pieces, PyObject *writers) {
    Event *event = call->events;
    Piece piece;
    for (Py_ssize_t i = 0; i < PyTuple_Size(pieces); i++) {
        if (!get_piece(pieces, i, &piece)) return 0;
        for (Py_ssize_t k = 0; k < piece.count; k++, event++) {
            read_row_of(call, event, &piece, &piece.rows[k], writers);
            if (event->writer < 0 && PyErr_Occurred()) return 0;
        }
    }
    return 1;
}

/* -- Objects. */

static PyObject *text_at(const Call *call, size_t at, size_t size) {
    return PyUnicode_DecodeUTF8((const char *)call->conversion.work.out + at, (Py_ssize_t)size, NULL);
}

/* The value of a dimension in a group. */
static PyObject *value_of(const Call *call, const Group *group, int index) {
    if (index < 0) return Py_NewRef(call->compiled[group->writer]->version);
    const Slot *slot = &group->values[index];
    return slot->type ? text_at(call, slot->at + 4, slot->size - 5) : Py_NewRef(Py_None);
}

static PyObject *dimensions_of(const Call *call, const Group *group, PyObject *type) {
    const Compiled *compiled = call->compiled[group->writer];
    PyObject *args = PyTuple_New(compiled->order_size);
    for (int i = 0; args && i < compiled->order_size; i++) {
        PyObject *value = value_of(call, group, compiled->order[i]);
        if (!value || PyTuple_SetItem(args, i, value) < 0) Py_CLEAR(args);
    }
    PyObject *made = args ? PyObject_CallObject(type, args) : NULL;
    Py_XDECREF(args);
    return made;
}

/* A list of the values of each group. */
static PyObject *all_dimensions(const Call *call, PyObject *type) {
    int count = call->conversion.group_count;
    PyObject *found = PyList_New(count);
    for (int i = 0; found && i < count; i++) {
        PyObject *made = dimensions_of(call, &call->conversion.groups[i], type);
        if (!made || PyList_SetItem(found, i, made) < 0) Py_CLEAR(found);
    }
    return found;
}

/* Set an attribute to a new reference. */
static int set(PyObject *object, PyObject *name, PyObject *value) {
    int is_set = value && PyObject_SetAttr(object, name, value) == 0;
    Py_XDECREF(value);
    return is_set;
}

/* Like the class's own `__init__`, which takes twice as long. */
static PyObject *document_of(const Call *call, Py_ssize_t i, PyTypeObject *type, newfunc make, PyObject *dimensions) {
    const Event *event = &call->events[i];
    const char *raw = (const char *)call->conversion.work.out + event->at;
    PyObject *made = make(type, names.nothing, NULL);
    if (!made) return NULL;
    PyObject *offset = call->offsets[i] ? Py_NewRef(call->offsets[i]) : PyLong_FromLongLong(event->offset);
    if (set(made, names.offset, offset) &&
        set(made, names.raw, PyBytes_FromStringAndSize(raw, (Py_ssize_t)event->document_size)) &&
        set(made, names.at, PyLong_FromLongLong(event->event_time)) &&
        set(made, names.user_id, text_at(call, event->user_at, event->user_size)) &&
        PyObject_SetAttr(made, names.dimensions, PyList_GetItem(dimensions, event->group)) == 0)
        return made;
    Py_XDECREF(made);
    return NULL;
}

/* The documents, None for declined records, and the schema version of each. */
static PyObject *all_documents(const Call *call, PyTypeObject *type, PyObject *dimensions) {
    newfunc make = (newfunc)PyType_GetSlot(type, Py_tp_new);
    PyObject *documents = PyList_New(call->count), *versions = PyList_New(call->count);
    Py_ssize_t declined = 0;
    for (Py_ssize_t i = 0; documents && versions && i < call->count; i++) {
        int is_made = call->events[i].group >= 0;
        PyObject *made = is_made ? document_of(call, i, type, make, dimensions) : Py_NewRef(Py_None);
        PyObject *version = is_made ? call->compiled[call->events[i].writer]->version : Py_None;
        declined += !is_made;
        if (!made) Py_CLEAR(documents);
        if (made) PyList_SetItem(documents, i, made);
        PyList_SetItem(versions, i, Py_NewRef(version));
    }
    PyObject *found = documents && versions ? Py_BuildValue("OOn", documents, versions, declined) : NULL;
    Py_XDECREF(documents);
    Py_XDECREF(versions);
    return found;
}

/* -- A call. */

static int allocate(Call *call, Py_ssize_t count) {
    size_t n = (size_t)count + 1, size = 4;
    while (size < 2 * n) size *= 2;
    call->count = count;
    call->events = calloc(n, sizeof *call->events);
    call->values = calloc(n, sizeof *call->values);
    call->offsets = calloc(n, sizeof *call->offsets);
    Conversion *c = &call->conversion;
    c->writers = call->writers;
    c->groups = malloc(n * sizeof *c->groups);
    c->table = malloc(size * sizeof *c->table);
    c->table_size = size;
    if (c->table) memset(c->table, 0xff, size * sizeof *c->table);
    return call->events && call->values && call->offsets && c->groups && c->table;
}

static void release(Call *call) {
    for (Py_ssize_t i = 0; call->values && call->offsets && i < call->count; i++) {
        Py_XDECREF(call->values[i]);
        Py_XDECREF(call->offsets[i]);
    }
    for (int i = 0; i < call->writer_count; i++) {
        Py_DECREF(call->keys[i]);
        Py_DECREF(call->found[i]);
    }
    free(call->events);
    free(call->values);
    free(call->offsets);
    free(call->conversion.groups);
    free(call->conversion.table);
    free(call->conversion.work.out);
    free(call);
}

/* Records are declined once the documents before them are large: the generic path makes them part by part. */
static void convert_all(Call *call) {
    size_t most = 0;
    for (Py_ssize_t i = 0; i < call->count; i++) most += WRITTEN_PER_BYTE * call->events[i].size;
    if (most < WRITTEN_ALWAYS) most = WRITTEN_ALWAYS;
    for (Py_ssize_t i = 0; i < call->count && call->conversion.work.used <= most; i++)
        if (call->events[i].writer >= 0) convert(&call->conversion, &call->batch, &call->events[i]);
}

static PyObject *run(Call *call, PyObject *records, PyObject *writers, PyTypeObject *document, PyObject *values) {
    int is_pieces = PyTuple_Check(records);
    Py_ssize_t count = is_pieces ? count_rows(records) : PyList_Size(records);
    if (count < 0) return NULL;
    if (!allocate(call, count)) return PyErr_NoMemory();
    if (!(is_pieces ? read_pieces : read_objects)(call, records, writers)) return NULL;
    Py_BEGIN_ALLOW_THREADS
    convert_all(call);
    Py_END_ALLOW_THREADS
    if (call->conversion.work.is_out_of_memory) return PyErr_NoMemory();
    PyObject *dimensions = all_dimensions(call, values);
    PyObject *found = dimensions ? all_documents(call, document, dimensions) : NULL;
    Py_XDECREF(dimensions);
    return found;
}

static PyObject *documents(PyObject *Py_UNUSED(module), PyObject *args) {
    Call *call = calloc(1, sizeof *call);
    if (!call) return PyErr_NoMemory();
    PyObject *records, *writers, *values, *found = NULL;
    PyTypeObject *document;
    Batch *b = &call->batch;
    const char *id_start, *kafka_start;
    Py_ssize_t id_size, kafka_size;
    long long earliest, latest, ahead;
    if (PyArg_ParseTuple(args, "OO!(y#y#LLL)O!O", &records, &PyDict_Type, &writers, &id_start, &id_size,
                         &kafka_start, &kafka_size, &earliest, &latest, &ahead, &PyType_Type, &document, &values)) {
        b->id_start = (Span){(const uint8_t *)id_start, (size_t)id_size};
        b->kafka_start = (Span){(const uint8_t *)kafka_start, (size_t)kafka_size};
        b->earliest = earliest;
        b->latest = latest;
        b->ahead = ahead;
        found = run(call, records, writers, document, values);
    }
    release(call);
    return found;
}

/* -- Pieces of a batch. */

/* The rows as bytes and whether any has headers; None if they are declined. */
static PyObject *rows_of(const RecordBatch *batch, const char *data, Py_ssize_t size, int64_t count, int64_t begin) {
    int64_t most = size / LEAST_RECORD;
    if (count < 0 || count > most || size > MAX_LENGTH) return Py_NewRef(Py_None);
    Rows found = {.data = (const uint8_t *)data, .next_offset = begin};
    if (!(found.rows = malloc(((size_t)count + 1) * sizeof(Row)))) return PyErr_NoMemory();
    PyObject *made = Py_NewRef(Py_None);
    if (read_rows(batch, (size_t)size, count, &found)) {
        Py_DECREF(made);
        const char *rows = (const char *)(const void *)found.rows;
        made = Py_BuildValue("y#O", rows, (Py_ssize_t)(found.count * sizeof(Row)), found.has_headers ? Py_True : Py_False);
    }
    free(found.rows);
    return made;
}

/* The lock is held: the records of a piece take some 50 µs, and to get the lock back can take longer. */
static PyObject *records(PyObject *Py_UNUSED(module), PyObject *args) {
    RecordBatch batch;
    PyObject *data, *append_ms;
    long long count, begin, base_offset, last_offset, first_ms, record_memory, header_memory, most_headers;
    if (!PyArg_ParseTuple(args, "SLL(LLLO)(LLL)", &data, &count, &begin, &base_offset, &last_offset, &first_ms, &append_ms,
                          &record_memory, &header_memory, &most_headers))
        return NULL;
    batch = (RecordBatch){base_offset, last_offset, first_ms, 0, append_ms != Py_None,
                          record_memory, header_memory, most_headers};
    if (batch.has_append_ms) batch.append_ms = PyLong_AsLongLong(append_ms);
    if (PyErr_Occurred()) return NULL;
    return rows_of(&batch, PyBytes_AsString(data), PyBytes_Size(data), count, begin);
}

static PyObject *fitting(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *rows;
    Py_ssize_t begin, most_rows;
    long long most_memory;
    int64_t memory;
    if (!PyArg_ParseTuple(args, "SnnL", &rows, &begin, &most_rows, &most_memory)) return NULL;
    Py_ssize_t count = PyBytes_Size(rows) / (Py_ssize_t)sizeof(Row);
    if (begin < 0 || begin > count || most_rows < 0) {
        PyErr_SetString(PyExc_ValueError, "not a range of rows");
        return NULL;
    }
    if (most_rows > count - begin) most_rows = count - begin;
    const Row *found = (const Row *)(const void *)PyBytes_AsString(rows);
    size_t taken = fitting_rows(found + begin, (size_t)most_rows, most_memory, &memory);
    return Py_BuildValue("nL", (Py_ssize_t)taken, (long long)memory);
}

/* Add the first bytes of the values of a piece; those that are like the value before cost nothing. */
static int add_starts(const Piece *piece, size_t size, PyObject *found) {
    const uint8_t *last = NULL;
    for (Py_ssize_t i = 0; i < piece->count; i++) {
        const uint8_t *value = value_in(&piece->rows[i], piece->data, piece->size, size);
        if (!value || (last && !memcmp(value, last, size))) continue;
        PyObject *start = PyBytes_FromStringAndSize((const char *)(last = value), (Py_ssize_t)size);
        int is_added = start && PySet_Add(found, start) == 0;
        Py_XDECREF(start);
        if (!is_added) return 0;
    }
    return 1;
}

static PyObject *value_starts(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *pieces, *found;
    Py_ssize_t size;
    Piece piece;
    if (!PyArg_ParseTuple(args, "O!n", &PyTuple_Type, &pieces, &size) || !(found = PySet_New(NULL))) return NULL;
    for (Py_ssize_t i = 0; found && i < PyTuple_Size(pieces); i++)
        if (!get_piece(pieces, i, &piece) || !add_starts(&piece, size < 0 ? 0 : (size_t)size, found)) Py_CLEAR(found);
    return found;
}

/* -- The module. */

static PyMethodDef methods[] = {
    {"program", program, METH_VARARGS, "program((words, blob, root), (dimensions, nullable, order), version) -> program"},
    {"documents", documents, METH_VARARGS,
     "documents(list of records or tuple of pieces, writers, (id_start, kafka_start, earliest, latest, ahead), document, dimensions)\n"
     "-> (documents, versions, number of declined records)"},
    {"records", records, METH_VARARGS,
     "records(data, count, begin, (base_offset, last_offset, first_ms, append_ms), (record, header, headers))\n"
     "-> (rows, whether any has headers), or None"},
    {"fitting", fitting, METH_VARARGS, "fitting(rows, begin, most_rows, most_memory) -> (number of rows, memory)"},
    {"value_starts", value_starts, METH_VARARGS, "value_starts(pieces, size) -> set"},
    {NULL, NULL, 0, NULL}};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_streamapp_kernel", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__streamapp_kernel(void) {
    PyObject **found[] = {&names.offset, &names.timestamp, &names.value,   &names.headers,
                          &names.raw,    &names.at,        &names.user_id, &names.dimensions};
    const char *texts[] = {"offset", "timestamp", "value", "headers", "raw", "at", "user_id", "dimensions"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (!(*found[i] = PyUnicode_InternFromString(texts[i]))) return NULL;
    if (!(names.nothing = PyTuple_New(0))) return NULL;
    PyObject *module = PyModule_Create(&definition);
    if (module && PyModule_AddIntConstant(module, "VERSION", KERNEL_VERSION) < 0) Py_CLEAR(module);
    return module;
}
