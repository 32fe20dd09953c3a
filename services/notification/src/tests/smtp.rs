//! Messages by SMTP, to a server that accepts, is busy, refuses, or is away.

use kit::{
    log::{EVENT_ID, SOURCE_TOPIC},
    testing::engines,
};
use prost::Message as _;
use proto::patient_events::{PATIENT_CREATED, PATIENT_DELETED, PATIENT_UPDATED, TOPIC};
use secrecy::SecretString;
use serde_json::json;
use uuid::Uuid;

use super::{World, each_its_own, event, smtp_server::SmtpServer};
use crate::{BuildError, Config, domain::TRIES_MAX, parse_from};

#[tokio::test]
async fn a_patients_messages_go_out_in_their_order() {
    for engine in engines() {
        let server = SmtpServer::start().await;
        let mut world = World::with_smtp(engine, &server).await;
        let mut server = server;
        for (id, kind) in [(1, PATIENT_CREATED), (2, PATIENT_UPDATED), (3, PATIENT_DELETED)] {
            world.handle(&event(id, 7, kind)).await.unwrap();
        }
        server.answer(&["451 later"]);
        world.deliver().await;
        assert_eq!(world.statuses().await, ["PENDING", "PENDING", "PENDING"]);
        assert!(server.received().is_none());

        world = world.after_a_crash().await;
        world.deliver().await;
        for subject in ["Welcome", "Your details", "Your registration"] {
            let message = server.received().unwrap();
            assert!(message.contains(&format!("Subject: {subject}")), "{message}");
        }
    }
}

#[tokio::test]
async fn a_message_goes_out_by_smtp() {
    for engine in engines() {
        let mut server = SmtpServer::start().await;
        let world = World::with_smtp(engine, &server).await;
        world.handle(&event(1, 7, PATIENT_CREATED)).await.unwrap();
        world.deliver().await;
        let message = server.received().unwrap();
        let id = Uuid::from_u128(1);
        assert!(message.contains(&format!("Message-ID: <{id}@medisync>")), "{message}");
        let (_, body) = world.get("/notifications").await;
        let sent = &body["notifications"][0];
        assert_eq!((&sent["channel"], &sent["status"]), (&json!("smtp"), &json!("SENT")));
        assert_eq!(sent["sentAt"], "2026-03-02T09:00:00Z");
        assert_eq!(world.told_of().await, 0);
    }
}

#[tokio::test]
async fn a_server_that_is_busy_is_asked_again_later() {
    for engine in engines() {
        let mut server = SmtpServer::start().await;
        let world = World::with_smtp(engine, &server).await;
        server.answer(&["451 busy", "450 busy"]);
        world.handle(&event(1, 7, PATIENT_CREATED)).await.unwrap();
        for wait_s in [1, 2] {
            world.deliver().await;
            assert_eq!(
                (world.statuses().await, server.received()),
                (vec!["PENDING".to_owned()], None)
            );
            world.time.pass_s(wait_s - 1);
            // Not a second too early.
            world.deliver().await;
            assert!(server.received().is_none());
            world.time.pass_s(1);
        }
        world.deliver().await;
        assert!(server.received().is_some());
        assert_eq!(world.statuses().await, ["SENT"]);
    }
}

#[tokio::test]
async fn a_server_that_is_away_is_waited_for_as_long_as_it_takes() {
    for engine in engines() {
        let url = SmtpServer::start().await.url.clone();
        let world = World::start(engine, Some(SecretString::from(url)), each_its_own()).await;
        world.handle(&event(1, 7, PATIENT_CREATED)).await.unwrap();
        for _ in 0..TRIES_MAX + 3 {
            world.deliver().await;
            world.time.pass_s(300);
        }
        assert_eq!(
            (world.statuses().await, world.told_of().await),
            (vec!["PENDING".to_owned()], 1)
        );
    }
}

#[tokio::test]
async fn wrong_credentials_give_nobody_up() {
    for engine in engines() {
        let server = SmtpServer::start().await;
        let world = World::with_smtp(engine, &server).await;
        world.handle(&event(1, 7, PATIENT_CREATED)).await.unwrap();
        for _ in 0..TRIES_MAX + 3 {
            server.answer(&["530 sign in first"]);
            world.deliver().await;
            world.time.pass_s(300);
        }
        assert_eq!(world.statuses().await, ["PENDING"]);
    }
}

#[tokio::test]
async fn a_recipient_who_is_refused_for_good_is_a_dead_letter() {
    for engine in engines() {
        let mut server = SmtpServer::start().await;
        let world = World::with_smtp(engine, &server).await;
        let refused = event(1, 7, PATIENT_CREATED);
        world.handle(&refused).await.unwrap();
        for _ in 0..TRIES_MAX {
            assert_eq!(world.statuses().await, ["PENDING"]);
            server.answer(&["550 no such user"]);
            world.deliver().await;
            world.time.pass_s(300);
        }
        assert_eq!((world.statuses().await, world.told_of().await), (vec!["FAILED".to_owned()], 0));
        let letter = world.dead_letter().await;
        assert_eq!((&letter.key, &letter.payload), (&refused.patient_id, &refused.encode_to_vec()));
        assert_eq!(letter.header(EVENT_ID), Some(refused.event_id.as_str()));
        assert_eq!(letter.header("error"), Some("the SMTP server answered 550"));
        assert_eq!(letter.header(SOURCE_TOPIC), Some(TOPIC));

        // The patient's next message is not held up.
        world.handle(&event(2, 7, PATIENT_UPDATED)).await.unwrap();
        world.deliver().await;
        assert!(server.received().is_some());
    }
}

#[tokio::test]
async fn a_wrong_smtp_url_is_told_without_its_password() {
    for engine in engines() {
        let world = World::with_files(engine).await;
        let url = SecretString::from("smtp://user:s3cret@".to_owned());
        let config = Config { smtp: Some(url), ..world.config.clone() };
        let Err(error) = config.channel().await else { panic!("it was accepted") };
        assert!(matches!(error, BuildError::Smtp(_)));
        assert!(!error.to_string().contains("s3cret"), "{error}");
        assert!(parse_from("nobody").is_err());
    }
}
