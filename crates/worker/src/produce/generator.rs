//! Generated content. Record n is a pure function of the seed and n: any run can repeat any record. Knows nothing
//! of encodings and brokers.

use weir_model::worker_config::{GeneratorConfig, KeyConfig};

/// SplitMix64 (Steele, Lea, Flood 2014): a bijective mixer, good enough for load and reproducible everywhere.
fn mix(value: u64) -> u64 {
    let z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Six bits become one of these; all stand for themselves in JSON.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Draws keys and payloads.
#[derive(Debug, Clone)]
pub(super) struct Generator {
    seed: u64,
    keys: KeyConfig,
}

impl Generator {
    pub(super) fn new(config: &GeneratorConfig) -> Self {
        Self { seed: mix(config.seed), keys: config.keys }
    }

    /// Writes the key of record `n` into `key`, replacing what it held. False if the record has no key.
    pub(super) fn key(&self, n: u64, key: &mut Vec<u8>) -> bool {
        key.clear();
        let number = match self.keys {
            KeyConfig::None => return false,
            KeyConfig::Sequential { cardinality } => n % cardinality.max(1),
            KeyConfig::Uniform { cardinality } => scale(mix(self.seed ^ mix(n)), cardinality),
        };
        key.extend_from_slice(b"key-");
        key.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
        true
    }

    /// Appends `length` pseudo-random letters, digits, `-` and `_` of record `n`.
    pub(super) fn letters(&self, n: u64, length: usize, out: &mut Vec<u8>) {
        let end = out.len() + length;
        for word in self.words(n) {
            let mut word = word;
            // Ten letters of six bits fit into a word.
            for _ in 0..10 {
                if out.len() == end {
                    return;
                }
                out.push(ALPHABET[usize::from(word.to_le_bytes()[0] & 63)]);
                word >>= 6;
            }
        }
    }

    /// Appends `length` pseudo-random bytes of record `n`.
    pub(super) fn bytes(&self, n: u64, length: usize, out: &mut Vec<u8>) {
        let end = out.len() + length;
        for word in self.words(n) {
            let missing = end - out.len();
            if missing == 0 {
                return;
            }
            out.extend_from_slice(&word.to_le_bytes()[..missing.min(8)]);
        }
    }

    /// The endless pseudo-random sequence of record `n`, apart from the one that draws its key.
    fn words(&self, n: u64) -> impl Iterator<Item = u64> {
        let base = mix(self.seed.rotate_left(17) ^ mix(n ^ 0x5DEE_CE66));
        (0_u64..).map(move |i| mix(base.wrapping_add(i)))
    }
}

/// Maps a uniform 64-bit number to 0..`cardinality`, without a division (Lemire 2019).
fn scale(random: u64, cardinality: u64) -> u64 {
    let product = u128::from(random) * u128::from(cardinality.max(1));
    u64::try_from(product >> 64).expect("the upper half of a 128-bit product has 64 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generator(keys: KeyConfig, seed: u64) -> Generator {
        Generator::new(&GeneratorConfig { size_bytes: 0, keys, seed })
    }

    fn key(generator: &Generator, n: u64) -> Option<String> {
        let mut key = Vec::new();
        generator.key(n, &mut key).then(|| String::from_utf8(key).expect("keys are ASCII"))
    }

    #[test]
    fn a_record_is_the_same_on_every_run_and_in_any_order() {
        let keys = KeyConfig::Uniform { cardinality: 1000 };
        let (first, second) = (generator(keys, 7), generator(keys, 7));
        let (mut a, mut b) = (Vec::new(), Vec::new());
        second.letters(3, 50, &mut b);
        for n in [12, 3] {
            a.clear();
            first.letters(n, 50, &mut a);
            assert_eq!(key(&first, n), key(&second, n));
        }
        assert_eq!(a, b);
        b.clear();
        generator(keys, 8).letters(3, 50, &mut b);
        assert_ne!(a, b, "another seed makes other records");
    }

    #[test]
    fn sequential_keys_go_round() {
        let generator = generator(KeyConfig::Sequential { cardinality: 3 }, 1);
        let keys: Vec<_> = (0..4).filter_map(|n| key(&generator, n)).collect();
        assert_eq!(keys, ["key-0", "key-1", "key-2", "key-0"]);
        assert_eq!(key(&super::tests::generator(KeyConfig::None, 1), 5), None);
    }

    #[test]
    fn uniform_keys_are_drawn_about_equally_often() {
        let generator = generator(KeyConfig::Uniform { cardinality: 10 }, 42);
        let mut counts = std::collections::HashMap::new();
        for n in 0..10_000 {
            *counts.entry(key(&generator, n)).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 10);
        assert!(counts.values().all(|count| (850..1150).contains(count)), "{counts:?}");
    }

    #[test]
    fn payloads_have_the_asked_length() {
        let generator = generator(KeyConfig::None, 1);
        for length in [0, 1, 7, 8, 9, 10, 11, 100] {
            let mut out = vec![1];
            generator.letters(1, length, &mut out);
            assert_eq!(out.len(), length + 1);
            out.truncate(1);
            generator.bytes(1, length, &mut out);
            assert_eq!(out.len(), length + 1);
        }
    }
}
