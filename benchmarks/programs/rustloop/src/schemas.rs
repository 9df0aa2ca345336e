use apache_avro::{Schema, reader::datum::GenericDatumReader};
use std::collections::HashMap;

/// Bytes before the Avro body: a magic byte and the id of the writer's schema.
pub const HEADER_BYTES: usize = 5;

pub struct Writer {
    pub reader: GenericDatumReader<'static>,
    pub has_browser: bool,
}

/// The writers' schemas; the registry is asked once for each id.
pub struct Schemas {
    registry_url: String,
    known: HashMap<i32, Writer>,
}

impl Schemas {
    pub fn new(registry_url: String) -> Self {
        Self { registry_url, known: HashMap::new() }
    }

    pub fn get(&mut self, id: i32) -> &Writer {
        self.known.entry(id).or_insert_with(|| fetch(&self.registry_url, id))
    }
}

pub fn schema_id(value: &[u8]) -> i32 {
    i32::from_be_bytes(value[1..HEADER_BYTES].try_into().unwrap())
}

fn fetch(registry_url: &str, id: i32) -> Writer {
    let url = format!("{registry_url}/schemas/ids/{id}");
    let body = ureq::get(&url).call().unwrap().body_mut().read_to_string().unwrap();
    let found: serde_json::Value = serde_json::from_str(&body).unwrap();
    let text = found["schema"].as_str().unwrap();
    // The reader borrows its schema for ever; there are as many as versions.
    let schema: &'static Schema = Box::leak(Box::new(Schema::parse_str(text).unwrap()));
    Writer { reader: GenericDatumReader::builder(schema).build().unwrap(), has_browser: text.contains("\"browser\"") }
}
