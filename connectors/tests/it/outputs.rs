use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use connectors::{KafkaOptions, OpenError, OutputClaim, RejectLog, Sink, SinkError, Uri, continue_sink, open_sink};
use schema::{Change, ListKey, Position, Reason, Recommended, Rejected};

fn change(at: u64) -> Change {
    Change {
        key: ListKey::User("u\"1".into()),
        at,
        items: vec![Recommended { item: "品".into(), score: -3, why: Vec::new() }],
        entered: vec!["品".into()],
        left: vec![],
    }
}

fn uri(path: &Path) -> Uri {
    path.to_str().unwrap().parse().unwrap()
}

fn open(path: &Path) -> Box<dyn Sink> {
    open_sink(&uri(path), &KafkaOptions::default()).unwrap()
}

/// Decompressed contents of a file, complete or not.
fn decompressed(path: &Path) -> String {
    let file = fs::File::open(path).unwrap();
    let mut reader: Box<dyn Read> = match path.extension().unwrap().to_str().unwrap() {
        "gz" => Box::new(flate2::read::MultiGzDecoder::new(file)),
        "zst" => Box::new(zstd::Decoder::new(file).unwrap()),
        _ => Box::new(file),
    };
    let mut bytes = Vec::new();
    let mut piece = [0; 100];
    while let Ok(length @ 1..) = reader.read(&mut piece) {
        bytes.extend_from_slice(&piece[..length]);
    }
    String::from_utf8(bytes).unwrap()
}

const LINE: &str =
    "{\"user\":\"u\\\"1\",\"at\":7,\"items\":[{\"item\":\"品\",\"score\":-3}],\"entered\":[\"品\"],\"left\":[]}\n";

#[test]
fn changes_are_visible_after_a_flush_and_the_file_is_complete_after_close() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["out.jsonl", "out.jsonl.gz", "out.jsonl.zst"] {
        let path = folder.path().join(name);
        fs::write(&path, "earlier contents, longer than the new ones".repeat(10)).unwrap();
        let mut sink = open(&path);
        assert_eq!(sink.name(), path.to_str().unwrap());
        assert_eq!(sink.acknowledged(), None);
        sink.write(&change(7)).unwrap();
        let old = fs::read_to_string(&path).unwrap();
        assert!(old.starts_with("earlier contents"), "{name}: buffered, and the old file is there");
        sink.flush(7).unwrap();
        assert_eq!(sink.acknowledged(), Some(7));
        assert_eq!(decompressed(&path), LINE, "{name}");
        let size = fs::metadata(&path).unwrap().len();
        sink.flush(9).unwrap();
        assert_eq!((sink.acknowledged(), fs::metadata(&path).unwrap().len()), (Some(9), size), "nothing new, no bytes");
        sink.write(&change(7)).unwrap();
        sink.close().unwrap();
        sink.close().unwrap();
        let mut whole = String::new();
        let file = fs::File::open(&path).unwrap();
        // The whole file, with its checksums.
        match name {
            "out.jsonl.gz" => flate2::read::GzDecoder::new(file).read_to_string(&mut whole).map(drop).unwrap(),
            "out.jsonl.zst" => whole = String::from_utf8(zstd::decode_all(file).unwrap()).unwrap(),
            _ => whole = fs::read_to_string(&path).unwrap(),
        }
        assert_eq!(whole, LINE.repeat(2), "{name}");
    }
}

#[test]
fn an_output_that_cannot_be_created_is_a_failure_with_advice() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing/out.jsonl");
    let error = open_sink::<Change>(&uri(&path), &KafkaOptions::default()).err().unwrap();
    assert!(!error.is_usage());
    assert!(matches!(&error, OpenError::Sink(error) if !error.closed));
    let text = error.to_string();
    assert!(text.contains(path.to_str().unwrap()) && text.contains("create the folder first"), "{text}");
}

/// A link in `folder` to a device or a pipe.
#[cfg(target_os = "linux")]
fn link(folder: &Path, name: &str, target: impl AsRef<Path>) -> PathBuf {
    let path = folder.join(name);
    std::os::unix::fs::symlink(target, &path).unwrap();
    path
}

/// Writes until it fails.
#[cfg(target_os = "linux")]
fn exhaust(sink: &mut dyn Sink) -> SinkError {
    for at in 0..100_000 {
        if let Err(error) = sink.write(&change(at)).and_then(|()| sink.flush(at)) {
            return error;
        }
    }
    panic!("never failed");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_a_failure_with_advice() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["full.jsonl", "full.jsonl.gz", "full.jsonl.zst"] {
        let mut sink = open(&link(folder.path(), name, "/dev/full"));
        let error = exhaust(sink.as_mut());
        assert!(!error.closed);
        assert_eq!(sink.acknowledged(), None);
        let text = error.to_string();
        assert!(text.contains(name) && text.contains("free some space"), "{text}");
        assert!(sink.close().is_err(), "{name}: lost records must not be reported as written");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_closed_pipe_is_distinguished_from_a_failure() {
    use std::os::fd::AsRawFd;
    let folder = tempfile::tempdir().unwrap();
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b">").unwrap();
    let target = format!("/proc/self/fd/{}", writer.as_raw_fd());
    let mut sink = open(&link(folder.path(), "pipe.jsonl", target));
    drop(writer);
    sink.write(&change(7)).unwrap();
    sink.flush(7).unwrap();
    let mut seen = vec![0; 1 + LINE.len()];
    reader.read_exact(&mut seen).unwrap();
    assert_eq!(String::from_utf8(seen).unwrap(), format!(">{LINE}"));
    drop(reader);
    assert!(exhaust(sink.as_mut()).closed);
}

fn rejected(reason: Reason, line: u64) -> Rejected {
    Rejected {
        reason,
        source: "in.csv".into(),
        position: Position::Line { line, byte: 9 },
        record: "a,\"b".into(),
        original: None,
    }
}

fn reject_log(path: &Path) -> RejectLog {
    RejectLog::to(OutputClaim::new(&uri(path), &KafkaOptions::default()).unwrap(), false).unwrap()
}

#[test]
fn counts_rejected_records_by_reason_and_writes_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.jsonl.gz");
    let mut log = reject_log(&path);
    log.record(&rejected(Reason::NotUtf8, 2)).unwrap();
    log.record(&rejected(Reason::Missing { field: "user".into() }, 3)).unwrap();
    log.record(&rejected(Reason::NotUtf8, 4)).unwrap();
    let counts: Vec<(&str, u64)> = log.counts().iter().map(|(code, count)| (code.as_str(), *count)).collect();
    assert_eq!(counts, [("missing:user", 1), ("not_utf8", 2)]);
    assert_eq!(log.total(), 3);
    log.flush().unwrap();
    let text = decompressed(&path);
    assert_eq!(text.lines().count(), 3);
    assert_eq!(
        text.lines().next().unwrap(),
        r#"{"reason":"not_utf8","detail":"not valid UTF-8","source":"in.csv","line":2,"offset":9,"record":"a,\"b"}"#
    );
    log.close().unwrap();
}

#[test]
fn counts_rejected_records_without_an_output() {
    let mut log = RejectLog::default();
    log.record(&rejected(Reason::BadDwell, 2)).unwrap();
    log.flush().unwrap();
    log.close().unwrap();
    assert_eq!((log.total(), log.counts().len()), (1, 1));
}

#[cfg(target_os = "linux")]
#[test]
fn counts_rejected_records_when_their_output_fails() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = reject_log(&link(folder.path(), "bad.jsonl", "/dev/full"));
    log.record(&rejected(Reason::NotUtf8, 2)).unwrap();
    assert!(log.flush().unwrap_err().to_string().contains("free some space"));
    assert_eq!(log.total(), 1);
}

const NAMES: [&str; 3] = ["out.jsonl", "out.jsonl.gz", "out.jsonl.zst"];

#[test]
fn a_file_keeps_its_contents_until_the_first_record_or_the_close() {
    let folder = tempfile::tempdir().unwrap();
    for name in NAMES {
        let path = folder.path().join(name);
        let old = "not a list, and not packed either\n";
        let kept = || fs::read_to_string(&path).is_ok_and(|text| text == old);
        fs::write(&path, old).unwrap();
        drop(OutputClaim::new(&uri(&path), &KafkaOptions::default()).unwrap());
        assert!(kept(), "{name}: claimed");
        drop(open(&path));
        assert!(kept(), "{name}: opened and dropped");
        let mut sink = open(&path);
        sink.flush(7).unwrap();
        sink.maintain().unwrap();
        sink.release().unwrap();
        drop(sink);
        assert!(kept(), "{name}: released without a record");
        let mut sink = open(&path);
        sink.close().unwrap();
        drop(sink);
        assert_eq!(decompressed(&path), "", "{name}: closed without a record");
        fs::write(&path, old).unwrap();
        let mut sink = open(&path);
        sink.write(&change(7)).unwrap();
        sink.release().unwrap();
        assert_eq!(decompressed(&path), LINE, "{name}: a record");
    }
}

#[test]
fn a_file_has_one_writer() {
    let folder = tempfile::tempdir().unwrap();
    for name in NAMES {
        let path = folder.path().join(name);
        let mut sink = open(&path);
        sink.write(&change(7)).unwrap();
        sink.flush(7).unwrap();
        let refused = || match OutputClaim::new(&uri(&path), &KafkaOptions::default()) {
            Ok(_) => panic!("{name}: two writers"),
            Err(error) => error.to_string(),
        };
        assert!(refused().contains("another run"), "{}", refused());
        drop(sink);
        // A compressed file is replaced by another, which is locked as well.
        let (mut sink, state) = continue_sink(&uri(&path), &KafkaOptions::default()).unwrap();
        assert_eq!(state.lists.len(), 1);
        assert!(refused().contains("another run"), "{}", refused());
        sink.close().unwrap();
        drop(sink);
        assert_eq!(decompressed(&path), LINE);
        open(&path);
    }
}

#[test]
fn links_are_followed_and_nothing_is_written_through_a_predictable_name() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = tempfile::tempdir().unwrap();
    let (target, path) = (folder.path().join("target.jsonl.gz"), folder.path().join("link.jsonl.gz"));
    symlink(&target, &path).unwrap();
    let mut sink = open(&path);
    sink.write(&change(7)).unwrap();
    sink.close().unwrap();
    drop(sink);
    fs::set_permissions(&target, fs::Permissions::from_mode(0o640)).unwrap();
    let precious = folder.path().join("precious");
    fs::write(&precious, "precious").unwrap();
    symlink(&precious, folder.path().join("target.jsonl.gz.continued")).unwrap();
    let (mut sink, _) = continue_sink(&uri(&path), &KafkaOptions::default()).unwrap();
    sink.write(&change(7)).unwrap();
    sink.close().unwrap();
    assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
    assert!(path.is_symlink() && !target.is_symlink());
    assert_eq!(decompressed(&target), LINE.repeat(2));
    assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o640);
    assert!(!folder.path().join("target.jsonl.gz.continued").is_symlink());
}
