//! How a generated record becomes the bytes of a Kafka value. Pure; writes into a buffer that the caller reuses.

use weir_model::worker_config::{Encoding, ProduceConfig};

use super::generator::Generator;

/// Encodes the records of one run.
#[derive(Debug)]
pub(super) struct Encoder {
    encoding: Encoding,
    /// Asked length of a value in bytes.
    size: usize,
    /// `{"runId":"…","sequence":`, which all records share.
    prefix: Vec<u8>,
}

impl Encoder {
    pub(super) fn new(config: &ProduceConfig) -> Self {
        let run_id = serde_json::to_string(&config.run_id).expect("a string always serializes");
        Self {
            encoding: config.encoding,
            size: usize::try_from(config.generator.size_bytes).unwrap_or(usize::MAX),
            prefix: format!("{{\"runId\":{run_id},\"sequence\":").into_bytes(),
        }
    }

    /// Writes the value of record `n` into `value`, replacing what it held. `key` must be the key of record `n`
    /// (letters, digits and `-` only), `timestamp` is milliseconds since 1970.
    ///
    /// The value has exactly the asked size, or as little more as its fixed part needs.
    pub(super) fn encode(
        &self,
        generator: &Generator,
        n: u64,
        key: Option<&[u8]>,
        timestamp: u64,
        value: &mut Vec<u8>,
    ) {
        value.clear();
        match self.encoding {
            Encoding::Json => self.encode_json(generator, n, key, timestamp, value),
            Encoding::Raw => {
                value.extend_from_slice(&n.to_be_bytes());
                generator.bytes(n, self.size.saturating_sub(value.len()), value);
            }
        }
    }

    fn encode_json(
        &self,
        generator: &Generator,
        n: u64,
        key: Option<&[u8]>,
        timestamp: u64,
        value: &mut Vec<u8>,
    ) {
        let mut digits = itoa::Buffer::new();
        value.extend_from_slice(&self.prefix);
        value.extend_from_slice(digits.format(n).as_bytes());
        value.extend_from_slice(b",\"timestamp\":");
        value.extend_from_slice(digits.format(timestamp).as_bytes());
        match key {
            Some(key) => {
                value.extend_from_slice(b",\"key\":\"");
                value.extend_from_slice(key);
                value.extend_from_slice(b"\",\"payload\":\"");
            }
            None => value.extend_from_slice(b",\"key\":null,\"payload\":\""),
        }
        const END: &[u8] = b"\"}";
        generator.letters(n, self.size.saturating_sub(value.len() + END.len()), value);
        value.extend_from_slice(END);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_model::worker_config::{Acks, Compression, GeneratorConfig, KeyConfig, ProduceDelivery};

    fn config(encoding: Encoding, size_bytes: u32, run_id: &str) -> ProduceConfig {
        ProduceConfig {
            topic: "t".to_owned(),
            records: 1,
            run_id: run_id.to_owned(),
            generator: GeneratorConfig { size_bytes, keys: KeyConfig::None, seed: 1 },
            encoding,
            records_per_second_thousandths: None,
            bytes_per_second: None,
            delivery: ProduceDelivery {
                acks: Acks::All,
                idempotent: true,
                compression: Compression::None,
                linger_ms: 0,
            },
        }
    }

    fn encode(config: &ProduceConfig, n: u64, key: Option<&[u8]>) -> Vec<u8> {
        let mut value = vec![9; 3];
        Encoder::new(config).encode(
            &Generator::new(&config.generator),
            n,
            key,
            1_795_359_485_006,
            &mut value,
        );
        value
    }

    #[test]
    fn json_is_valid_and_has_exactly_the_asked_size() {
        let config = config(Encoding::Json, 200, "2026 \"11\"\n");
        for (n, key) in [(0, None), (7, Some(b"key-5".as_slice())), (1_234_567_890, Some(b"key-123456"))] {
            let value = encode(&config, n, key);
            assert_eq!(value.len(), 200);
            let json: serde_json::Value = serde_json::from_slice(&value).expect("valid JSON");
            assert_eq!(json["runId"], "2026 \"11\"\n");
            assert_eq!(json["sequence"], n);
            assert_eq!(json["timestamp"], 1_795_359_485_006_u64);
            assert_eq!(json["key"].as_str().map(str::as_bytes), key);
            assert!(json["payload"].as_str().is_some_and(|p| !p.is_empty()));
        }
    }

    #[test]
    fn json_that_cannot_fit_is_as_small_as_it_can_be() {
        let value = encode(&config(Encoding::Json, 10, "1"), 3, None);
        let json: serde_json::Value = serde_json::from_slice(&value).expect("valid JSON");
        assert_eq!(json["payload"], "");
    }

    #[test]
    fn raw_begins_with_the_sequence_number() {
        let value = encode(&config(Encoding::Raw, 20, "1"), 258, None);
        assert_eq!(value.len(), 20);
        assert_eq!(value[..8], [0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(encode(&config(Encoding::Raw, 3, "1"), 258, None).len(), 8);
    }
}
