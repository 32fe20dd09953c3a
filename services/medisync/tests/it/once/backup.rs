//! A backup of a running mesh, and what is restored from it.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Output,
    sync::{Arc, Mutex},
};

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{
    background_load::Meanwhile,
    heavy,
    stacks::crash,
    test_mesh::{ADMIN, TestMesh, a_patient, medisync},
};

const WRITERS: usize = 4;

/// Patients whose registration was acknowledged, by id.
type Acknowledged = Arc<Mutex<BTreeMap<String, Value>>>;

async fn register_meanwhile(world: &TestMesh) -> (Acknowledged, Vec<Meanwhile>) {
    let acknowledged = Acknowledged::default();
    let admin = world.sign_in(ADMIN).await;
    let writer = |_| {
        let (admin, acknowledged) = (admin.clone(), Arc::clone(&acknowledged));
        Meanwhile::repeat(move || {
            let (admin, acknowledged) = (admin.clone(), Arc::clone(&acknowledged));
            async move {
                let answer = admin.post("/api/patients", &a_patient()).await;
                let patient = answer.expect(StatusCode::CREATED).json();
                let id = patient["id"].as_str().unwrap().to_owned();
                acknowledged.lock().unwrap().insert(id, patient);
            }
        })
    };
    let writers = (0..WRITERS).map(writer).collect();
    (acknowledged, writers)
}

fn restore(backup: &Path, data: &Path) -> Output {
    medisync().arg("restore").arg(backup).arg("--data-dir").arg(data).output().unwrap()
}

/// The one line that a refusal is.
#[track_caller]
fn refused(output: &Output) -> String {
    let told = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!((output.status.code(), told.lines().count()), (Some(1), 1), "{told}");
    told
}

#[tokio::test]
async fn a_backup_of_a_busy_mesh_is_a_mesh_with_all_that_was_acknowledged_before() {
    let _turn = heavy::turn().await;
    let world = TestMesh::embedded().await;
    let signed_in = world.anybody().log_in(ADMIN, "password123").await.json();
    let (acknowledged, writers) = register_meanwhile(&world).await;
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("backup");
    for round in 0..2 {
        for writer in &writers {
            writer.goes_on(5).await;
        }
        let before = acknowledged.lock().unwrap().clone();
        assert!(before.len() >= WRITERS * 5);
        let dir = backup.with_extension(round.to_string());
        let mut command = world.command_line(&["backup", dir.to_str().unwrap()]);
        let done = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        for writer in &writers {
            writer.goes_on(1).await;
        }
        let restored = tempfile::tempdir().unwrap();
        let done = restore(&dir, &restored.path().join("data"));
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let told = String::from_utf8(done.stdout).unwrap();
        assert!(told.contains("next: start the mesh"), "{told}");
        let other = TestMesh::embedded_on(restored);
        crash::check(&other, &before).await;
        // The keys are the same: who was signed in still is.
        let token = signed_in["token"].as_str().unwrap();
        other.anybody().with(token).get("/auth/me").await.expect(StatusCode::OK);
        let refresh = json!({"refreshToken": signed_in["refreshToken"]});
        other.anybody().post("/auth/refresh", &refresh).await.expect(StatusCode::OK);
        other.sign_in(ADMIN).await.register(&a_patient_elsewhere(round)).await;
    }
    for writer in writers {
        writer.ends_well().await;
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "and nothing unfinished");
}

/// One that the mesh that goes on has not registered, either.
fn a_patient_elsewhere(round: usize) -> Value {
    let mut patient = a_patient();
    patient["email"] = format!("elsewhere.{round}@example.com").into();
    patient
}

#[tokio::test]
async fn a_backup_is_for_its_owner_alone_and_one_that_is_damaged_is_refused() {
    let mut world = TestMesh::embedded().await;
    // There is no folder of messages before one is sent.
    world.drain_and_send().await;
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("backup");
    let dir = backup.to_str().unwrap();
    world.command(&["backup", dir], "");
    for (file, mode) in [("", 0o700), ("keys", 0o700), ("outbox", 0o700), ("patient.db", 0o600)] {
        let about = fs::metadata(backup.join(file)).unwrap();
        assert_eq!(about.permissions().mode() & 0o777, mode, "{file}");
    }
    let again = world.command_line(&["backup", dir]).output().unwrap();
    assert!(refused(&again).contains("is not empty"));
    let there = restore(&backup, &world.data());
    assert!(refused(&there).contains("is there already"));
    world.terminate();
    assert!(world.ended().success());

    let data = folder.path().join("data");
    let store = backup.join("patient.db");
    let whole = fs::read(&store).unwrap();
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    for damaged in [&flipped[..], &whole[1..]] {
        fs::write(&store, damaged).unwrap();
        assert!(refused(&restore(&backup, &data)).contains("patient.db is damaged"));
    }
    fs::write(&store, &whole).unwrap();
    let manifest = fs::read_to_string(backup.join("backup.json")).unwrap();
    for (is, becomes) in [("keys/", "keys/../../"), ("auth.db", "other.db"), ("}", "")] {
        fs::write(backup.join("backup.json"), manifest.replace(is, becomes)).unwrap();
        assert!(refused(&restore(&backup, &data)).contains("backup.json is damaged"), "{is}");
    }
    fs::remove_file(backup.join("backup.json")).unwrap();
    assert!(refused(&restore(&backup, &data)).contains("is no backup"));
    assert!(!data.exists(), "nothing was written");
    fs::write(backup.join("backup.json"), manifest).unwrap();
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join("auth.db-wal"), "left over").unwrap();
    assert!(refused(&restore(&backup, &data)).contains("auth.db-wal is there already"));
    fs::remove_file(data.join("auth.db-wal")).unwrap();
    assert!(restore(&backup, &data).status.success());
    assert_eq!(fs::read(data.join("patient.db")).unwrap(), whole);
}

#[test]
fn what_is_not_embedded_is_backed_up_by_its_own_means() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("backup");
    let table = [
        ("MEDISYNC_PATIENT__DATABASE", "postgres://u:hunter2@db/patient", "pg_dump"),
        ("MEDISYNC_EVENTS__LOG", "kafka://broker:9092", "Kafka"),
    ];
    for (name, value, means) in table {
        for verb in ["backup", "restore"] {
            let mut command = medisync();
            command.arg(verb).arg(&dir).env(name, value).arg("--data-dir").arg(folder.path());
            let told = refused(&command.output().unwrap());
            assert!(told.contains(means) && !told.contains("hunter2"), "{told}");
        }
    }
    let mut command = medisync();
    command.arg("backup").arg(&dir).arg("--data-dir").arg(folder.path());
    assert!(refused(&command.output().unwrap()).contains("there is no auth.db at"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
