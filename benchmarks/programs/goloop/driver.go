package main

import (
	"context"
	"time"

	"github.com/hamba/avro/v2"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

type metadata struct {
	Device   string `avro:"device" bson:"device"`
	Location string `avro:"location" bson:"location"`
}

type event struct {
	UserID    string   `avro:"user_id" bson:"user_id"`
	EventType string   `avro:"event_type" bson:"event_type"`
	Timestamp int64    `avro:"event_timestamp" bson:"event_timestamp"`
	Metadata  metadata `avro:"metadata" bson:"metadata"`
	Browser   *string  `avro:"browser" bson:"browser"`
}

type place struct {
	Topic     string    `bson:"topic"`
	Partition int32     `bson:"partition"`
	Offset    int64     `bson:"offset"`
	Timestamp time.Time `bson:"timestamp"`
}

type document struct {
	Event      event     `bson:",inline"`
	SchemaID   int32     `bson:"schema_id"`
	ReceivedAt time.Time `bson:"received_at"`
	Kafka      place     `bson:"kafka"`
}

// driver uses the libraries as their documentation shows it, with two inserts in flight beside the decoding.
func driver(ctx context.Context, database *mongo.Database) way {
	events := database.Collection("events")
	return way{
		inFlight: 2,
		decode: func(records []*kgo.Record) any {
			documents := make([]*document, len(records))
			for i, record := range records {
				documents[i] = decoded(record)
			}
			return documents
		},
		store: func(documents any) {
			_, err := events.InsertMany(ctx, documents, options.InsertMany().SetOrdered(false))
			must(err)
		},
	}
}

func decoded(record *kgo.Record) *document {
	id := schemaID(record.Value)
	found := document{
		SchemaID:   id,
		ReceivedAt: time.Now(),
		Kafka:      place{record.Topic, record.Partition, record.Offset, record.Timestamp},
	}
	must(avro.Unmarshal(schemaOf(id).avro, record.Value[headerBytes:], &found.Event))
	return &found
}
