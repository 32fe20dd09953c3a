//! The README's tour, line by line, as a newcomer pastes it.

use std::{fs, path::Path, process::Command};

use crate::world::World;

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

#[tokio::test]
async fn the_tour_gives_what_the_readme_shows() {
    let world = World::start().await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let blocks = tour(&readme);
    assert!(blocks.len() >= 6, "{} blocks", blocks.len());

    let mut script = String::from("set -eu\ncd \"$FOLDER\"\n");
    for (number, (lines, _)) in blocks.iter().enumerate() {
        script.push_str(&format!("echo '--- {number}'\n{lines}\necho\n"));
    }
    let script = script.replace(PUBLIC, world.url("gateway"));
    let output = Command::new("bash")
        .args(["-c", &script])
        .env("FOLDER", world.folder.path())
        .output()
        .expect("bash is there");
    let printed = String::from_utf8(output.stdout).unwrap();
    let failed = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{printed}\n{failed}");

    let sections: Vec<_> = printed.split("--- ").skip(1).collect();
    for ((lines, shown), section) in blocks.iter().zip(sections) {
        let Some(shown) = shown else { continue };
        let (got, want) = (normal(section.split_once('\n').unwrap().1), normal(shown));
        assert_eq!(got, want, "after\n{lines}");
    }
}

/// Ids, times and tokens differ from one run to the next: the README writes `…` for them.
fn normal(text: &str) -> String {
    let mut normal = String::new();
    for word in text.split_inclusive(|c: char| "\",:{}[] \n/".contains(c)) {
        let (body, end) = word.split_at(word.len() - word.chars().last().map_or(0, char::len_utf8));
        let (body, end) = if word.ends_with(|c: char| "\",:{}[] \n/".contains(c)) {
            (body, end)
        } else {
            (word, "")
        };
        let digits = body.chars().filter(char::is_ascii_digit).count();
        let changing = body == "…" || digits >= 4 || body.len() > 40;
        normal.push_str(if changing { "…" } else { body });
        normal.push_str(end);
    }
    normal.split_whitespace().collect::<Vec<_>>().join(" ")
}
