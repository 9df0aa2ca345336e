//! rustloop stores the events of a topic in MongoDB, as one would write it by hand in Rust.
//!
//!     rustloop driver  decodes into a struct, and the driver's insert_many encodes it; ObjectIds, no further index
//!     rustloop same    converts Avro's bytes to BSON's by hand; the _id and the index of event times as streamapp has them
//!
//! It takes its addresses, topic, database and consumer group from the environment variables of streamapp's settings.
//! There are no rollups, no dead letters and no metrics: an error ends it. Records are committed once they are stored,
//! so a crash lets "driver" store events twice, and ends "same" at a duplicate key.

mod driver;
mod same;
mod schemas;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};
use schemas::Schemas;
use std::collections::{HashMap, VecDeque};
use std::env::var;
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

const BATCH_RECORDS: usize = 5_000;

/// What stores the documents of a batch, in a thread of its own.
pub type Store = Box<dyn FnOnce() + Send>;

/// A way to make documents of records, and to store what was made. The first runs beside the second.
pub struct Way {
    pub in_flight: usize,
    pub decode: Box<dyn Fn(&[BorrowedMessage], &mut Schemas) -> Store>,
}

fn main() {
    let name = std::env::args().nth(1).unwrap_or_default();
    if name != "driver" && name != "same" {
        eprintln!("usage: rustloop driver|same");
        std::process::exit(2);
    }
    let client = mongodb::sync::Client::with_uri_str(var("STREAMAPP_MONGO_URI").unwrap()).unwrap();
    let database = client.database(&var("STREAMAPP_MONGO_DATABASE").unwrap());
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", var("STREAMAPP_KAFKA_BOOTSTRAP_SERVERS").unwrap())
        .set("group.id", var("STREAMAPP_APP_ID").unwrap())
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    consumer.subscribe(&[&var("STREAMAPP_TOPIC").unwrap()]).unwrap();
    run(&consumer, if name == "same" { same::way(database) } else { driver::way(database) });
}

/// Polls, decodes, stores several batches at a time, and commits them in their order.
fn run(consumer: &BaseConsumer, way: Way) {
    let mut schemas = Schemas::new(var("STREAMAPP_SCHEMA_REGISTRY_URL").unwrap());
    let mut batches: VecDeque<(JoinHandle<()>, TopicPartitionList)> = VecDeque::new();
    loop {
        let messages = poll(consumer);
        if !messages.is_empty() {
            let store = (way.decode)(&messages, &mut schemas);
            batches.push_back((spawn(store), positions_after(&messages)));
        }
        while batches.len() > way.in_flight || batches.front().is_some_and(|(stored, _)| stored.is_finished()) {
            let (stored, positions) = batches.pop_front().unwrap();
            stored.join().unwrap();
            consumer.commit(&positions, CommitMode::Async).unwrap();
        }
    }
}

/// Returns a message with all those that have been fetched, up to the size of a batch; nothing if none comes.
fn poll(consumer: &BaseConsumer) -> Vec<BorrowedMessage<'_>> {
    let mut found = Vec::new();
    let mut wait = Duration::from_millis(100);
    while found.len() < BATCH_RECORDS {
        let Some(message) = consumer.poll(wait) else { break };
        found.push(message.unwrap());
        wait = Duration::ZERO;
    }
    found
}

fn positions_after(messages: &[BorrowedMessage]) -> TopicPartitionList {
    let last: HashMap<i32, i64> = messages.iter().map(|each| (each.partition(), each.offset() + 1)).collect();
    let mut found = TopicPartitionList::new();
    for (partition, offset) in last {
        found.add_partition_offset(messages[0].topic(), partition, Offset::Offset(offset)).unwrap();
    }
    found
}
