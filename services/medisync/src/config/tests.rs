//! Precedence, faults and what is shown.

use std::io::Write as _;

use proptest::prelude::*;
use shared_middleware::identity::Part;

use super::{Config, ConfigErrors, Sources, read, show};

fn gather(file: &str, environment: &[(&str, &str)], flags: &[(&'static str, &str)]) -> Sources {
    let mut toml = tempfile::NamedTempFile::new().unwrap();
    toml.write_all(file.as_bytes()).unwrap();
    let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    let flags = flags.iter().map(|(k, v)| (*k, (*v).to_owned()));
    Sources::gather(Some(toml.path()), environment, flags)
}

fn up(sources: Sources) -> Result<Config, ConfigErrors> {
    read(sources, &Part::ALL, true)
}

fn faults(sources: Sources) -> Vec<String> {
    let told = up(sources).err().unwrap().to_string();
    told.lines().skip(1).map(|line| line.trim().to_owned()).collect()
}

#[test]
fn the_defaults_are_those_of_the_interfaces() {
    let config = up(gather("", &[], &[])).unwrap();
    assert_eq!(config.listen[&Part::Gateway].to_string(), "127.0.0.1:4004");
    assert_eq!(config.admin_listen.to_string(), "127.0.0.1:4090");
    assert_eq!(config.billing_grpc_listen.to_string(), "127.0.0.1:9001");
    assert_eq!(config.gateway.user_limit.unwrap().to_string(), "100/1s");
    assert!(config.demo);
    assert!(config.urls.is_empty());
    assert_eq!(config.pem_files(Part::Patient).key.to_str(), Some("./data/pki/patient.key"));
}

#[test]
fn flags_beat_the_environment_which_beats_the_file() {
    let file = "data_dir = 'f'\ndrain_seconds = 1\n[gateway]\nlisten = '127.0.0.1:1'\n";
    let environment = [("MEDISYNC_DATA_DIR", "e"), ("MEDISYNC_DRAIN_SECONDS", "2")];
    let config = up(gather(file, &environment, &[("data_dir", "x")])).unwrap();
    assert_eq!(config.data_dir.to_str(), Some("x"));
    assert_eq!(config.drain.as_secs(), 2);
    assert_eq!(config.listen[&Part::Gateway].port(), 1);
    assert_eq!(config.events_path().to_str(), Some("x/events.db"));
}

#[test]
fn every_fault_is_found_at_once() {
    let file = "[gateway]\nlisten = 'nowhere'\nlissten = 'x'\n[limits]\nin_flight_max = 0\n";
    let environment = [
        ("MEDISYNC_GATEWAY__RATE_LIMIT__USER", "many"),
        ("MEDISYNC_MESH__MTLS", "maybe"),
        ("MEDISYNC_PATIENT__DATABASE", "mysql://user:secret@host/db"),
        ("MEDISYNC_NO__SUCH", "1"),
        ("MEDISYNC_TEST_POSTGRES", "ignored"),
        ("MEDISYNC_SERVICE_HOST", "10.0.0.1"),
        ("MEDISYNC_PORT", "tcp://10.0.0.1:4004"),
        ("MEDISYNC_GATEWAY_PORT_4004_TCP_ADDR", "10.0.0.1"),
    ];
    let found = faults(gather(file, &environment, &[]));
    assert_eq!(found.len(), 7, "{found:#?}");
    let all = found.join("\n");
    for part in [
        "gateway.listen: must be an address",
        "there is no such setting; did you mean gateway.listen?",
        "limits.in_flight_max: must be a whole number from 1",
        "MEDISYNC_GATEWAY__RATE_LIMIT__USER",
        "MEDISYNC_MESH__MTLS: must be permissive or strict",
        "MEDISYNC_PATIENT__DATABASE: must begin with sqlite: or postgres://",
        "MEDISYNC_NO__SUCH",
    ] {
        assert!(all.contains(part), "{part} in {all}");
    }
    assert!(!all.contains("secret"));
}

#[test]
fn a_time_zone_is_known_by_its_name_or_refused() {
    let zone = |name| {
        let read = up(gather("", &[("MEDISYNC_CLINIC__TIME_ZONE", name)], &[]));
        read.map(|config| config.time_zone.iana_name().map(str::to_owned))
    };
    assert_eq!(zone("Pacific/Auckland").unwrap().as_deref(), Some("Pacific/Auckland"));
    for wrong in ["Middle/Earth", "+02:00", "CEST-2"] {
        let told = zone(wrong).unwrap_err().to_string();
        assert!(told.contains("MEDISYNC_CLINIC__TIME_ZONE: must be the IANA name"), "{told}");
    }
}

#[test]
fn leaving_is_a_part_of_the_drain() {
    let (drain, leave) = ("MEDISYNC_DRAIN_SECONDS", "MEDISYNC_MESH__LEAVE_MS");
    let ms = |parts: &[Part], variables: &[(&str, &str)]| {
        let read = read(gather("", variables, &[]), parts, false);
        read.map(|config| config.leave.as_millis())
    };
    let patient = [Part::Patient];
    assert_eq!(ms(&patient, &[]), Ok(2500));
    assert_eq!(ms(&[Part::Gateway], &[]), Ok(2500));
    assert_eq!(ms(&patient, &[(drain, "1")]), Ok(500));
    assert_eq!(ms(&patient, &[(drain, "0")]), Ok(0));
    assert_eq!(ms(&patient, &[(drain, "1"), (leave, "1000")]), Ok(1000));
    assert_eq!(ms(&Part::ALL, &[(leave, "1000")]), Ok(0));
    let fault = ms(&patient, &[(drain, "1"), (leave, "1001")]).unwrap_err().to_string();
    assert!(fault.contains("not be longer than drain_seconds"), "{fault}");
}

#[test]
fn two_listeners_on_one_address_are_a_fault() {
    let found = faults(gather("", &[("MEDISYNC_AUTH__LISTEN", "127.0.0.1:4004")], &[]));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("is the address of"));
    up(gather("", &[("MEDISYNC_AUTH__LISTEN", "127.0.0.1:0")], &[])).unwrap();
}

#[test]
fn demo_data_is_off_when_a_server_keeps_the_data() {
    let postgres = [("MEDISYNC_AUTH__DATABASE", "postgres://u:p@h/db")];
    assert!(!up(gather("", &postgres, &[])).unwrap().demo);
    assert!(!read(gather("", &[], &[]), &[Part::Auth], false).unwrap().demo);
}

#[test]
fn the_demo_is_for_this_machine_only_unless_somebody_insists() {
    let outside = ("MEDISYNC_GATEWAY__LISTEN", "0.0.0.0:4004");
    assert!(!up(gather("", &[outside], &[])).unwrap().demo);
    let found = faults(gather("", &[outside, ("MEDISYNC_DEMO", "true")], &[]));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("gateway.listen = 0.0.0.0:4004"), "{found:?}");
    assert!(up(gather("", &[outside, ("MEDISYNC_DEMO", "anywhere")], &[])).unwrap().demo);
    assert!(up(gather("", &[("MEDISYNC_DEMO", "true")], &[])).unwrap().demo);
    assert!(!up(gather("", &[("MEDISYNC_DEMO", "false")], &[])).unwrap().demo);
    // What another process listens on is its own affair.
    let elsewhere = [outside, ("MEDISYNC_DEMO", "true")];
    assert!(read(gather("", &elsewhere, &[]), &[Part::Auth], false).unwrap().demo);
}

#[test]
fn passwords_are_not_shown() {
    let environment = [
        ("MEDISYNC_AUTH__DATABASE", "postgres://user:hunter2@host/db"),
        ("MEDISYNC_NOTIFICATION__SMTP", "smtp://user:hunter2@host:25"),
        ("MEDISYNC_BILLING__DATABASE", "postgres://u@h/db?password=hunter2&sslmode=disable"),
        ("MEDISYNC_GATEWAY__JWKS", "https://u:hunter2@h/jwks?api_key=hunter2"),
        ("MEDISYNC_EVENTS__LOG", "kafka://u:hunter2@a:9092,b:9092?sasl=PLAIN"),
    ];
    let shown = show(&gather("", &environment, &[]), true);
    assert!(shown.contains("postgres://user:***@host/db") && !shown.contains("hunter2"));
    assert!(shown.contains("password=***&sslmode=disable"), "{shown}");
    assert!(shown.contains("kafka://u:***@a:9092,b:9092?sasl=PLAIN"), "{shown}");
    assert!(shown.contains("# environment") && shown.contains("# default"));
    shown.parse::<toml::Table>().unwrap();
}

#[test]
fn a_file_that_is_no_toml_is_told_without_its_content() {
    let found = faults(gather("a = 1\nsmtp = 'hunter2\n", &[], &[]));
    assert!(found[0].contains("not TOML") && !found[0].contains("hunter2"), "{found:?}");
}

proptest! {
    #[test]
    fn no_file_makes_it_panic(text in "\\PC*(\n\\PC*)*") {
        let _ = up(gather(&text, &[], &[]));
    }
}

#[test]
fn a_certificate_of_the_public_port_needs_its_key() {
    let alone = gather("", &[("MEDISYNC_GATEWAY__TLS__CERT", "chain.pem")], &[]);
    let told = faults(alone);
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("MEDISYNC_GATEWAY__TLS__CERT") && told[0].contains("gateway.tls.key"));
    let both = [("MEDISYNC_GATEWAY__TLS__CERT", "c"), ("MEDISYNC_GATEWAY__TLS__KEY", "k")];
    let config = up(gather("", &both, &[])).unwrap();
    assert_eq!(config.gateway.tls, Some(("c".into(), "k".into())));
}

const ISSUERS: &str = r#"
[[tokens.issuers]]
issuer = "https://id.example/realms/ward"
audience = "patients"
jwks_url = "https://id.example/realms/ward/keys"
role_claim = "realm_access.roles"

[[tokens.issuers]]
issuer = "https://lab.example"
audience = "patients"
jwks_url = "http://127.0.0.1:8080/keys"
"#;

#[test]
fn issuers_are_tables_of_a_file_or_a_list_in_json() {
    let of_file = up(gather(ISSUERS, &[], &[])).unwrap().token_issuers;
    let named: Vec<_> = of_file.iter().map(|it| (&*it.issuer, &*it.role_claim)).collect();
    let wanted = [("https://id.example/realms/ward", "realm_access.roles")];
    assert_eq!(named, [wanted[0], ("https://lab.example", "role")]);

    // What is shown is a file that gives the same.
    let shown = show(&gather(ISSUERS, &[], &[]), false);
    assert_eq!(up(gather(&shown, &[], &[])).unwrap().token_issuers, of_file);

    let json = r#"[{"issuer": "i", "audience": "a", "jwks_url": "https://[::1]/k"}]"#;
    let told = [("MEDISYNC_TOKENS__ISSUERS", json)];
    assert_eq!(up(gather(ISSUERS, &told, &[])).unwrap().token_issuers[0].issuer, "i");
    assert!(up(gather("", &[], &[])).unwrap().token_issuers.is_empty());
}

#[test]
fn every_fault_of_every_issuer_is_told() {
    let good = r#""audience": "a", "jwks_url": "https://h/k""#;
    for (json, wanted) in [
        ("{}".to_owned(), "must be a list of issuers"),
        ("[{}]".to_owned(), "missing field `issuer`"),
        (format!(r#"[{{"issuer": "i", {good}, "x": 1}}]"#), "unknown field `x`"),
        (format!(r#"[{{"issuer": "", {good}}}]"#), "issuer 1: issuer must be a text"),
        (format!(r#"[{{"issuer": "medisync", {good}}}]"#), "which is ourselves"),
        (format!(r#"[{{"issuer": "https://h/#x", {good}}}]"#), "nor hold a #"),
        (format!(r#"[{{"issuer": "i", {good}}}, {{"issuer": "i", {good}}}]"#), "2: is there twice"),
        (format!(r#"[{{"issuer": "i", {good}, "role_claim": ""}}]"#), "role_claim must be a text"),
        (format!(r#"[{{"issuer": "i", {good}, "ca": "/no/such.pem"}}]"#), "ca: cannot read"),
        (
            format!("[{}]", vec![format!(r#"{{"issuer": "i", {good}}}"#); 17].join(",")),
            "16 at most",
        ),
    ] {
        let found = faults(gather("", &[("MEDISYNC_TOKENS__ISSUERS", &json)], &[])).join("\n");
        assert!(found.starts_with("MEDISYNC_TOKENS__ISSUERS: "), "{found}");
        assert!(found.contains(wanted), "{wanted} in {found}");
    }
    for url in [
        "h/k",
        "http://id.example/k",
        "http://10.0.0.1/k",
        "http://localhost/k",
        "https://u:p@h/k",
        "file:///k",
        "ftp://h/k",
        "https:///k",
    ] {
        let json = format!(r#"[{{"issuer": "", "audience": "", "jwks_url": "{url}"}}]"#);
        let found = faults(gather("", &[("MEDISYNC_TOKENS__ISSUERS", &json)], &[]));
        assert_eq!(found.len(), 3, "{url}: {found:?}");
        assert!(found[2].contains("jwks_url must be an https URL"), "{url}: {found:?}");
    }
    let other = gather("[gateway]\nlisten = [1]\n", &[], &[]);
    assert!(faults(other)[0].contains("must be a text, a number"));
}

#[test]
fn the_gateway_redirects_only_where_there_is_https_and_lets_in_only_what_is_an_origin() {
    let found = faults(gather(
        "[gateway]\ncors_origins = 'https://a.example, *'\n[gateway.tls]\n\
         redirect_listen = '127.0.0.1:80'\nredirect_port = 0\n",
        &[],
        &[],
    ));
    let all = found.join("\n");
    assert_eq!(found.len(), 3, "{all}");
    assert!(all.contains("gateway.tls.redirect_listen: needs gateway.tls.cert"), "{all}");
    assert!(all.contains("gateway.tls.redirect_port: must be a whole number from 1"), "{all}");
    assert!(all.contains("\"*\" is no origin"), "{all}");
    let file = "[gateway]\ncors_origins = 'https://a.example, http://localhost:3000'\n";
    assert_eq!(up(gather(file, &[], &[])).unwrap().gateway.cors_origins.len(), 2);
    let config = up(gather("", &[], &[])).unwrap();
    assert!(config.gateway.cors_origins.is_empty() && config.gateway.redirect_listen.is_none());
}
