//! Everything that fuzzing started from, or has found, once more.

use std::{fs, path::Path};

#[test]
fn whatever_was_found_before_holds() {
    for (name, target) in fuzz::TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let inputs: Vec<_> = fs::read_dir(folder).unwrap().map(Result::unwrap).collect();
        assert!(inputs.len() >= 3, "the corpus of {name} is too small");
        for input in inputs {
            let bytes = fs::read(input.path()).unwrap();
            let held = std::panic::catch_unwind(|| target(&bytes));
            assert!(held.is_ok(), "{name}: {}", input.path().display());
        }
    }
}
