//! The house rules, as a test of the repository itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// Lines of a file without its tests at most.
const FILE_LINES_MAX: usize = 400;
const COLUMNS_MAX: usize = 100;

/// One TLS stack (rustls) and one crypto library (ring): none of these may be in the binary.
const BANNED: [&str; 12] = [
    "openssl",
    "openssl-sys",
    "native-tls",
    "aws-lc-rs",
    "aws-lc-sys",
    "boring",
    "boring-sys",
    "s2n-tls",
    "mbedtls",
    "rsa",
    "p256",
    "ed25519-dalek",
];
/// Big crates, of which a second version would cost time, size and surprises.
const ONCE: [&str; 20] = [
    "axum",
    "axum-core",
    "bytes",
    "http",
    "http-body",
    "hyper",
    "hyper-util",
    "jsonwebtoken",
    "prost",
    "refinery-core",
    "ring",
    "rusqlite",
    "rustls",
    "serde",
    "serde_json",
    "tokio",
    "tokio-rustls",
    "tonic",
    "tower",
    "tracing",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() && name != "target" && name != "data" && name != ".git" {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

fn all_sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    sources(&root(), &mut found);
    let read = |path: PathBuf| {
        let name = path.strip_prefix(root()).unwrap().display().to_string();
        (name, fs::read_to_string(path).unwrap())
    };
    found.into_iter().map(read).collect()
}

#[test]
fn every_file_says_what_it_is_for_and_stays_short() {
    let mut wrong = Vec::new();
    for (name, text) in all_sources() {
        let own = text.split("\n#[cfg(test)]\nmod ").next().unwrap();
        let lines = own.lines().count();
        let tests = ["/tests/", "tests.rs", "conformance"];
        if lines > FILE_LINES_MAX && !tests.iter().any(|mark| name.contains(mark)) {
            wrong.push(format!("{name}: {lines} lines without its tests"));
        }
        if !text.starts_with("//!") {
            wrong.push(format!("{name}: does not begin with what it is for"));
        }
        for (number, line) in text.lines().enumerate() {
            if line.chars().count() > COLUMNS_MAX
                && !line.contains("http")
                && !line.contains("=> (\"")
            {
                wrong.push(format!("{name}:{}: more than {COLUMNS_MAX} columns", number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Words that a newcomer would have to learn, where the field has one of its own; and those that
/// make a sentence a riddle (`docs/GLOSSARY.md` has the terms).
const OLD_WORDS: [&str; 12] = [
    "so many",
    "whoever",
    "is told",
    "are told",
    "was told",
    "heard of",
    "spoken of",
    "audit trail",
    "toll",
    "room for a client",
    "look_up",
    "given up on",
];

/// What people read of a line: public documentation, or a text of the program itself. Other
/// comments are for those who work on that very line.
fn is_read_by_others(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("///") || line.starts_with("//!") || (line.contains('"') && !is_comment(line))
}

fn is_comment(line: &str) -> bool {
    line.starts_with("//")
}

#[test]
fn documentation_logs_and_help_use_the_terms_of_the_glossary() {
    let mut wrong = Vec::new();
    for (name, text) in all_sources() {
        if name.contains("/tests/") || name.ends_with("tests.rs") {
            continue;
        }
        let own = text.split("\n#[cfg(test)]\nmod ").next().unwrap();
        for (number, line) in own.lines().enumerate().filter(|(_, line)| is_read_by_others(line)) {
            let lower = line.to_lowercase();
            let mut found = OLD_WORDS.iter().filter(|word| {
                let words =
                    format!(" {} ", lower.replace(|c: char| !c.is_alphanumeric() && c != '_', " "));
                words.contains(&format!(" {word} "))
            });
            if let Some(word) = found.next() {
                wrong.push(format!("{name}:{}: {word}", number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_test_sleeps_and_none_is_passed_over() {
    let marks =
        [["thread", "::sleep("].concat(), ["#[ign", "ore"].concat(), ["tod", "o!("].concat()];
    let mut wrong = Vec::new();
    for (name, text) in all_sources() {
        let tests = name.contains("/tests/") || name.ends_with("tests.rs");
        let in_file = text.split_once("#[cfg(test)]").map_or("", |(_, tests)| tests);
        let tested = if tests { text.as_str() } else { in_file };
        wrong.extend(
            marks.iter().filter(|mark| tested.contains(*mark)).map(|m| format!("{name}: {m}")),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The packages that end up in the binary, by name, with their versions.
fn packages() -> BTreeMap<String, BTreeSet<String>> {
    // For this platform only: what others would need was not fetched.
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let args = ["metadata", "--format-version", "1", "--locked", "--offline"];
    let args = args.into_iter().chain(["--filter-platform", &platform]);
    let output = Command::new(env!("CARGO")).args(args).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let nodes: BTreeMap<&str, &Value> = metadata["resolve"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| (node["id"].as_str().unwrap(), node))
        .collect();
    let about: BTreeMap<&str, &Value> = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| (package["id"].as_str().unwrap(), package))
        .collect();
    let binary = about.iter().find(|(_, package)| package["name"] == "medisync").unwrap().0;
    let (mut seen, mut next) = (BTreeSet::from([*binary]), vec![*binary]);
    while let Some(id) = next.pop() {
        for dependency in nodes[id]["deps"].as_array().unwrap() {
            // Kind null is a normal dependency; tests and build scripts are not in the binary.
            let kinds = dependency["dep_kinds"].as_array().unwrap();
            let normal = kinds.iter().any(|kind| kind["kind"].is_null());
            let id = dependency["pkg"].as_str().unwrap();
            if normal && seen.insert(id) {
                next.push(id);
            }
        }
    }
    let mut packages: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for id in seen {
        let (name, version) = (&about[id]["name"], &about[id]["version"]);
        let versions = packages.entry(name.as_str().unwrap().to_owned()).or_default();
        versions.insert(version.as_str().unwrap().to_owned());
    }
    packages
}

#[test]
fn the_binary_has_one_tls_stack_one_crypto_library_and_big_crates_once() {
    let packages = packages();
    assert!(packages.len() > 100, "{} packages", packages.len());
    for banned in BANNED {
        assert!(!packages.contains_key(banned), "{banned}");
    }
    for once in ONCE {
        let versions = packages.get(once).unwrap_or_else(|| panic!("{once} is not there"));
        assert_eq!(versions.len(), 1, "{once}: {versions:?}");
    }
}

#[test]
fn deny_toml_says_what_this_test_checks() {
    let deny: toml::Table = fs::read_to_string(root().join("deny.toml")).unwrap().parse().unwrap();
    let names = |value: &toml::Value| -> BTreeSet<String> {
        let entries = value.as_array().unwrap().iter();
        entries.map(|entry| entry["crate"].as_str().unwrap().to_owned()).collect()
    };
    let bans = deny["bans"].as_table().unwrap();
    assert_eq!(names(&bans["deny"]), BANNED.map(str::to_owned).into());
    assert_eq!(bans["multiple-versions"].as_str(), Some("warn"));
}

#[test]
fn the_binary_needs_the_c_library_and_nothing_else() {
    let output = Command::new("ldd").arg(env!("CARGO_BIN_EXE_medisync")).output().unwrap();
    assert!(output.status.success());
    let listed = String::from_utf8(output.stdout).unwrap();
    for line in listed.lines() {
        let allowed = ["linux-vdso", "libc.so", "libm.so", "libgcc_s.so", "ld-linux"];
        assert!(allowed.iter().any(|name| line.contains(name)), "{line}");
    }
}

/// What each crate may know, in its own words: `medisync → gateway, services → kit →
/// shared-middleware`, and services meet only in `proto`.
/// A claim names its test as `module::test…`: as much of the test's name as tells which.
#[test]
fn every_test_that_the_security_policy_names_is_there() {
    let policy = fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let mut names: Vec<_> = policy
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|name| {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_:…".contains(c);
            name.contains("::") && name.chars().all(plain)
        })
        .map(|name| name.rsplit("::").next().unwrap().trim_end_matches('…'))
        .collect();
    names.dedup();
    assert!(names.len() > 20, "{names:?}");
    let sources = all_sources();
    for name in names {
        let there = |(_, text): &(String, String)| {
            text.contains(&format!("fn {name}"))
                || text.contains(&format!("mod {name};"))
                || text.contains(&format!("mod {name} "))
        };
        assert!(sources.iter().any(there), "SECURITY.md names {name}");
    }
}

#[test]
fn dependencies_point_one_way() {
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("proto", &[][..]),
        ("shared-middleware", &[]),
        ("services/testbed", &[]),
        ("loadtests/measure", &["testbed"]),
        // It knows what reads bytes of others.
        (
            "fuzz",
            &[
                "analytics",
                "gateway",
                "kit",
                "medisync",
                "notification",
                "patient",
                "shared-middleware",
            ],
        ),
        // They measure the binary from outside; a store of a million patients is made by patient.
        ("loadtests/stacks", &["kit", "measure", "patient", "proto", "testbed"]),
        ("loadtests/peers", &["measure", "shared-middleware"]),
        // Tests of stores start what they need.
        ("services/kit", &["shared-middleware", "testbed"]),
        ("services/auth", &["kit", "shared-middleware"]),
        ("services/patient", &["kit", "proto", "shared-middleware"]),
        ("services/billing", &["kit", "proto", "shared-middleware"]),
        ("services/analytics", &["kit", "proto", "shared-middleware"]),
        ("services/notification", &["kit", "proto", "shared-middleware"]),
        ("gateway", &["shared-middleware"]),
    ]);
    let crates = [
        "proto",
        "shared-middleware",
        "testbed",
        "kit",
        "auth",
        "patient",
        "billing",
        "analytics",
        "notification",
        "gateway",
        "medisync",
        "measure",
        "peers",
        "stacks",
    ];
    for (folder, may) in allowed {
        let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        for name in manifest["dependencies"].as_table().unwrap().keys() {
            let ours = crates.contains(&name.as_str());
            assert!(!ours || may.contains(&name.as_str()), "{folder} must not know {name}");
        }
    }
}
