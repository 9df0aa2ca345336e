use crate::Way;
use crate::schemas::{HEADER_BYTES, Schemas, schema_id};
use mongodb::bson::{DateTime, RawDocumentBuf, doc};
use mongodb::sync::Database;
use rdkafka::message::{BorrowedMessage, Message};

/// As long as the id that Kafka gives a topic, with which streamapp's _id begins.
const TOPIC_ID: &[u8] = b"AAAAAAAAAAAAAAAAAAAAAA";
/// The command, up to the size of the array of documents.
const COMMAND: &[u8] = b"\0\0\0\0\x02insert\0\x07\0\0\0events\0\x08ordered\0\0\
    \x03writeConcern\0\x15\0\0\0\x02w\0\x09\0\0\0majority\0\0\x04documents\0";
/// A size that is written later.
const SIZE: &[u8] = &[0; 4];

/// Knows the two schemas of the sample events, and their order of fields.
pub fn way(database: Database) -> Way {
    let index = doc! {"key": {"event_timestamp": 1}, "name": "event_timestamp_1"};
    database.run_command(doc! {"createIndexes": "events", "indexes": [index]}).run().unwrap();
    Way {
        in_flight: 3,
        decode: Box::new(move |messages, schemas| {
            let (command, count, database) = (command(messages, schemas), messages.len(), database.clone());
            Box::new(move || {
                let answer = database.run_raw_command(command).run().unwrap();
                assert!(answer.get_i32("n").unwrap() as usize == count, "{answer:?}");
            })
        }),
    }
}

fn command(messages: &[BorrowedMessage], schemas: &mut Schemas) -> RawDocumentBuf {
    let now = DateTime::now().timestamp_millis();
    let mut b = Vec::with_capacity(messages.len() * 400);
    b.extend_from_slice(COMMAND);
    let array = b.len();
    b.extend_from_slice(SIZE);
    for (i, message) in messages.iter().enumerate() {
        b.push(3);
        digits(&mut b, i as u64);
        b.push(0);
        let has_browser = schemas.get(schema_id(message.payload().unwrap())).has_browser;
        append_document(&mut b, message, has_browser, now);
    }
    end(&mut b, array);
    end(&mut b, 0);
    RawDocumentBuf::from_bytes(b).unwrap()
}

fn append_document(b: &mut Vec<u8>, message: &BorrowedMessage, has_browser: bool, now: i64) {
    let (value, start) = (message.payload().unwrap(), b.len());
    b.extend_from_slice(SIZE);
    b.extend_from_slice(b"\x02_id\0");
    b.extend_from_slice(SIZE);
    let id = b.len();
    b.extend_from_slice(TOPIC_ID);
    b.push(b'-');
    digits(b, message.partition() as u64);
    b.push(b'-');
    digits(b, message.offset() as u64);
    b.push(0);
    let size = (b.len() - id) as u32;
    b[id - 4..id].copy_from_slice(&size.to_le_bytes());

    let mut at = HEADER_BYTES;
    append_text(b, b"\x02user_id\0", value, &mut at);
    append_text(b, b"\x02event_type\0", value, &mut at);
    append(b, b"\x12event_timestamp\0", &long(value, &mut at).to_le_bytes());
    let metadata = begin(b, b"\x03metadata\0");
    append_text(b, b"\x02device\0", value, &mut at);
    append_text(b, b"\x02location\0", value, &mut at);
    end(b, metadata);
    at += has_browser as usize; // the branch of the union
    if has_browser && value[at - 1] == 2 {
        append_text(b, b"\x02browser\0", value, &mut at);
    } else {
        b.extend_from_slice(b"\x0abrowser\0");
    }
    assert!(at == value.len(), "bytes follow the event");
    append(b, b"\x02schema_version\0", if has_browser { b"\x03\0\0\0v2\0" } else { b"\x03\0\0\0v1\0" });
    append(b, b"\x10schema_id\0", &schema_id(value).to_le_bytes());
    append(b, b"\x09received_at\0", &now.to_le_bytes());
    let kafka = begin(b, b"\x03kafka\0");
    append(b, b"\x02topic\0", &(message.topic().len() as i32 + 1).to_le_bytes());
    append(b, message.topic().as_bytes(), b"\0");
    append(b, b"\x10partition\0", &message.partition().to_le_bytes());
    match i32::try_from(message.offset()) {
        Ok(offset) => append(b, b"\x10offset\0", &offset.to_le_bytes()), // as Python's driver encodes it
        Err(_) => append(b, b"\x12offset\0", &message.offset().to_le_bytes()),
    }
    append(b, b"\x09timestamp\0", &message.timestamp().to_millis().unwrap().to_le_bytes());
    end(b, kafka);
    end(b, start);
}

/// Appends an Avro string as a BSON string, after its type and name.
fn append_text(b: &mut Vec<u8>, name: &[u8], value: &[u8], at: &mut usize) {
    let size = long(value, at) as usize;
    let text = &value[*at..*at + size];
    std::str::from_utf8(text).unwrap();
    append(b, name, &(size as i32 + 1).to_le_bytes());
    append(b, text, b"\0");
    *at += size;
}

fn append(b: &mut Vec<u8>, first: &[u8], second: &[u8]) {
    b.extend_from_slice(first);
    b.extend_from_slice(second);
}

/// Begins an embedded document; returns its position.
fn begin(b: &mut Vec<u8>, name: &[u8]) -> usize {
    append(b, name, SIZE);
    b.len() - SIZE.len()
}

/// Ends a document, and writes its size.
fn end(b: &mut Vec<u8>, at: usize) {
    b.push(0);
    let size = (b.len() - at) as u32;
    b[at..at + 4].copy_from_slice(&size.to_le_bytes());
}

/// Reads a zigzag varint, and moves the position after it.
fn long(value: &[u8], at: &mut usize) -> i64 {
    let (mut found, mut shift) = (0u64, 0);
    loop {
        let each = value[*at];
        *at += 1;
        found |= ((each & 127) as u64) << shift;
        if each < 128 {
            return ((found >> 1) as i64) ^ -((found & 1) as i64);
        }
        shift += 7;
    }
}

fn digits(b: &mut Vec<u8>, mut n: u64) {
    let mut found = [0u8; 20];
    let mut first = found.len();
    loop {
        first -= 1;
        found[first] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    b.extend_from_slice(&found[first..]);
}
