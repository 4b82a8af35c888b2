//! Settings and URIs of object stores: a mistake is named, and nothing panics.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::thread;

use super::{ProcessOutput, TestDir, two_shoppers};

/// Runs the program with these variables, and those of a store that works.
fn run_with(dir: &TestDir, variables: &[(&str, &str)], args: &[&str]) -> ProcessOutput {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deltarec"));
    command
        .args(args)
        .envs([("AWS_REGION", "us-east-1"), ("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "hunter2")])
        .envs(variables.iter().copied())
        .env_remove("RUST_LOG");
    let done = dir.spawn(command).finish();
    assert!(!done.stderr.contains("panicked") && !done.stderr.contains("hunter2"), "{variables:?}: {}", done.stderr);
    done
}

#[test]
fn wrong_settings_are_usage_errors_that_name_the_variable() {
    let dir = TestDir::new();
    let plain = [("AWS_ENDPOINT", "https://127.0.0.1:9"), ("AWS_ALLOW_HTTP", "true")];
    for (name, value, part) in [
        ("AWS_ENDPOINT", "minio:9000", "AWS_ENDPOINT: write http://HOST:PORT"),
        ("AWS_ENDPOINT", "127.0.0.1:9000", "AWS_ENDPOINT: write http://HOST:PORT"),
        ("AWS_ENDPOINT", "http://", "AWS_ENDPOINT: write http://HOST:PORT"),
        ("AWS_ENDPOINT_URL", "http://a b:9000", "AWS_ENDPOINT_URL: write http://HOST:PORT"),
        ("AWS_ACCESS_KEY_ID", "hunter2\nhunter2", "AWS_ACCESS_KEY_ID: it contains a line break"),
        ("AWS_SESSION_TOKEN", "hunter2\u{1}", "AWS_SESSION_TOKEN: it contains"),
        ("AWS_REGION", "eu west", "AWS_REGION: a region is letters"),
    ] {
        let variables: Vec<_> = plain.into_iter().filter(|(known, _)| *known != name).chain([(name, value)]).collect();
        run_with(&dir, &variables, &["snapshot", "list", "--state", "s3://bucket/x"]).assert_failure(2, &[part]);
    }
    run_with(&dir, &[("AWS_ENDPOINT", "http://127.0.0.1:9")], &["snapshot", "list", "--state", "s3://bucket/x"])
        .assert_failure(2, &["AWS_ENDPOINT: http:// is not encrypted", "AWS_ALLOW_HTTP=true"]);
}

/// Keys that are none are noticed when the client is made, before anything is sent.
#[test]
fn wrong_keys_of_all_stores_name_the_variable() {
    let dir = TestDir::new();
    let file = |name: &str, text: &str, mode: u32| {
        dir.write(name, text);
        std::fs::set_permissions(dir.path(name), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let key = r#"{"private_key":"hunter2","private_key_id":"x","client_email":"a@b","disable_oauth":false}"#;
    file("text.json", "hunter2", 0o600);
    file("open.json", key, 0o644);
    file("key.json", key, 0o600);
    let name = ("AZURE_STORAGE_ACCOUNT_NAME", "shop");
    let google = "the key of a service account in JSON";
    for (uri, variables, parts) in [
        ("gs://b/x", &[("GOOGLE_SERVICE_ACCOUNT_KEY", "hunter2")][..], ["GOOGLE_SERVICE_ACCOUNT_KEY: ", google]),
        ("gs://b/x", &[("GOOGLE_SERVICE_ACCOUNT_KEY", "\"hunter2\"")], ["GOOGLE_SERVICE_ACCOUNT_KEY: ", google]),
        ("gs://b/x", &[("GOOGLE_SERVICE_ACCOUNT_KEY", key)], ["GOOGLE_SERVICE_ACCOUNT_KEY: ", google]),
        ("gs://b/x", &[("GOOGLE_SERVICE_ACCOUNT", "nowhere.json")], ["GOOGLE_SERVICE_ACCOUNT: ", "No such file"]),
        ("gs://b/x", &[("GOOGLE_SERVICE_ACCOUNT", "text.json")], ["GOOGLE_SERVICE_ACCOUNT: ", google]),
        ("gs://b/x", &[("GOOGLE_SERVICE_ACCOUNT", "key.json")], ["GOOGLE_SERVICE_ACCOUNT: ", google]),
        ("gs://b/x", &[("GOOGLE_SERVICE_ACCOUNT", "open.json")], ["GOOGLE_SERVICE_ACCOUNT: ", "chmod 600 open.json"]),
        ("gs://b/x", &[("GOOGLE_APPLICATION_CREDENTIALS", "text.json")], ["GOOGLE_APPLICATION_CREDENTIALS: ", google]),
        ("az://c/x", &[("AZURE_STORAGE_ACCOUNT_KEY", "aHVudGVyMg==")], ["AZURE_STORAGE_ACCOUNT_NAME: ", "not set"]),
        ("az://c/x", &[name, ("AZURE_STORAGE_ACCOUNT_KEY", "hunter2!")], ["AZURE_STORAGE_ACCOUNT_KEY: ", "base64"]),
        ("az://c/x", &[name, ("AZURE_STORAGE_SAS_KEY", "hunter2")], ["AZURE_STORAGE_SAS_KEY: ", "NAME=VALUE"]),
        (
            "az://c/x",
            &[name, ("AZURE_FEDERATED_TOKEN_FILE", "open.json")],
            ["AZURE_FEDERATED_TOKEN_FILE: ", "mode 0644"],
        ),
        ("s3://b/x", &[("AWS_WEB_IDENTITY_TOKEN_FILE", "open.json")], ["AWS_WEB_IDENTITY_TOKEN_FILE: ", "mode 0644"]),
    ] {
        run_with(&dir, variables, &["snapshot", "list", "--state", uri]).assert_failure(2, &parts);
    }
    for (uri, part) in [
        ("gs://u:hunter2@bucket", "GOOGLE_SERVICE_ACCOUNT"),
        ("gs://bucket:9000/x", "GOOGLE_BASE_URL"),
        ("az://u:hunter2@container", "AZURE_STORAGE_ACCOUNT_KEY"),
    ] {
        let refused = run_with(&dir, &[name], &["snapshot", "list", "--state", uri]).assert_failure(2, &[part]);
        assert!(!refused.stderr.contains("AWS_"), "{}", refused.stderr);
    }
}

#[test]
fn every_part_of_a_uri_is_used_or_refused() {
    let dir = TestDir::new();
    for (uri, part) in [
        ("s3://bucket/x?y", "`?` and `#` have no meaning"),
        ("s3://bucket/x#y", "`?` and `#` have no meaning"),
        ("s3://bucket/x&sig=hunter2", "`&` looks like a part of a query"),
        ("s3://bucket/a/../x", "write the whole path"),
        ("s3://bucket/x\n", "a line break"),
        ("s3://bucket:9000/x", "AWS_ENDPOINT"),
        ("s3://id:hunter2@bucket/x", "AWS_ACCESS_KEY_ID"),
        ("s3://buc%20ket/x", "the name of a bucket"),
        ("s3:///x", "s3:///x"),
        ("gs://bucket/x?generation=3", "`?` and `#` have no meaning"),
        ("file:///tmp/x?y", "`?` and `#` have no meaning"),
    ] {
        run_with(&dir, &[], &["snapshot", "list", "--state", uri]).assert_failure(2, &[part, "name a folder"]);
    }
}

/// A store that is empty and says yes to everything: it has no conditional writes. Returns its port.
fn careless_store() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || drop(answer(stream.unwrap())));
        }
    });
    port
}

/// Answers the requests of one connection.
fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let head = loop {
            if let Some(at) = received.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            match stream.read(&mut buffer)? {
                0 => return Ok(()),
                length => received.extend_from_slice(&buffer[..length]),
            }
        };
        let text = String::from_utf8_lossy(&received[..head]).to_lowercase();
        let end = head + content_length(&text);
        while received.len() < end {
            match stream.read(&mut buffer)? {
                0 => return Ok(()),
                length => received.extend_from_slice(&buffer[..length]),
            }
        }
        let body = match text.split(' ').next() {
            Some("get") => "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>",
            Some("post") => "<DeleteResult></DeleteResult>",
            _ => "",
        };
        let length = body.len();
        write!(stream, "HTTP/1.1 200 OK\r\nETag: \"x\"\r\nContent-Length: {length}\r\n\r\n{body}")?;
        received.drain(..end);
    }
}

fn content_length(head: &str) -> usize {
    head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok()).unwrap_or(0)
}

#[test]
fn a_store_without_conditional_writes_is_refused_at_the_start() {
    let dir = TestDir::new();
    dir.write("in.jsonl", two_shoppers(1_763_900_000_000));
    dir.write("out.jsonl", "");
    let endpoint = format!("http://127.0.0.1:{}", careless_store());
    let variables = [("AWS_ENDPOINT", endpoint.as_str()), ("AWS_ALLOW_HTTP", "true")];
    let args = ["run", "--input", "in.jsonl", "--output", "out.jsonl", "--state", "s3://bucket/x"];
    run_with(&dir, &variables, &args).assert_failure(1, &["no conditional writes", "If-None-Match"]);
    assert_eq!(dir.read("out.jsonl"), "", "nothing was read or written");
    let off = [variables[0], variables[1], ("AWS_CONDITIONAL_PUT", "disabled")];
    run_with(&dir, &off, &args).assert_failure(1, &["no conditional writes", "switched off"]);
}
