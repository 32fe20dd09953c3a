//! Messages as files: once for each event, whatever crashes.

use std::{fs, sync::Arc};

use kit::{
    consumer::{Consumer, Handler as _},
    dead_letter::Retried,
    log::{
        ConsumedRecord, EventLog, Record, SOURCE_GROUP, SOURCE_OFFSET, SOURCE_PARTITION,
        SOURCE_TOPIC,
    },
    testing::engines,
};
use prost::Message as _;
use proto::patient_events::{
    PATIENT_CREATED, PATIENT_DELETED, PATIENT_UPDATED, PatientEvent, TOPIC,
};
use shared_middleware::identity::Part;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{CLAIMED_FOR_S, World, event, first_letter, record};
use crate::{GROUP, domain::TRIES_MAX};

#[tokio::test]
async fn each_event_becomes_one_file_and_the_person_is_forgotten() {
    for engine in engines() {
        let world = World::with_files(engine).await;
        for (id, kind) in [(1, PATIENT_CREATED), (2, PATIENT_UPDATED), (3, PATIENT_DELETED)] {
            world.handle(&event(id, 7, kind)).await.unwrap();
            world.handle(&event(id, 7, kind)).await.unwrap();
        }
        assert_eq!((world.statuses().await.len(), world.told_of().await), (3, 3));
        world.deliver().await;
        assert_eq!(world.statuses().await, ["SENT", "SENT", "SENT"]);
        assert_eq!((world.files(), world.told_of().await), (3, 0));
        let message = fs::read_to_string(world.file(1)).unwrap();
        assert!(message.contains("To: \"Grace Hopper\" <grace@example.com>"), "{message}");
        // Again, after it was sent: nothing happens.
        world.handle(&event(1, 7, PATIENT_CREATED)).await.unwrap();
        assert!(!world.sender.deliver_some().await.unwrap());
        assert_eq!(world.statuses().await.len(), 3);
    }
}

#[tokio::test]
async fn a_message_that_was_delivered_and_not_marked_is_the_same_file() {
    for engine in engines() {
        let world = World::with_files(engine).await;
        world.handle(&event(1, 7, PATIENT_CREATED)).await.unwrap();
        world.deliver().await;
        let first = fs::read(world.file(1)).unwrap();

        // Elsewhere: the file is there, and the crash came before the mark.
        let world = World::with_files(engine).await;
        fs::write(world.file(1), &first).unwrap();
        world.handle(&event(1, 7, PATIENT_CREATED)).await.unwrap();
        assert_eq!(world.claimed_elsewhere().await, 1);
        world.deliver().await;
        assert_eq!(world.statuses().await, ["PENDING"], "it is claimed");

        let world = world.after_a_crash().await;
        world.deliver().await;
        assert_eq!(world.statuses().await, ["SENT"]);
        assert_eq!((world.files(), fs::read(world.file(1)).unwrap()), (1, first));
    }
}

#[tokio::test]
async fn a_claim_runs_out() {
    for engine in engines() {
        let world = World::with_files(engine).await;
        world.handle(&event(1, 7, PATIENT_CREATED)).await.unwrap();
        assert_eq!(world.claimed_elsewhere().await, 1);
        assert_eq!(world.claimed_elsewhere().await, 0);
        world.time.pass_s(CLAIMED_FOR_S);
        world.deliver().await;
        assert_eq!(world.statuses().await, ["SENT"]);
    }
}

#[tokio::test]
async fn a_temporary_file_that_a_crash_left_is_gone_after_the_start() {
    for engine in engines() {
        let world = World::with_files(engine).await;
        world.handle(&event(1, 7, PATIENT_CREATED)).await.unwrap();
        let half = world.config.outbox_dir.join(format!(".{}.tmp", Uuid::from_u128(1)));
        fs::write(&half, "Mess").unwrap();
        let world = world.after_a_crash().await;
        assert!(!half.exists());
        world.deliver().await;
        assert_eq!((world.files(), world.file(1).exists()), (1, true));
    }
}

#[tokio::test]
async fn a_message_that_cannot_be_built_is_a_dead_letter_and_harms_no_other() {
    for engine in engines() {
        let world = World::with_files(engine).await;
        let nobody = PatientEvent { email: "nowhere".to_owned(), ..event(1, 7, PATIENT_CREATED) };
        world.handle(&nobody).await.unwrap();
        world.handle(&event(2, 8, PATIENT_CREATED)).await.unwrap();
        for _ in 0..TRIES_MAX {
            world.deliver().await;
            world.time.pass_s(300);
        }
        assert_eq!(world.statuses().await, ["SENT", "FAILED"]);
        let letter = world.dead_letter().await;
        assert_eq!(letter.payload, nobody.encode_to_vec());
        assert_eq!(letter.header(SOURCE_TOPIC), Some(TOPIC));
        assert_eq!(letter.header(SOURCE_GROUP), Some(GROUP));
        assert_eq!(letter.header(SOURCE_PARTITION), Some("3"));
        assert_eq!(letter.header(SOURCE_OFFSET), Some("101"));
        assert_eq!(letter.identity(), "notification-service/3/101");
        assert_eq!(world.files(), 1);
    }
}

#[tokio::test]
async fn what_was_given_up_is_sent_when_it_is_retried_and_only_once() {
    for engine in engines() {
        let world = World::with_files(engine).await;
        // At the offset that the log gives it.
        let nobody = PatientEvent { email: "nowhere".to_owned(), ..event(1, 7, PATIENT_CREATED) };
        world.log.publish(TOPIC, vec![record(&nobody)]).await.unwrap();
        let delivered = ConsumedRecord {
            partition: 0,
            position: 0,
            offset: 1,
            published_at: None,
            record: record(&nobody),
        };
        world.apply(delivered).await.unwrap();
        for _ in 0..TRIES_MAX {
            world.deliver().await;
            world.time.pass_s(300);
        }
        assert_eq!((world.statuses().await, world.told_of().await), (vec!["FAILED".to_owned()], 0));
        let letters = world.dead_letters();
        let letter = letters.list(0, 10).await.unwrap().pop().unwrap();
        assert_eq!((letter.partition, letter.offset), (0, 1));
        assert_eq!(letter.event_id, nobody.event_id);
        assert!(!letter.error.contains("nowhere"), "{}", letter.error);

        assert_eq!(letters.retry(letter.id).await.unwrap(), Retried::Done);
        assert_eq!(world.statuses().await, ["PENDING"]);
        assert!(letters.list(0, 10).await.unwrap().is_empty());
        // It cannot be sent this time either, and is given up once more.
        for _ in 0..TRIES_MAX {
            world.deliver().await;
            world.time.pass_s(300);
        }
        assert_eq!((world.statuses().await, world.told_of().await), (vec!["FAILED".to_owned()], 0));
        assert_eq!(letters.list(0, 10).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_retry_of_what_was_sent_sends_nothing() {
    for engine in engines() {
        let world = World::with_files(engine).await;
        world.handle(&event(1, 7, PATIENT_CREATED)).await.unwrap();
        world.deliver().await;
        let delivered = ConsumedRecord {
            partition: 0,
            position: 0,
            offset: 1,
            published_at: None,
            record: record(&event(1, 7, PATIENT_CREATED)),
        };
        let handler = Arc::clone(&world.handler);
        let db = world.store.db();
        let retried =
            db.write(move |tx| Box::pin(async move { handler.retry(tx, &delivered).await }));
        retried.await.unwrap();
        assert_eq!(world.statuses().await, ["SENT"]);
    }
}

#[tokio::test]
async fn events_of_the_topic_are_delivered_and_poison_is_a_dead_letter() {
    for engine in engines() {
        let world = World::with_files(engine).await;
        let poison = Record { payload: b"\xff".to_vec(), ..record(&event(2, 8, PATIENT_CREATED)) };
        let records = vec![
            record(&event(1, 7, PATIENT_CREATED)),
            poison.clone(),
            record(&event(3, 9, PATIENT_CREATED)),
        ];
        let stop = CancellationToken::new();
        let log: Arc<dyn EventLog> = Arc::new(world.log.clone());
        let handler = Arc::clone(&world.handler);
        let (db, clock) = (world.store.db(), world.time.clock());
        let consumer =
            Consumer::new(Part::Notification, GROUP, TOPIC, db, Arc::clone(&log), handler, clock);
        tokio::spawn(consumer.task().run(stop.clone()));
        let (files, event_log) = ([world.file(1), world.file(3)], world.log.clone());
        let sending = tokio::spawn(world.sender.task().run(stop.clone()));
        log.publish(TOPIC, records).await.unwrap();

        while !files.iter().all(|file| file.exists()) {
            tokio::task::yield_now().await;
        }
        let letter = first_letter(&event_log).await;
        assert_eq!((letter.key.clone(), letter.payload.clone()), (poison.key, poison.payload));
        assert_eq!(letter.header("error"), Some("the event is not a PatientEvent"));
        stop.cancel();
        sending.await.unwrap();
    }
}
