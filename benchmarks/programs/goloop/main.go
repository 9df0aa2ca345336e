// goloop stores the events of a topic in MongoDB, as one would write it by hand in Go.
//
//	goloop driver  decodes into a struct, and the driver's InsertMany encodes it; ObjectIds, no further index
//	goloop same    converts Avro's bytes to BSON's by hand; the _id and the index of event times as streamapp has them
//
// It takes its addresses, topic, database and consumer group from the environment variables of streamapp's settings.
// There are no rollups, no dead letters and no metrics: an error ends it. Records are committed once they are stored,
// so a crash lets "driver" store events twice, and ends "same" at a duplicate key.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"
)

const batchRecords = 5000

// A way to make documents of records, and to store what was made. The first runs beside the second.
type way struct {
	inFlight int
	decode   func([]*kgo.Record) any
	store    func(any)
}

func main() {
	ctx := context.Background()
	client, err := mongo.Connect(options.Client().ApplyURI(os.Getenv("STREAMAPP_MONGO_URI")))
	must(err)
	database := client.Database(os.Getenv("STREAMAPP_MONGO_DATABASE"),
		options.Database().SetWriteConcern(writeconcern.Majority()))
	kafka, err := kgo.NewClient(
		kgo.SeedBrokers(os.Getenv("STREAMAPP_KAFKA_BOOTSTRAP_SERVERS")),
		kgo.ConsumerGroup(os.Getenv("STREAMAPP_APP_ID")),
		kgo.ConsumeTopics(os.Getenv("STREAMAPP_TOPIC")),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
	)
	must(err)
	switch {
	case len(os.Args) == 2 && os.Args[1] == "driver":
		run(ctx, kafka, driver(ctx, database))
	case len(os.Args) == 2 && os.Args[1] == "same":
		run(ctx, kafka, same(ctx, database))
	default:
		fmt.Fprintln(os.Stderr, "usage: goloop driver|same")
		os.Exit(2)
	}
}

// run polls, decodes, stores several batches at a time, and commits them in their order.
func run(ctx context.Context, kafka *kgo.Client, way way) {
	type batch struct {
		stored chan struct{}
		last   []*kgo.Record
	}
	room := make(chan struct{}, way.inFlight)
	batches := make(chan batch, way.inFlight)
	go func() {
		for each := range batches {
			<-each.stored
			must(kafka.CommitRecords(ctx, each.last...))
		}
	}()
	for {
		fetches := kafka.PollRecords(ctx, batchRecords)
		must(fetches.Err())
		records := fetches.Records()
		if len(records) == 0 {
			continue
		}
		decoded := way.decode(records)
		each := batch{make(chan struct{}), lastOfPartitions(records)}
		room <- struct{}{}
		batches <- each
		go func() {
			way.store(decoded)
			<-room
			close(each.stored)
		}()
	}
}

// lastOfPartitions copies the places of the last records, so that all others can be freed.
func lastOfPartitions(records []*kgo.Record) []*kgo.Record {
	last := map[int32]*kgo.Record{}
	for _, each := range records {
		last[each.Partition] = each
	}
	var found []*kgo.Record
	for _, each := range last {
		found = append(found, &kgo.Record{
			Topic: each.Topic, Partition: each.Partition, Offset: each.Offset, LeaderEpoch: each.LeaderEpoch,
		})
	}
	return found
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
