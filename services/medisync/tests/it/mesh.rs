//! The processes of a mesh, in a folder of its own: started, found by name, killed in the end, when
//! none of their files may name a person.

use std::{collections::HashMap, path::PathBuf};

use tempfile::TempDir;

use crate::{
    pii_scan,
    processes::{PARTS, Process},
    servers::Servers,
};

/// One process of the binary, or one for each part.
pub(crate) struct Mesh {
    pub(crate) processes: Vec<Process>,
    /// Addresses by name, as the `ready` lines told them.
    pub(crate) urls: HashMap<String, String>,
    pub(crate) folder: TempDir,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) servers: Option<Servers>,
}

// === impl Mesh ===

impl Mesh {
    pub(crate) fn idle(
        folder: TempDir,
        environment: Vec<(String, String)>,
        servers: Option<Servers>,
    ) -> Self {
        Self { processes: Vec::new(), urls: HashMap::new(), folder, environment, servers }
    }

    pub(crate) fn run_parts(&mut self) {
        self.run(&PARTS.map(|part| ["run", part]).each_ref().map(|args| &args[..]));
    }

    /// Starts these at the same time, each with an admin listener of its own, and waits until they
    /// are ready.
    pub(crate) fn run(&mut self, commands: &[&[&str]]) {
        let start = |args: &&[&str]| {
            Process::start(args, &self.data(), &self.environment, self.folder.path())
        };
        self.processes = commands.iter().map(start).collect();
        for process in &mut self.processes {
            for (name, url) in process.ready(self.folder.path()) {
                // The gateway's is the mesh's, as far as there is one.
                let name = match name.as_str() {
                    "admin" if process.name != "gateway" && process.name != "up" => {
                        format!("{} admin", process.name)
                    }
                    _ => name,
                };
                self.urls.insert(name, url);
            }
        }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn process(&mut self, part: &str) -> &mut Process {
        self.processes.iter_mut().find(|process| process.name == part).unwrap()
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        self.processes.iter_mut().for_each(Process::kill);
        let seen = pii_scan::seen_in_folder(self.folder.path());
        let named = format!("people are named:\n{}", seen.join("\n"));
        if std::thread::panicking() && !seen.is_empty() {
            eprintln!("{named}");
        } else {
            assert!(seen.is_empty(), "{named}");
        }
    }
}
