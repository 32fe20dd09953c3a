//! TLS and SCRAM to a real broker, by the cargo feature `kafka-tls`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{fs, path::Path, sync::OnceLock};

use kit::log::{EVENT_ID, EventLog as _, KafkaConfig, KafkaLog, Record, Start};
use testbed::{Kafka, Listener, Right, Security};

const TOPIC: &str = "t";

/// Anyone who comes without a name may do everything, the user what it needs, others nothing.
fn broker() -> &'static Kafka {
    static BROKER: OnceLock<Kafka> = OnceLock::new();
    BROKER.get_or_init(|| {
        let kafka = Kafka::start(1, Security::Guarded).unwrap();
        kafka.allow(&[Right::MakeTopics, Right::WriteTopics, Right::ReadTopics]).unwrap();
        kafka
    })
}

/// A URL of that listener, with this login and these parameters.
fn url(listener: Listener, password: Option<&str>, parameters: &[&str]) -> String {
    let login = password.map(|password| format!("{}:{password}@", Kafka::USER));
    let (login, at) = (login.unwrap_or_default(), broker().bootstrap_of(listener));
    format!("kafka://{login}{at}?{}", parameters.join("&"))
}

fn verified(ca: &Path) -> String {
    format!("sslmode=verify-full&sslrootcert={}", ca.display())
}

async fn open(url: &str, prefix: &str) -> Result<KafkaLog, String> {
    let (url, prefix) = (url.parse().unwrap(), prefix.to_owned());
    let topics = vec![TOPIC.to_owned()];
    let config = KafkaConfig { url, prefix, topics, partitions: 1, replication: None };
    KafkaLog::open(config).await.map_err(|error| error.to_string())
}

async fn refused(url: &str, says: &str) {
    let Err(told) = open(url, "refused.").await else { panic!("{url} is let in") };
    assert!(told.contains(says) && !told.contains("hunter2"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_as_it_should_publishes_and_reads() {
    let (tls, password) = (verified(&broker().ca_pem()), Some(Kafka::PASSWORD));
    let (plain, scram) = ("sasl=PLAIN", "sasl=SCRAM-SHA-256");
    for (n, url) in [
        url(Listener::Ssl, None, &[&tls]),
        url(Listener::Ssl, None, &["sslmode=require"]),
        url(Listener::SaslPlaintext, password, &["sslmode=disable", plain]),
        url(Listener::SaslPlaintext, password, &[scram]),
        url(Listener::SaslSsl, password, &[&tls, plain]),
        url(Listener::SaslSsl, password, &[&tls, scram]),
    ]
    .into_iter()
    .enumerate()
    {
        let log = open(&url, &format!("{n}.")).await.unwrap();
        let headers = vec![(EVENT_ID.to_owned(), "e".to_owned())];
        let record = Record { key: "k".to_owned(), headers, payload: b"v".to_vec() };
        log.publish(TOPIC, vec![record.clone()]).await.unwrap();
        log.check().await.unwrap();
        let mut reader = log.read(TOPIC, Start::Beginning).await.unwrap();
        let mut read = Vec::new();
        while read.is_empty() {
            read = reader.next(10).await.unwrap().records;
        }
        assert_eq!(read[0].record, record, "{n}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_whose_certificate_is_not_trusted_is_not_spoken_to() {
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other.pem");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(&other, made.cert.pem()).unwrap();
    let untrusted = "a certificate is not trusted";
    refused(&url(Listener::Ssl, None, &[&verified(&other)]), untrusted).await;
    let password = Some("hunter2");
    refused(&url(Listener::SaslSsl, password, &[&verified(&other)]), untrusted).await;
    // The system's authorities did not issue it either.
    refused(&url(Listener::Ssl, None, &["sslmode=verify-full"]), untrusted).await;
    let missing = verified(Path::new("/no/such.pem"));
    refused(&url(Listener::Ssl, None, &[&missing]), "/no/such.pem").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_called_otherwise_than_its_certificate_is_not_spoken_to() {
    let url = url(Listener::Ssl, None, &[&verified(&broker().ca_pem())]);
    // The certificate is for localhost and 127.0.0.1.
    refused(&url.replace("127.0.0.1", "127.1"), "a certificate is not trusted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn our_certificate_says_who_we_are() {
    let (ca, own) = (broker().ca_pem(), broker().client_pem());
    let own = own.display();
    let own = format!("sslcert={own}&sslkey={own}");
    // It has no rights; anyone who shows none has all.
    refused(&url(Listener::Ssl, None, &[&verified(&ca), &own]), "no right to see").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_and_a_port_that_speaks_otherwise_are_told() {
    let tls = verified(&broker().ca_pem());
    for mechanism in ["PLAIN", "SCRAM-SHA-256"] {
        let parameters = [&*tls, &format!("sasl={mechanism}")];
        let url = url(Listener::SaslSsl, Some("hunter2"), &parameters);
        refused(&url, "do not accept the user and password").await;
    }
    // They may be about to end: it is an outage, with what is known of it.
    for url in [url(Listener::Plaintext, None, &[&tls]), url(Listener::Ssl, None, &[])] {
        let told = open(&url, "away.").await.unwrap().check().await.unwrap_err();
        assert!(told.0.to_string().contains("Disconnected"), "{}", told.0);
    }
}
