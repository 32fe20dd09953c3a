//! Whether what must be told nowhere is found where it is told.

use std::fs;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};

use crate::pii_scan::{Canaries, DEMO_LINE, seen_in_folder};

#[test]
fn a_value_is_found_in_every_form() {
    let canaries = Canaries::new(["Jane Roe-Ümlaut", "jane.roe@example.com"]);
    let seen = |told: &str| !canaries.seen_in("here", told.as_bytes()).is_empty();
    for told in ["x JANE ROE-ÜMLAUT y", "?q=jane%20roe-%C3%BCmlaut", "a=jane.roe%40example.com&"] {
        assert!(seen(told), "{told}");
    }
    for before in ["", "a", "ab", "abc"] {
        let told = format!("{before}jane.roe@example.com, or so");
        assert!(seen(&STANDARD_NO_PAD.encode(&told)) && seen(&URL_SAFE_NO_PAD.encode(&told)));
    }
    assert!(seen(&format!("{:?}", "<jane.roe@example.com>".as_bytes())));
    assert!(!seen("jane.doe@example.com, Jane"));
}

#[test]
fn what_a_story_printed_is_searched_but_for_the_line_about_demo_accounts() {
    let folder = tempfile::tempdir().unwrap();
    assert!(seen_in_folder(folder.path()).is_empty(), "nothing was printed");
    fs::write(folder.path().join("out"), format!("{DEMO_LINE}testuser@test.com\n")).unwrap();
    assert!(seen_in_folder(folder.path()).is_empty());
    fs::write(folder.path().join("log"), "signed in: testuser@test.com\n").unwrap();
    assert_eq!(seen_in_folder(folder.path()).len(), 1);
}
