package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// As long as the id that Kafka gives a topic, with which streamapp's _id begins.
const topicID = "AAAAAAAAAAAAAAAAAAAAAA"

// The documents of a batch, as a BSON array.
type array struct {
	count int
	bytes []byte
}

var arrays = sync.Pool{New: func() any { return &array{bytes: make([]byte, 0, 2<<20)} }}

// same knows the two schemas of the sample events, and their order of fields.
func same(ctx context.Context, database *mongo.Database) way {
	index := mongo.IndexModel{Keys: bson.D{{Key: "event_timestamp", Value: 1}}}
	_, err := database.Collection("events").Indexes().CreateOne(ctx, index)
	must(err)
	return way{
		inFlight: 3,
		decode:   func(records []*kgo.Record) any { return converted(records) },
		store: func(decoded any) {
			documents := decoded.(*array)
			command := bson.D{
				{Key: "insert", Value: "events"},
				{Key: "ordered", Value: false},
				{Key: "documents", Value: bson.RawValue{Type: bson.TypeArray, Value: documents.bytes}},
				{Key: "writeConcern", Value: bson.D{{Key: "w", Value: "majority"}}},
			}
			var answer struct {
				N           int `bson:"n"`
				WriteErrors any `bson:"writeErrors"`
			}
			must(database.RunCommand(ctx, command).Decode(&answer))
			if answer.N != documents.count {
				panic(fmt.Sprint(answer.WriteErrors))
			}
			arrays.Put(documents)
		},
	}
}

func converted(records []*kgo.Record) *array {
	found := arrays.Get().(*array)
	now := time.Now().UnixMilli()
	b := append(found.bytes[:0], 0, 0, 0, 0)
	for i, record := range records {
		b = append(b, 0x03)
		b = strconv.AppendInt(b, int64(i), 10)
		b = append(b, 0)
		b = appendDocument(b, record, now)
	}
	b = append(b, 0)
	setSize(b, 0)
	found.count, found.bytes = len(records), b
	return found
}

func appendDocument(b []byte, record *kgo.Record, now int64) []byte {
	value, start := record.Value, len(b)
	id := schemaID(value)
	hasBrowser := schemaOf(id).hasBrowser
	b = append(b, "\x00\x00\x00\x00\x02_id\x00\x00\x00\x00\x00"...)
	text := len(b)
	b = append(b, topicID+"-"...)
	b = strconv.AppendInt(b, int64(record.Partition), 10)
	b = append(b, '-')
	b = strconv.AppendInt(b, record.Offset, 10)
	b = append(b, 0)
	binary.LittleEndian.PutUint32(b[text-4:], uint32(len(b)-text))

	at := headerBytes
	b, at = appendText(b, "\x02user_id\x00", value, at)
	b, at = appendText(b, "\x02event_type\x00", value, at)
	timestamp, at := long(value, at)
	b = appendInt64(b, "\x12event_timestamp\x00", timestamp)
	b = append(b, "\x03metadata\x00\x00\x00\x00\x00"...)
	inner := len(b) - 4
	b, at = appendText(b, "\x02device\x00", value, at)
	b, at = appendText(b, "\x02location\x00", value, at)
	b = append(b, 0)
	setSize(b, inner)
	version := byte('1')
	if hasBrowser {
		version = '2'
		at++ // the branch of the union
	}
	if hasBrowser && value[at-1] == 2 {
		b, at = appendText(b, "\x02browser\x00", value, at)
	} else {
		b = append(b, "\x0abrowser\x00"...)
	}
	if at != len(value) {
		panic("bytes follow the event")
	}
	b = append(b, "\x02schema_version\x00\x03\x00\x00\x00v"...)
	b = append(b, version, 0)
	b = appendInt32(b, "\x10schema_id\x00", id)
	b = appendInt64(b, "\x09received_at\x00", now)
	b = append(b, "\x03kafka\x00\x00\x00\x00\x00"...)
	inner = len(b) - 4
	b = appendInt32(b, "\x02topic\x00", int32(len(record.Topic)+1))
	b = append(b, record.Topic...)
	b = append(b, 0)
	b = appendInt32(b, "\x10partition\x00", record.Partition)
	if record.Offset <= math.MaxInt32 { // as Python's driver encodes it
		b = appendInt32(b, "\x10offset\x00", int32(record.Offset))
	} else {
		b = appendInt64(b, "\x12offset\x00", record.Offset)
	}
	b = appendInt64(b, "\x09timestamp\x00", record.Timestamp.UnixMilli())
	b = append(b, 0)
	setSize(b, inner)
	b = append(b, 0)
	setSize(b, start)
	return b
}

// appendText appends an Avro string as a BSON string, after its type and name.
func appendText(b []byte, name string, value []byte, at int) ([]byte, int) {
	size, at := long(value, at)
	text := value[at : at+int(size)]
	if !utf8.Valid(text) {
		panic("not UTF-8")
	}
	b = appendInt32(b, name, int32(size)+1)
	b = append(b, text...)
	return append(b, 0), at + int(size)
}

func appendInt32(b []byte, name string, n int32) []byte {
	return binary.LittleEndian.AppendUint32(append(b, name...), uint32(n))
}

func appendInt64(b []byte, name string, n int64) []byte {
	return binary.LittleEndian.AppendUint64(append(b, name...), uint64(n))
}

// setSize writes the size of the document that begins at a position and ends with the buffer.
func setSize(b []byte, at int) {
	binary.LittleEndian.PutUint32(b[at:], uint32(len(b)-at))
}

// long reads a zigzag varint, and returns the position after it.
func long(value []byte, at int) (int64, int) {
	found, shift := uint64(0), 0
	for {
		each := value[at]
		at++
		found |= uint64(each&127) << shift
		if each < 128 {
			return int64(found>>1) ^ -int64(found&1), at
		}
		shift += 7
	}
}
