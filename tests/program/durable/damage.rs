//! Damaged snapshots: changed bytes of every kind, truncated and missing files. The file is named, the snapshot before is
//! used, and the output is right in each case. Without a sound one the run is refused.

use std::path::PathBuf;

use super::*;

/// A run that ended after two thirds of its input, and the output of the whole input.
struct Shop {
    dir: TestDir,
    expected: String,
    output: String,
    /// Newest manifest.
    manifest: PathBuf,
    /// Files that only the newest snapshot has, the largest first.
    groups: Vec<PathBuf>,
}

fn shop() -> Shop {
    let dir = TestDir::new();
    let events = log(&dir, 1_200, 21);
    dir.write("in.jsonl", lines(&events));
    dir.begin(&at_every_tick(single_snapshot_arguments("expected.jsonl", None, 1))).finish().assert_success();
    for part in [500, 800] {
        dir.write("in.jsonl", lines(&events[..part]));
        dir.begin(&at_every_tick(single_snapshot_arguments("out.jsonl", Some("state"), 1))).finish().assert_success();
    }
    dir.write("in.jsonl", lines(&events));
    fs::rename(dir.path("state"), dir.path("state-then")).unwrap();
    let [newest, before] = [0, 1].map(|at| listed(&dir, "state-then")[at].0);
    let of = |sequence: u64| {
        let begins = format!("{sequence:010}-");
        let mut files: Vec<PathBuf> =
            fs::read_dir(dir.path("state-then/groups")).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|file| file.file_name().unwrap().to_str().unwrap().starts_with(&begins));
        files.sort_by_key(|file| std::cmp::Reverse(fs::metadata(file).unwrap().len()));
        files
    };
    assert!(!of(newest).is_empty() && !of(before).is_empty());
    Shop {
        expected: dir.read("expected.jsonl"),
        output: dir.read("out.jsonl"),
        manifest: dir.path(&format!("state-then/manifests/{newest:010}.json")),
        groups: of(newest),
        dir,
    }
}

impl Shop {
    /// Resumes with some files changed, and returns stderr.
    fn resume(&self, what: &str, harm: impl FnOnce(&Shop, &dyn Fn(&Path) -> PathBuf)) -> String {
        let dir = &self.dir;
        if dir.path("state").exists() {
            fs::remove_dir_all(dir.path("state")).unwrap();
        }
        copy(&dir.path("state-then"), &dir.path("state"));
        dir.write("out.jsonl", &self.output);
        let then = dir.path("state-then");
        harm(self, &|file| dir.path("state").join(file.strip_prefix(&then).unwrap()));
        let done = dir
            .begin(&at_every_tick(single_snapshot_arguments("out.jsonl", Some("state"), 1)))
            .finish()
            .assert_success();
        assert!(!done.stderr.contains("panicked"), "{what}: {}", done.stderr);
        assert_same_stream(what, &dir.read("out.jsonl"), &self.expected);
        done.stderr
    }
}

/// Offsets in a file, each of another kind of byte.
fn offsets(bytes: &[u8], marks: &[&str]) -> Vec<(String, usize)> {
    let mut offsets = Vec::new();
    for mark in marks {
        let at = bytes.windows(mark.len()).position(|window| window == mark.as_bytes());
        let at = at.unwrap_or_else(|| panic!("no {mark} in the file"));
        // The mark itself, and the value after it.
        offsets.push((format!("the key {mark}"), at));
        offsets.push((format!("the value of {mark}"), at + mark.len() + 5));
    }
    offsets
}

#[test]
fn detects_a_changed_byte_anywhere_in_a_snapshot() {
    let shop = shop();
    let name = |file: &Path| file.file_name().unwrap().to_str().unwrap().to_owned();
    let untouched = shop.resume("untouched", |_, _| {});
    assert!(!untouched.contains("is not used"), "{untouched}");

    let manifest = fs::read(&shop.manifest).unwrap();
    let keys = ["\"xxh3\"", "version", "sequence", "\"time\"", "meaning", "\"position\"", "\"file\"", "\"rows\""];
    let mut flips: Vec<(PathBuf, String, usize)> = Vec::new();
    for (what, at) in offsets(&manifest, &keys) {
        flips.push((shop.manifest.clone(), what, at));
    }
    let group = &shop.groups[0];
    let bytes = fs::read(group).unwrap();
    let len = bytes.len();
    for (what, at) in [
        ("the magic", 0),
        ("the first page", 6),
        ("the data", len / 3),
        ("the metadata", len - 40),
        ("the length of the metadata", len - 7),
        ("the magic at the end", len - 1),
    ] {
        flips.push((group.clone(), what.into(), at));
    }
    flips.extend(offsets(&bytes, &["deltarec.xxh3"]).into_iter().map(|(what, at)| (group.clone(), what, at)));

    for (file, what, at) in flips {
        let what = format!("{}: {what}", name(&file));
        let stderr = shop.resume(&what, |_, here| {
            let mut bytes = fs::read(&file).unwrap();
            bytes[at] ^= 1;
            fs::write(here(&file), bytes).unwrap();
        });
        assert!(
            stderr.contains("is not used") && stderr.contains(&name(&file)),
            "{what}: it is not named in\n{stderr}"
        );
        assert!(stderr.contains("resuming from snapshot"), "{what}: the one before is not used:\n{stderr}");
    }
}

type Harm = fn(&Path);

#[test]
fn detects_truncated_extended_and_missing_files() {
    let shop = shop();
    let harms: [(&str, Harm); 4] = [
        ("lost", |file| fs::remove_file(file).unwrap()),
        ("empty", |file| fs::write(file, "").unwrap()),
        ("cut off", |file| fs::write(file, &fs::read(file).unwrap()[..30]).unwrap()),
        ("longer", |file| fs::write(file, [fs::read(file).unwrap(), b"}".to_vec()].concat()).unwrap()),
    ];
    for (what, harm) in harms {
        let stderr = shop.resume(what, |shop, here| harm(&here(&shop.groups[0])));
        assert!(stderr.contains("is not used") && stderr.contains("resuming from snapshot"), "{what}: {stderr}");
        let stderr = shop.resume(what, |shop, here| harm(&here(&shop.manifest)));
        let named = if what == "lost" { "the manifest of the newest snapshot is gone" } else { "is not used" };
        assert!(stderr.contains(named), "{what}: {stderr}");
    }
}

#[test]
fn uses_an_earlier_snapshot_whatever_is_in_place_of_the_newest_manifest() {
    let shop = shop();
    let place = |harm: Harm, file: PathBuf| {
        fs::remove_file(&file).unwrap();
        harm(&file);
    };
    let harms: [(&str, Harm); 3] = [
        ("a folder", |file| fs::create_dir(file).unwrap()),
        ("a link that leads nowhere", |file| std::os::unix::fs::symlink("nowhere", file).unwrap()),
        ("a pipe", |file| assert!(std::process::Command::new("mkfifo").arg(file).status().unwrap().success())),
    ];
    for (what, harm) in harms {
        let stderr = shop.resume(what, |shop, here| place(harm, here(&shop.manifest)));
        assert!(stderr.contains("is not used") && stderr.contains(what), "{what}: {stderr}");
        assert!(stderr.contains("resuming from snapshot"), "{what}: {stderr}");
        // The next snapshot has a number of its own.
        let snapshots = listed(&shop.dir, "state");
        assert_eq!(snapshots[0].1, "whole", "{what}: {snapshots:?}");
    }
    let stderr = shop.resume("a large number", |shop, here| {
        let folder = here(&shop.manifest).parent().unwrap().to_owned();
        fs::copy(here(&shop.manifest), folder.join("18446744073709551615.json")).unwrap();
    });
    assert!(stderr.contains("18446744073709551615.json") && stderr.contains("resuming from snapshot"), "{stderr}");
}

/// Whether the manifests are damaged, empty or gone: a state that had snapshots does not start anew without a word.
#[test]
fn is_refused_when_no_snapshot_can_be_used_and_rereads_the_inputs_when_told() {
    let shop = shop();
    let dir = &shop.dir;
    let harms: [(&str, Harm); 4] = [
        ("damaged", |folder| each_manifest(folder, |file| fs::write(file, "{}").unwrap())),
        ("empty", |folder| each_manifest(folder, |file| fs::write(file, "").unwrap())),
        ("deleted", |folder| each_manifest(folder, |file| fs::remove_file(file).unwrap())),
        ("deleted, without the lock", |folder| {
            each_manifest(folder, |file| fs::remove_file(file).unwrap());
            fs::remove_file(folder.join("lock")).unwrap();
        }),
    ];
    let expected: Vec<_> = last_lists(&shop.expected);
    for (what, harm) in harms {
        fs::remove_dir_all(dir.path("state")).unwrap_or_default();
        copy(&dir.path("state-then"), &dir.path("state"));
        dir.write("out.jsonl", &shop.output);
        harm(&dir.path("state"));
        let arguments = single_snapshot_arguments("out.jsonl", Some("state"), 1);
        for _ in 0..2 {
            let refused = dir.begin(&arguments).finish().assert_failure(2, &["none can be used", "--rebuild"]);
            assert!(!refused.stderr.contains("panicked"), "{what}: {}", refused.stderr);
            assert_eq!(dir.read("out.jsonl"), shop.output, "{what}: a refused run writes nothing");
        }
        let rebuild: Vec<String> = arguments.iter().cloned().chain(["--rebuild".into()]).collect();
        let done = dir.begin(&rebuild).finish().assert_success();
        assert!(done.stderr.contains("rereading the inputs"), "{what}: {}", done.stderr);
        assert_eq!(last_lists(&dir.read("out.jsonl")), expected, "{what}");
        // From then on the state is as any other.
        let done = dir.begin(&arguments).finish().assert_success();
        assert!(done.stderr.contains("resuming from snapshot"), "{what}: {}", done.stderr);
        assert!(!done.stderr.contains("is gone"), "{what}: {}", done.stderr);
    }
}

fn each_manifest(folder: &Path, harm: impl Fn(&Path)) {
    for entry in fs::read_dir(folder.join("manifests")).unwrap() {
        harm(&entry.unwrap().path());
    }
}

/// The last list of each user.
fn last_lists(output: &str) -> Vec<(String, String)> {
    let lists: std::collections::BTreeMap<String, String> = changes(output)
        .into_iter()
        .map(|change| (format!("{:?}", change.key), format!("{:?}", change.items)))
        .collect();
    lists.into_iter().filter(|(_, items)| items != "[]").collect()
}

/// A manifest with numbers that no run can have is damaged, also if its checksum is right.
#[test]
fn forged_numbers_in_a_manifest_are_damage() {
    let shop = shop();
    for (pointer, value) in [
        ("/time/ms", serde_json::json!(9_000_000_000_000_000_u64)),
        ("/time/ms", serde_json::json!(super::super::now() + 3_660 * 86_400_000)),
        ("/time/ms", serde_json::json!(-5)),
        ("/time/sequence", serde_json::json!(1 << 20)),
        ("/rows", serde_json::json!(u64::MAX)),
        ("/groups/0/bytes", serde_json::json!(u64::MAX)),
        ("/inputs/0/position/record/line", serde_json::json!(0)),
        ("/inputs/0/position/record/line", serde_json::json!(u64::MAX)),
        ("/inputs/0/position/record/offset", serde_json::json!(u64::MAX)),
        ("/inputs/0/position", serde_json::json!({"partitions": {"0": -5}})),
        ("/inputs/0/position", serde_json::json!({"nonsense": 1})),
    ] {
        let what = format!("{pointer} = {value}");
        let stderr = shop.resume(&what, |shop, here| forge(&here(&shop.manifest), pointer, value));
        assert!(stderr.contains("is not used") && stderr.contains("resuming from snapshot"), "{what}: {stderr}");
        assert!(stderr.contains(shop.manifest.file_name().unwrap().to_str().unwrap()), "{what}: {stderr}");
    }
}

/// Replaces a value in a manifest, and its checksum.
fn forge(file: &Path, pointer: &str, value: serde_json::Value) {
    let mut sealed: serde_json::Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    *sealed["manifest"].pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}")) = value;
    let text = sealed["manifest"].to_string();
    let checksum = xxhash_rust::xxh3::xxh3_64(text.as_bytes());
    fs::write(file, format!("{{\"xxh3\":\"{checksum:016x}\",\"manifest\":{text}}}\n")).unwrap();
}
