//! Kafka's URL (`kafka://…`), and librdkafka's configuration from it.
//!
//! ```text
//! kafka://[user:password@]host:port[,host:port…][?parameter=value&…]
//! ```
//!
//! Parameters have the names and values that PostgreSQL's URLs have: `sslmode` (`disable`, the
//! default; `require`; `verify-full`), `sslrootcert`, and `sslcert`, `sslkey`; and `sasl` (`PLAIN`,
//! the default; `SCRAM-SHA-256`, `SCRAM-SHA-512`).

use std::{fmt, fs, path::PathBuf, str::FromStr};

use percent_encoding::percent_decode_str;
use rdkafka::{ClientConfig, config::RDKafkaLogLevel};

/// The binary has one TLS stack, which librdkafka cannot use; this feature adds its own.
const HAS_TLS: bool = cfg!(feature = "kafka-tls");
const NO_TLS: &str = "this binary knows neither TLS nor SCRAM to Kafka: build it with the cargo \
                      feature kafka-tls";
const FORM: &str = "must be of the form kafka://[user:password@]host:port[,host:port]";

/// Where Kafka is, and as whom we come.
#[derive(Clone, PartialEq, Eq)]
pub struct KafkaUrl {
    brokers: String,
    login: Option<Login>,
    tls: Option<Tls>,
}

/// What the log needs to know.
#[derive(Clone)]
pub struct KafkaConfig {
    /// Where Kafka is.
    pub url: KafkaUrl,
    /// What stands before the names of topics and groups, where several meshes share a cluster.
    pub prefix: String,
    /// Topics that are made when they are missing: their names without the prefix.
    pub topics: Vec<String>,
    /// This many partitions they are made with.
    pub partitions: i32,
    /// On this many brokers; the cluster's own default when none.
    pub replication: Option<i32>,
}

#[derive(Clone, PartialEq, Eq)]
struct Login {
    user: String,
    password: String,
    mechanism: String,
}

#[derive(Clone, PartialEq, Eq)]
struct Tls {
    verify: Verify,
    /// The authorities that are trusted; the system's own when none.
    root: Option<PathBuf>,
    /// Our certificate and its key, where the brokers ask for one.
    own: Option<(PathBuf, PathBuf)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verify {
    Nothing,
    Full,
}

// === impl KafkaUrl ===

impl FromStr for KafkaUrl {
    type Err = &'static str;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        let rest = url.strip_prefix("kafka://").ok_or(FORM)?;
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (user, brokers) = match place.rsplit_once('@') {
            Some((user, brokers)) => (Some(user), brokers),
            None => (None, place),
        };
        if !brokers.split(',').all(is_broker) {
            return Err(FORM);
        }
        let mut parameters = Parameters::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            parameters.read(pair)?;
        }
        let login = user.map(|user| parameters.login(user)).transpose()?;
        if login.is_none() && parameters.sasl.is_some() {
            return Err("sasl needs a user and a password: kafka://user:password@host:port");
        }
        let scram = login.as_ref().is_some_and(|login| login.mechanism != "PLAIN");
        let tls = parameters.tls()?;
        if (scram || tls.is_some()) && !HAS_TLS {
            return Err(NO_TLS);
        }
        Ok(Self { brokers: brokers.to_owned(), login, tls })
    }
}

/// Where, and not as whom.
impl fmt::Debug for KafkaUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kafka://{}", self.brokers)
    }
}

impl KafkaUrl {
    /// Whether its files can be read: librdkafka would not say which one cannot.
    pub(super) fn check_files(&self) -> Result<(), String> {
        let Some(tls) = &self.tls else { return Ok(()) };
        let own = tls.own.iter().flat_map(|(certificate, key)| [certificate, key]);
        for file in tls.root.iter().chain(own) {
            fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
        }
        Ok(())
    }

    /// librdkafka's configuration, whatever it is used for.
    pub(super) fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.brokers).set("client.id", "medisync");
        // Some reasons why brokers hang up are told by its log only.
        client.set_log_level(RDKafkaLogLevel::Info);
        // A broker that stands still is given up, and who leads instead of it is asked, so soon.
        client.set("socket.timeout.ms", "10000").set("topic.metadata.refresh.interval.ms", "5000");
        client.set("socket.keepalive.enable", "true").set("reconnect.backoff.max.ms", "2000");
        let protocol = match (&self.tls, &self.login) {
            (None, None) => "plaintext",
            (None, Some(_)) => "sasl_plaintext",
            (Some(_), None) => "ssl",
            (Some(_), Some(_)) => "sasl_ssl",
        };
        client.set("security.protocol", protocol);
        if let Some(login) = &self.login {
            client.set("sasl.mechanism", &login.mechanism);
            client.set("sasl.username", &login.user).set("sasl.password", &login.password);
        }
        if let Some(tls) = &self.tls {
            tls.tell(&mut client);
        }
        client
    }
}

// === impl Tls ===

impl Tls {
    fn tell(&self, client: &mut ClientConfig) {
        let (certificate, name) = match self.verify {
            Verify::Nothing => ("false", "none"),
            Verify::Full => ("true", "https"),
        };
        client.set("enable.ssl.certificate.verification", certificate);
        client.set("ssl.endpoint.identification.algorithm", name);
        if let Some(root) = &self.root {
            client.set("ssl.ca.location", root.to_string_lossy());
        }
        if let Some((certificate, key)) = &self.own {
            client.set("ssl.certificate.location", certificate.to_string_lossy());
            client.set("ssl.key.location", key.to_string_lossy());
        }
    }
}

/// What follows the question mark.
#[derive(Default)]
struct Parameters {
    sasl: Option<String>,
    verify: Option<Verify>,
    root: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

// === impl Parameters ===

impl Parameters {
    fn read(&mut self, pair: &str) -> Result<(), &'static str> {
        let (name, value) = pair.split_once('=').ok_or("has a parameter without a value")?;
        let value = decoded(value)?;
        match name {
            "sasl" if ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"].contains(&value.as_str()) => {
                self.sasl = Some(value);
            }
            "sasl" => return Err("sasl must be PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512"),
            "sslmode" => {
                self.verify = match value.as_str() {
                    "disable" => None,
                    "require" => Some(Verify::Nothing),
                    "verify-full" => Some(Verify::Full),
                    _ => return Err("sslmode must be disable, require or verify-full"),
                };
            }
            "sslrootcert" => self.root = Some(value.into()),
            "sslcert" => self.certificate = Some(value.into()),
            "sslkey" => self.key = Some(value.into()),
            _ => {
                return Err("has an unknown parameter: there are sasl, sslmode, sslrootcert, \
                            sslcert and sslkey");
            }
        }
        Ok(())
    }

    fn login(&self, user: &str) -> Result<Login, &'static str> {
        let (user, password) = user.split_once(':').ok_or("names a user without a password")?;
        let mechanism = self.sasl.clone().unwrap_or_else(|| "PLAIN".to_owned());
        Ok(Login { user: decoded(user)?, password: decoded(password)?, mechanism })
    }

    fn tls(self) -> Result<Option<Tls>, &'static str> {
        let files = self.root.is_some() || self.certificate.is_some() || self.key.is_some();
        let Some(verify) = self.verify else {
            return if files { Err("names certificates but no sslmode") } else { Ok(None) };
        };
        if self.root.is_some() && verify != Verify::Full {
            return Err("sslrootcert is for sslmode=verify-full");
        }
        let own = match (self.certificate, self.key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err("sslcert and sslkey belong together"),
        };
        Ok(Some(Tls { verify, root: self.root, own }))
    }
}

fn is_broker(broker: &str) -> bool {
    broker.rsplit_once(':').is_some_and(|(host, port)| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c);
        !host.is_empty() && host.chars().all(plain) && port.parse::<u16>().is_ok()
    })
}

fn decoded(text: &str) -> Result<String, &'static str> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(String::from).map_err(|_| "has a value that is not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_and_a_login_are_read_and_the_password_is_not_printed() {
        let url: KafkaUrl = "kafka://ann:p%40ss@a:9092,b:9093?sasl=PLAIN".parse().unwrap();
        assert_eq!(format!("{url:?}"), "kafka://a:9092,b:9093");
        let client = url.client();
        assert_eq!(client.get("bootstrap.servers"), Some("a:9092,b:9093"));
        assert_eq!(client.get("security.protocol"), Some("sasl_plaintext"));
        assert_eq!(client.get("sasl.password"), Some("p@ss"));
    }

    #[test]
    fn what_is_no_kafka_url_is_refused_with_the_reason() {
        for (url, reason) in [
            ("kafka://", "form"),
            ("kafka://host", "form"),
            ("kafka://host:port", "form"),
            ("kafka://a:1,,b:2", "form"),
            ("http://host:9092", "form"),
            ("kafka://ann@host:9092", "without a password"),
            ("kafka://host:9092?sasl=PLAIN", "needs a user"),
            ("kafka://ann:x@host:9092?sasl=GSSAPI", "sasl must be"),
            ("kafka://host:9092?sslmode=maybe", "sslmode must be"),
            ("kafka://host:9092?sslmode=verify-ca", "sslmode must be"),
            ("kafka://host:9092?sslrootcert=/ca.pem", "no sslmode"),
            ("kafka://host:9092?sslmode=require&sslrootcert=/ca.pem", "for sslmode=verify-full"),
            ("kafka://host:9092?sslmode=require&sslcert=/own.pem", "belong together"),
            ("kafka://host:9092?acks=1", "unknown parameter"),
        ] {
            let refused = url.parse::<KafkaUrl>().unwrap_err();
            assert!(refused.contains(reason), "{url}: {refused}");
        }
    }

    #[cfg(feature = "kafka-tls")]
    #[test]
    fn the_mode_says_whether_there_is_tls_and_whom_it_trusts() {
        let verified = Some("true");
        for (query, protocol, verifies, name) in [
            ("", "plaintext", None, None),
            ("?sslmode=disable", "plaintext", None, None),
            ("?sslmode=require", "ssl", Some("false"), Some("none")),
            ("?sslmode=verify-full", "ssl", verified, Some("https")),
            ("?sslmode=verify-full&sslrootcert=/a%20b.pem", "ssl", verified, Some("https")),
        ] {
            let client = format!("kafka://h:1{query}").parse::<KafkaUrl>().unwrap().client();
            assert_eq!(client.get("security.protocol"), Some(protocol), "{query}");
            assert_eq!(client.get("enable.ssl.certificate.verification"), verifies, "{query}");
            assert_eq!(client.get("ssl.endpoint.identification.algorithm"), name, "{query}");
            let root = query.contains("sslrootcert").then_some("/a b.pem");
            assert_eq!(client.get("ssl.ca.location"), root, "{query}");
        }
    }

    #[test]
    fn tls_and_scram_need_the_feature() {
        for url in ["kafka://h:1?sslmode=verify-full", "kafka://u:p@h:1?sasl=SCRAM-SHA-512"] {
            assert_eq!(url.parse::<KafkaUrl>().is_ok(), HAS_TLS, "{url}");
        }
    }
}
