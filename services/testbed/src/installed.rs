//! Where everything lies that `install.sh` installs, or the distribution brings.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

/// The versions that `install.sh` installs, too.
const VERSIONS: &str = include_str!("../versions.env");
const DISTRIBUTION: &str = "/usr/lib/postgresql";

/// A PostgreSQL that can be started.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) major: u32,
    pub(crate) bin: PathBuf,
}

/// Every PostgreSQL that is installed, oldest first.
pub(crate) fn postgres() -> Vec<Programs> {
    let portable = version("POSTGRES");
    let own = (portable, cache().join(format!("postgres-{portable}/bin")));
    let of_distribution = fs::read_dir(DISTRIBUTION).into_iter().flatten().flatten();
    let of_distribution: Vec<_> = of_distribution
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path().join("bin")))
        .collect();
    let all = of_distribution.iter().map(|(version, bin)| (version.as_str(), bin.clone()));
    let mut found: Vec<_> = all
        .chain([own])
        .filter(|(_, bin)| bin.join("postgres").exists())
        .filter_map(|(version, bin)| {
            let major = version.split('.').next()?.parse().ok()?;
            Some(Programs { major, bin })
        })
        .collect();
    found.sort_by_key(|programs| programs.major);
    found
}

/// The newest `psql`.
pub(crate) fn psql() -> io::Result<PathBuf> {
    let mut all = postgres().into_iter().rev().map(|programs| programs.bin.join("psql"));
    all.find(|psql| psql.exists()).ok_or_else(|| missing("psql"))
}

/// The folder of Kafka's jars, and its version.
pub(crate) fn kafka() -> io::Result<(PathBuf, &'static str)> {
    let version = version("KAFKA");
    let folder = cache().join(format!("kafka-{version}"));
    if folder.is_dir() { Ok((folder, version)) } else { Err(missing("Apache Kafka")) }
}

/// The `java` of `JAVA_HOME`, else of the path.
pub(crate) fn java() -> io::Result<PathBuf> {
    let home = env::var_os("JAVA_HOME").map(|home| Path::new(&home).join("bin"));
    let path = env::var_os("PATH").unwrap_or_default();
    let mut all = home.into_iter().chain(env::split_paths(&path)).map(|bin| bin.join("java"));
    all.find(|java| java.exists()).ok_or_else(|| missing("Java"))
}

/// What to do when something is not there.
pub(crate) fn missing(what: &str) -> io::Error {
    let message = format!("{what} is not installed: run `make test`, or once `make tools`");
    io::Error::new(io::ErrorKind::NotFound, message)
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The same as in `install.sh`, which says why.
fn cache() -> PathBuf {
    if is_root() {
        return "/var/cache/medisync-testbed".into();
    }
    let of_user = env::var_os("XDG_CACHE_HOME").filter(|folder| !folder.is_empty());
    let home = || Path::new(&env::var_os("HOME").unwrap_or_default()).join(".cache");
    of_user.map_or_else(home, PathBuf::from).join("medisync-testbed")
}

fn version(name: &str) -> &'static str {
    let value = |line: &'static str| line.strip_prefix(name)?.strip_prefix('=');
    VERSIONS.lines().find_map(value).expect("versions.env names every version")
}
