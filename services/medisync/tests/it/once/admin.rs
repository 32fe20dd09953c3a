//! What the admin listener of one process tells of that process.

use serde_json::Value;
use shared_middleware::clock::Clock;

use crate::test_mesh::TestMesh;

#[tokio::test(flavor = "multi_thread")]
async fn processor_time_is_told_in_fractions_of_a_second() {
    let world = TestMesh::embedded().await;
    let told = world.metrics().await;
    let value = |name: &str| -> f64 {
        let line = told.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
    };
    let used = value("process_cpu_seconds_total");
    assert!(used > 0.0 && used.fract() != 0.0, "{used}");
    for name in ["open_fds", "max_fds", "threads", "resident_memory_bytes", "virtual_memory_bytes"]
    {
        assert!(value(&format!("process_{name}")) > 0.0, "{name}");
    }
    let run_s = Clock::system().unix_s() as f64 - value("process_start_time_seconds");
    assert!((-1.0..600.0).contains(&run_s), "{run_s}");
    let mut status = world.command_line(&["status", "--output", "json"]);
    let status = status.arg(world.admins()["admin"]).output().unwrap();
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    let cores = status["processes"][0]["cpuCores"].as_f64().unwrap();
    assert!(cores > 0.0 && cores < 64.0, "{status}");
}
