//! Any bytes as a configuration: it is read, or its mistakes are named in a few short lines. `PROPTEST_CASES` lengthens
//! this test.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::super::public::is_public;
use super::*;

/// Reads bytes as a file, with a `--set`.
fn check(bytes: &[u8], set: &str) -> Result<(), TestCaseError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("my.toml");
    std::fs::write(&path, bytes).unwrap();
    if let Err(errors) = Config::load(Some(&path), &[set.to_owned()]) {
        let message = errors.to_string();
        prop_assert!(message.lines().count() <= 22, "{message}");
        prop_assert!(message.lines().all(|line| line.len() < 1_200), "{message}");
        prop_assert!(!message.contains("hunter2"), "{message}");
    }
    Ok(())
}

#[test]
fn fuzz_configuration() {
    // Stack and time must not grow with the depth or the number of the values.
    for (part, count) in [
        ("[", 50_000),
        ("a.", 50_000),
        ("a = {", 50_000),
        ("[a.", 50_000),
        ("x = [", 9_000),
        ("\"", 50_000),
        ("\n[a]", 9_000),
    ] {
        let text = part.repeat(count);
        check(text.as_bytes(), &text).unwrap();
        check(format!("{text}a = 1").as_bytes(), &format!("{text}a=1")).unwrap();
    }
    let defaults = DEFAULTS.clone();
    let name = prop_oneof!["graph\\.[a-z]{1,9}", "kafka\\.security\\.[a-z]{1,9}", "[a-z.\"]{0,12}", ".{0,20}"];
    let value = prop_oneof!["hunter2", "\"hunter2\"", "\"hunter2", "\\[\\[\"hunter2\"", "[0-9a-z]{0,6}"];
    proptest!(|(
        noise in vec(any::<u8>(), 0..200),
        edits in vec((any::<Index>(), any::<u8>()), 0..6),
        name in name,
        value in value,
    )| {
        check(&noise, "")?;
        let mut file = defaults.clone().into_bytes();
        for (at, byte) in edits {
            let at = at.index(file.len());
            file[at] = byte;
        }
        // The value of a key that is no secret is shown.
        prop_assume!(!name.starts_with("kafka.security.") || !is_public(&name));
        // A user who mistakes the section of a secret may get its name as the name of an action.
        prop_assume!(!["levels", "retractions", "graph", "input", "state", "trending"].contains(&name.trim()));
        let set = if name.starts_with("graph") { format!("{name}=3") } else { format!("{name}={value}") };
        check(&file, &set)?;
    });
}
