use crate::Way;
use crate::schemas::{HEADER_BYTES, Schemas, schema_id};
use mongodb::bson::DateTime;
use mongodb::options::{Acknowledgment, WriteConcern};
use mongodb::sync::Database;
use rdkafka::message::{BorrowedMessage, Message};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Metadata {
    device: String,
    location: String,
}

// The crate finds the record by the name of its schema.
#[derive(Serialize, Deserialize)]
#[serde(rename = "UserEvent")]
struct Event {
    user_id: String,
    event_type: String,
    event_timestamp: i64,
    metadata: Metadata,
    #[serde(default)]
    browser: Option<String>,
}

#[derive(Serialize)]
struct Place {
    topic: String,
    partition: i32,
    offset: i64,
    timestamp: DateTime,
}

#[derive(Serialize)]
struct Document {
    user_id: String,
    event_type: String,
    event_timestamp: i64,
    metadata: Metadata,
    browser: Option<String>,
    schema_id: i32,
    received_at: DateTime,
    kafka: Place,
}

/// Uses the libraries as their documentation shows it, with two inserts in flight beside the decoding.
pub fn way(database: Database) -> Way {
    let majority = WriteConcern::builder().w(Acknowledgment::Majority).build();
    Way {
        in_flight: 2,
        decode: Box::new(move |messages, schemas| {
            let documents: Vec<Document> = messages.iter().map(|each| decoded(each, schemas)).collect();
            let (events, majority) = (database.collection::<Document>("events"), majority.clone());
            Box::new(move || {
                events.insert_many(documents).ordered(false).write_concern(majority).run().unwrap();
            })
        }),
    }
}

fn decoded(message: &BorrowedMessage, schemas: &mut Schemas) -> Document {
    let value = message.payload().unwrap();
    let id = schema_id(value);
    let event: Event = schemas.get(id).reader.read_deser(&mut &value[HEADER_BYTES..]).unwrap();
    Document {
        user_id: event.user_id,
        event_type: event.event_type,
        event_timestamp: event.event_timestamp,
        metadata: event.metadata,
        browser: event.browser,
        schema_id: id,
        received_at: DateTime::now(),
        kafka: Place {
            topic: message.topic().into(),
            partition: message.partition(),
            offset: message.offset(),
            timestamp: DateTime::from_millis(message.timestamp().to_millis().unwrap()),
        },
    }
}
