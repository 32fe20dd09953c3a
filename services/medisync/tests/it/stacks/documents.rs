//! The README's tour, line by line, as a newcomer pastes it.

use std::{
    fs,
    io::{BufRead as _, BufReader, Lines, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use crate::test_mesh::TestMesh;

/// What the tour's lines are written for.
const PUBLIC: &str = "http://localhost:4004";

/// The tour's `sh` blocks, and after each the text that it should print, if the README shows one.
fn tour(readme: &str) -> Vec<(String, Option<String>)> {
    let (_, tour) = readme.split_once("## A two-minute tour").unwrap();
    let (tour, _) = tour.split_once("\n## ").unwrap();
    let mut blocks: Vec<(String, Option<String>)> = Vec::new();
    for block in tour.split("```").skip(1).step_by(2) {
        let (language, text) = block.split_once('\n').unwrap();
        match language {
            "sh" => blocks.push((text.to_owned(), None)),
            _ => blocks.last_mut().unwrap().1 = Some(text.to_owned()),
        }
    }
    blocks
}

/// A shell into which the tour is pasted, block by block.
struct Shell {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

/// What the shell prints after each block.
const END: &str = "--- end of block ---";

impl Shell {
    fn start(folder: &Path) -> Self {
        let mut child = Command::new("bash")
            .arg("-eu")
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash is there: `make test` installs it");
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, input, output }
    }

    /// Pastes a block; what it printed.
    fn paste(&mut self, block: &str) -> String {
        write!(self.input, "{block}\necho\necho '{END}'\n").unwrap();
        let mut printed = String::new();
        for line in self.output.by_ref().map(Result::unwrap) {
            if line == END {
                return printed;
            }
            printed.push_str(&line);
            printed.push('\n');
        }
        panic!("the shell ended within\n{block}\nafter\n{printed}");
    }
}

#[tokio::test]
async fn the_tour_gives_what_the_readme_shows() {
    let world = TestMesh::start().await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let blocks = tour(&readme);
    assert!(blocks.len() >= 6, "{} blocks", blocks.len());

    let mut shell = Shell::start(world.folder());
    for (lines, shown) in blocks {
        let printed = shell.paste(&lines.replace(PUBLIC, world.url("gateway")));
        if let Some(shown) = shown {
            assert_eq!(normal(&printed), normal(&shown), "after\n{lines}");
        }
        // A person is slower than the events; a test must wait for them.
        world.drain_and_send().await;
    }
    drop(shell.input);
    assert!(shell.child.wait().unwrap().success());
}

/// Ids, times and tokens differ from one run to the next: the README writes `…` for them, and
/// breaks lines where they are long.
fn normal(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let word = |word: &str| {
        let digits = word.chars().filter(char::is_ascii_digit).count();
        if digits >= 8 { "…".to_owned() } else { word.to_owned() }
    };
    text.split('"').map(word).collect::<Vec<_>>().join("\"")
}
