//! PostgreSQL, started and hurt.

use std::{
    net::TcpStream,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use testbed::{
    Postgres, Version,
    postgres::Stop::{Fast, Immediate},
};

#[test]
fn two_major_versions_answer_over_tls_and_keep_what_is_committed() {
    let versions: Vec<u32> = [Version::Oldest, Version::Newest]
        .map(|version| {
            let server = Postgres::start(version).unwrap();
            eprintln!("PostgreSQL {} started in {:?}", server.version(), server.took());
            let told = server.ask("show server_version_num").unwrap();
            assert_eq!(told.parse::<u32>().unwrap() / 10_000, server.version());
            assert_eq!(server.ask("show fsync").unwrap(), "on");
            server.ask("create table t (a int)").unwrap();
            let again: [fn(&Postgres) -> std::io::Result<()>; 3] =
                [Postgres::kill, |it| it.stop(Fast), |it| it.stop(Immediate)];
            for (n, end) in again.into_iter().enumerate() {
                server.ask(&format!("insert into t values ({n})")).unwrap();
                end(&server).unwrap();
                assert!(TcpStream::connect(("127.0.0.1", server.port())).is_err());
                let begun = Instant::now();
                server.start_again().unwrap();
                eprintln!("and again in {:?}", begun.elapsed());
                let sum = server.ask("select count(*) from t").unwrap();
                assert_eq!(sum, (n + 1).to_string());
            }
            server.version()
        })
        .into();
    assert!(versions[0] < versions[1], "{versions:?}");
}

#[test]
fn a_server_stands_still_and_goes_on() {
    let server = Postgres::start(Version::Newest).unwrap();
    server.pause().unwrap();
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| server.ask("select 1").unwrap());
        // The system accepts the connection; nobody answers.
        TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        assert!(!asked.is_finished());
        server.resume().unwrap();
        assert_eq!(asked.join().unwrap(), "1");
    });
}

#[test]
fn nothing_is_left_of_a_server_that_was_dropped() {
    let server = Postgres::start(Version::Newest).unwrap();
    let (folder, port) = (server.ca_pem().parent().map(Path::to_owned).unwrap(), server.port());
    drop(server);
    assert!(!folder.exists());
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[test]
fn a_server_and_its_folder_do_not_outlive_a_process_that_is_killed() {
    const MARK: &str = "TESTBED_TEST_IS_THE_VICTIM";
    if std::env::var_os(MARK).is_some() {
        let server = Postgres::start(Version::Newest).unwrap();
        println!("\nUP {} {}", server.port(), server.ca_pem().display());
        std::thread::park();
    }
    let mut victim = std::process::Command::new(std::env::current_exe().unwrap());
    let name = "a_server_and_its_folder_do_not_outlive_a_process_that_is_killed";
    victim.args(["--exact", name, "--nocapture"]).env(MARK, "yes");
    let mut victim = victim.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let lines = std::io::BufRead::lines(std::io::BufReader::new(victim.stdout.take().unwrap()));
    let up = lines.map(Result::unwrap).find(|line| line.starts_with("UP ")).unwrap();
    let (port, ca) = up.strip_prefix("UP ").unwrap().split_once(' ').unwrap();
    let (port, ca): (u16, PathBuf) = (port.parse().unwrap(), ca.into());
    assert!(ca.exists() && TcpStream::connect(("127.0.0.1", port)).is_ok());
    victim.kill().unwrap();
    victim.wait().unwrap();
    let begun = Instant::now();
    while ca.parent().unwrap().exists() || TcpStream::connect(("127.0.0.1", port)).is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it is still there");
        std::thread::yield_now();
    }
}
