use std::fs;
use std::path::Path;

use connectors::{Compression, InputOptions, KafkaOptions, OpenError, Uri, open_lines, open_sink, open_source};
use schema::{Change, Event};

use crate::support::{COMPRESSIONS, compress, drain};

fn uri(path: &Path) -> Uri {
    path.to_str().unwrap().parse().unwrap()
}

#[test]
fn the_extensions_decide_how_a_file_is_read() {
    let folder = tempfile::tempdir().unwrap();
    for compression in COMPRESSIONS {
        let end = match compression {
            Compression::Plain => "",
            Compression::Gzip => ".gz",
            Compression::Zstd => ".zst",
        };
        for (name, text) in [
            ("a.jsonl", "{\"user\":\"u\",\"item\":\"i\",\"action\":\"pv\",\"ts\":1}\nx\n"),
            ("a.csv", "user,item,action,ts\nu,i,pv,1\nx\n"),
        ] {
            let path = folder.path().join(format!("{name}{end}"));
            fs::write(&path, compress(text.as_bytes(), compression)).unwrap();
            let mut source = open_source::<Event>(&uri(&path), &InputOptions::default()).unwrap();
            assert_eq!(source.name(), path.to_str().unwrap());
            let outcome = drain(source.as_mut());
            assert_eq!((outcome.users(), outcome.codes()), (vec!["u"], vec!["malformed".to_owned()]));
            assert_eq!(outcome.rejected[0].source, path.to_str().unwrap());
        }
    }
}

#[test]
fn an_input_that_cannot_be_opened_is_a_failure_with_advice() {
    let folder = tempfile::tempdir().unwrap();
    let is_folder = folder.path().join("folder.csv");
    fs::create_dir(&is_folder).unwrap();
    for (path, advice) in [(folder.path().join("none.jsonl.gz"), "check the path"), (is_folder, "name a file")] {
        let error = open_source::<Event>(&uri(&path), &InputOptions::default()).err().unwrap();
        assert!(!error.is_usage());
        let text = error.to_string();
        assert!(text.contains(path.to_str().unwrap()) && text.contains(advice), "{text}");
    }
}

#[test]
fn a_damaged_header_is_not_a_usage_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv.gz");
    fs::write(&path, &compress(b"user,item,action,ts\n", Compression::Gzip)[..12]).unwrap();
    let error = open_source::<Event>(&uri(&path), &InputOptions::default()).err().unwrap();
    assert!(!error.is_usage() && error.to_string().contains("truncated"), "{error}");
}

#[test]
fn an_unsupported_uri_is_a_usage_error_with_advice() {
    let usage = |error: OpenError| {
        assert!(error.is_usage());
        error.to_string()
    };
    let source =
        |uri: &str| usage(open_source::<Event>(&uri.parse().unwrap(), &InputOptions::default()).err().unwrap());
    let open = |uri: &str| open_sink::<Change>(&uri.parse().unwrap(), &KafkaOptions::default());
    let sink = |uri: &str| usage(open(uri).err().unwrap());
    assert!(source("generate:seed=1").starts_with("generate:seed=1: "));
    assert!(sink("generate:").contains("input only"));
    let lines = |uri: &str| usage(open_lines(&uri.parse().unwrap()).err().unwrap());
    assert!(lines("kafka://127.0.0.1:1/t").contains("PATH.jsonl"));
    assert!(sink("/nowhere/out.csv.gz").contains("outputs are JSON lines"));
}
