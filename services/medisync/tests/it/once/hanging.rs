//! A process that is asked to stop ends in its time, also when a disk of it hangs.

use std::{
    os::unix::fs::OpenOptionsExt as _,
    process::Command,
    sync::mpsc,
    time::{Duration, Instant},
};

use rustix::fs::OFlags;

use crate::test_mesh::{TestMesh, until};

/// Not waited for any longer, in case it never ends.
const FOR_EVER: Duration = Duration::from_secs(40);

#[tokio::test]
async fn a_process_whose_disk_hangs_ends_within_its_time() {
    let mut world = TestMesh::embedded_with(&[("MEDISYNC_DRAIN_SECONDS", "2")]).await;
    // Anyone who reads this key waits until somebody writes it.
    let hanging = world.data().join("keys/1999999999999-00000000.der");
    assert!(Command::new("mkfifo").arg(&hanging).status().unwrap().success());
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let open = || std::fs::OpenOptions::new().write(true).custom_flags(flags).open(&hanging);
    let mut writer = None;
    until("somebody reads the key", || {
        writer = open().ok();
        std::future::ready(writer.is_some())
    })
    .await;
    let (ended, waits) = mpsc::channel::<()>();
    let holding = std::thread::spawn(move || {
        let _ = waits.recv_timeout(FOR_EVER);
        drop(writer);
    });
    let began = Instant::now();
    world.terminate();
    assert!(world.ended().success());
    assert!(began.elapsed() < FOR_EVER / 2, "it took {:?}", began.elapsed());
    drop(ended);
    holding.join().unwrap();
}
