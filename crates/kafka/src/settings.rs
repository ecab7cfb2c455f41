//! How to reach and authenticate to one Kafka cluster, and the librdkafka properties that say so.
//!
//! Holds secrets, so nothing here prints them: [`Password`] has no `Display` and a redacted `Debug`. Opens no
//! connection. The operator fills it from a Connection and its Secrets, workers from mounted files
//! ([`ConnectionSettings::from_worker_files`]); every client of the cluster is built from
//! [`ConnectionSettings::client_properties`].

use std::{
    collections::hash_map::RandomState,
    fmt, fs,
    hash::{BuildHasher, Hash},
    path::{Path, PathBuf},
    sync::OnceLock,
};

use weir_model::worker_config::{ConnectionConfig, SaslMechanism};

/// How to reach and authenticate to one Kafka cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ConnectionSettings {
    /// `host:port` of the first brokers to ask.
    pub bootstrap_servers: Vec<String>,
    /// Encryption; `None` is plain text.
    pub tls: Option<Tls>,
    /// Authentication; `None` is the anonymous principal.
    pub sasl: Option<Sasl>,
}

/// Encryption. Certificates and host names are always verified.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tls {
    /// Certificate authorities (PEM, one or more) that replace the system's; `None` uses the system's.
    pub ca_pem: Option<String>,
}

/// Authentication by name and password.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Sasl {
    /// How the password is proven.
    pub mechanism: SaslMechanism,
    /// The principal's name.
    pub username: String,
    /// The principal's secret.
    pub password: Password,
}

impl Sasl {
    /// Takes the values as they stand in a Secret or a file: one line break at the end of either is dropped, because
    /// editors and `kubectl create secret --from-file` leave it there and no broker would accept it.
    #[must_use]
    pub fn new(mechanism: SaslMechanism, username: &str, password: &str) -> Self {
        Self {
            mechanism,
            username: without_line_break(username).to_owned(),
            password: Password(without_line_break(password).to_owned()),
        }
    }
}

/// A secret that does not print itself.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Password(String);

impl Password {
    /// Wraps a secret, exactly as given.
    #[must_use]
    pub fn new(secret: String) -> Self {
        Self(secret)
    }

    /// The secret itself; for handing it to a client, never for printing.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(redacted)")
    }
}

/// A worker's connection files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A file that the configuration promises cannot be read.
    #[error("failed to read the connection's file {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file that must have content is empty.
    #[error("failed to use the connection's file {}: it is empty", path.display())]
    Empty {
        /// Which file.
        path: PathBuf,
    },
}

impl ConnectionSettings {
    /// Reads the files `ca.crt`, `username` and `password` of `folder`, those of them that `config` says exist.
    ///
    /// # Errors
    /// A file is missing, unreadable, not UTF-8 or empty.
    pub fn from_worker_files(config: &ConnectionConfig, folder: &Path) -> Result<Self, SettingsError> {
        let tls = match (config.tls, config.ca_file) {
            (true, true) => Some(Tls { ca_pem: Some(read(folder, "ca.crt")?) }),
            (true, false) => Some(Tls { ca_pem: None }),
            (false, _) => None,
        };
        let sasl = match config.sasl {
            Some(mechanism) => {
                Some(Sasl::new(mechanism, &read(folder, "username")?, &read(folder, "password")?))
            }
            None => None,
        };
        Ok(Self { bootstrap_servers: config.bootstrap_servers.clone(), tls, sasl })
    }

    /// The librdkafka properties common to every client of this cluster. Contains the password in clear: hand it to a
    /// client, never to a log. `client.id` and everything about groups and batches is the caller's.
    #[must_use]
    pub fn client_properties(&self) -> Vec<(String, String)> {
        let mut properties = vec![
            ("bootstrap.servers", self.bootstrap_servers.join(",")),
            ("security.protocol", self.security_protocol().to_owned()),
            // A topic that somebody deleted must not come back because we asked for it.
            ("allow.auto.create.topics", "false".to_owned()),
            ("socket.keepalive.enable", "true".to_owned()),
            ("socket.connection.setup.timeout.ms", "10000".to_owned()),
            ("reconnect.backoff.ms", "100".to_owned()),
            // Bounds how long a repaired broker, password or certificate goes unnoticed.
            ("reconnect.backoff.max.ms", "5000".to_owned()),
            // KIP-714: clients report to nobody but Weir.
            ("enable.metrics.push", "false".to_owned()),
        ];
        if let Some(tls) = &self.tls {
            properties.push(("enable.ssl.certificate.verification", "true".to_owned()));
            properties.push(("ssl.endpoint.identification.algorithm", "https".to_owned()));
            properties.push(match &tls.ca_pem {
                Some(pem) => ("ssl.ca.pem", pem.clone()),
                None => ("ssl.ca.location", "probe".to_owned()),
            });
        }
        if let Some(sasl) = &self.sasl {
            properties.push(("sasl.mechanism", mechanism_name(sasl.mechanism).to_owned()));
            properties.push(("sasl.username", sasl.username.clone()));
            properties.push(("sasl.password", sasl.password.expose().to_owned()));
        }
        properties.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// The name that the brokers know this client by, before their own mapping rules; `anonymous` without authentication.
    #[must_use]
    pub fn principal(&self) -> &str {
        self.sasl.as_ref().map_or("anonymous", |sasl| &sasl.username)
    }

    /// A number that differs when any setting or secret differs. Keyed by this process, so that it tells nothing about a
    /// secret and must not be compared with the number of another process.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        static KEY: OnceLock<RandomState> = OnceLock::new();
        KEY.get_or_init(RandomState::new).hash_one(self)
    }

    fn security_protocol(&self) -> &'static str {
        match (&self.tls, &self.sasl) {
            (None, None) => "plaintext",
            (Some(_), None) => "ssl",
            (None, Some(_)) => "sasl_plaintext",
            (Some(_), Some(_)) => "sasl_ssl",
        }
    }
}

fn mechanism_name(mechanism: SaslMechanism) -> &'static str {
    match mechanism {
        SaslMechanism::ScramSha512 => "SCRAM-SHA-512",
        SaslMechanism::ScramSha256 => "SCRAM-SHA-256",
        SaslMechanism::Plain => "PLAIN",
    }
}

fn read(folder: &Path, name: &str) -> Result<String, SettingsError> {
    let path = folder.join(name);
    match fs::read_to_string(&path) {
        Ok(text) if without_line_break(&text).is_empty() => Err(SettingsError::Empty { path }),
        Ok(text) => Ok(text),
        Err(source) => Err(SettingsError::Read { path, source }),
    }
}

fn without_line_break(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(tls: Option<Tls>, sasl: Option<Sasl>) -> ConnectionSettings {
        ConnectionSettings { bootstrap_servers: vec!["a:9092".to_owned(), "b:9092".to_owned()], tls, sasl }
    }

    fn scram(password: &str) -> Option<Sasl> {
        Some(Sasl::new(SaslMechanism::ScramSha512, "ann", password))
    }

    fn value<'a>(properties: &'a [(String, String)], key: &str) -> Option<&'a str> {
        properties.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    #[test]
    fn debug_output_never_holds_the_password() {
        let text = format!("{:?}", settings(Some(Tls { ca_pem: None }), scram("hunter2")));
        assert!(text.contains("ann") && text.contains("redacted"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn the_protocol_follows_from_encryption_and_authentication() {
        let tls = || Some(Tls { ca_pem: None });
        for (tls, sasl, protocol) in [
            (None, None, "plaintext"),
            (tls(), None, "ssl"),
            (None, scram("x"), "sasl_plaintext"),
            (tls(), scram("x"), "sasl_ssl"),
        ] {
            let properties = settings(tls, sasl).client_properties();
            assert_eq!(value(&properties, "security.protocol"), Some(protocol));
            assert_eq!(value(&properties, "bootstrap.servers"), Some("a:9092,b:9092"));
            assert_eq!(value(&properties, "allow.auto.create.topics"), Some("false"));
        }
    }

    #[test]
    fn host_names_are_verified_and_own_authorities_replace_the_systems() {
        let own = settings(Some(Tls { ca_pem: Some("PEM".to_owned()) }), None).client_properties();
        assert_eq!(value(&own, "ssl.endpoint.identification.algorithm"), Some("https"));
        assert_eq!(value(&own, "ssl.ca.pem"), Some("PEM"));
        assert_eq!(value(&own, "ssl.ca.location"), None);
        let system = settings(Some(Tls { ca_pem: None }), None).client_properties();
        assert_eq!(value(&system, "ssl.ca.location"), Some("probe"));
        assert_eq!(value(&settings(None, None).client_properties(), "ssl.ca.location"), None);
    }

    #[test]
    fn a_changed_password_changes_the_fingerprint_and_nothing_else_does_by_itself() {
        let one = settings(None, scram("one"));
        assert_eq!(one.fingerprint(), settings(None, scram("one")).fingerprint());
        assert_ne!(one.fingerprint(), settings(None, scram("two")).fingerprint());
    }

    #[test]
    fn a_line_break_at_the_end_of_a_secret_is_not_part_of_it() {
        assert_eq!(
            Sasl::new(SaslMechanism::Plain, "ann\n", "a b \r\n"),
            Sasl::new(SaslMechanism::Plain, "ann", "a b ")
        );
    }

    #[test]
    fn a_worker_reads_the_files_that_its_configuration_promises() {
        let folder = std::env::temp_dir().join(format!("weir-kafka-settings-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("the temporary folder is writable");
        let mut config = ConnectionConfig {
            bootstrap_servers: vec!["a:1".to_owned()],
            tls: true,
            ca_file: true,
            sasl: Some(SaslMechanism::ScramSha256),
        };
        let missing = ConnectionSettings::from_worker_files(&config, &folder).expect_err("nothing is there");
        assert!(missing.to_string().contains("ca.crt"), "{missing}");
        for (name, text) in [("ca.crt", "PEM"), ("username", "ann\n"), ("password", "")] {
            fs::write(folder.join(name), text).expect("the temporary folder is writable");
        }
        let empty = ConnectionSettings::from_worker_files(&config, &folder).expect_err("no password");
        assert!(empty.to_string().contains("password") && empty.to_string().contains("empty"), "{empty}");
        fs::write(folder.join("password"), "secret").expect("the temporary folder is writable");
        let read = ConnectionSettings::from_worker_files(&config, &folder).expect("all files are there");
        assert_eq!(read.tls, Some(Tls { ca_pem: Some("PEM".to_owned()) }));
        assert_eq!(read.sasl, Some(Sasl::new(SaslMechanism::ScramSha256, "ann", "secret")));
        config.tls = false;
        let plain =
            ConnectionSettings::from_worker_files(&config, &folder).expect("no certificate is needed");
        assert_eq!(plain.tls, None);
        fs::remove_dir_all(&folder).expect("the folder is ours");
    }
}
