//! Environment variables, the terminal, and numbers out of range.

use std::process::{Command, Stdio};

use super::{ProcessOutput, TestDir, two_shoppers};

/// Runs the program with these variables and an empty stdin.
fn with_variables(dir: &TestDir, variables: &[(&str, &str)], args: &str) -> ProcessOutput {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deltarec"));
    command.args(args.split_whitespace()).env_remove("RUST_LOG").envs(variables.iter().copied());
    dir.spawn(command).finish()
}

/// A shell, a unit file or a container template leaves out a value so.
#[test]
fn a_variable_that_is_set_to_nothing_is_not_set() {
    let dir = TestDir::new();
    dir.write("x.jsonl", two_shoppers(5) + "nonsense\n");
    for name in
        ["DELTAREC_HOSTS", "DELTAREC_PROCESS", "DELTAREC_SECRET_FILE", "DELTAREC_SECRET", "RUST_LOG", "NO_COLOR"]
    {
        let done = with_variables(&dir, &[(name, "")], "run --input x.jsonl").assert_success();
        assert!(done.stdout.contains("butter"), "{name}: {}", done.stdout);
        // An empty filter admits errors only.
        assert!(done.stderr.contains("WARN"), "{name}: {}", done.stderr);
    }
    with_variables(&dir, &[("DELTAREC_PROCESS", "1")], "run --input x.jsonl")
        .assert_failure(2, &["--process 1", "--hosts"]);
    let cluster = [("DELTAREC_HOSTS", "127.0.0.1:1,127.0.0.1:2"), ("DELTAREC_PROCESS", "0"), ("DELTAREC_SECRET", "")];
    with_variables(&dir, &cluster, "run").assert_failure(2, &["needs a secret", "openssl rand"]);
}

#[test]
fn a_filter_of_the_log_that_cannot_be_parsed_is_named() {
    let dir = TestDir::new();
    dir.write("x.jsonl", two_shoppers(5) + "nonsense\n");
    for (filter, part) in [
        ("info,deltarec=loud", "RUST_LOG: `deltarec=loud` is not a filter"),
        ("x=[", "RUST_LOG: `x=[` is not a filter"),
        ("info,,a=b=c", "RUST_LOG: `a=b=c` is not a filter"),
    ] {
        let done = with_variables(&dir, &[("RUST_LOG", filter)], "run --input x.jsonl").assert_success();
        done.assert_stderr(&[part, "LEVEL or TARGET=LEVEL", "malformed record"]);
    }
    let right = with_variables(&dir, &[("RUST_LOG", "error,deltarec=warn")], "run --input x.jsonl").assert_success();
    assert!(!right.stderr.contains("RUST_LOG"), "{}", right.stderr);
}

#[test]
fn numbers_out_of_range_name_the_range() {
    let dir = TestDir::new();
    dir.write("x.jsonl", two_shoppers(5));
    for (args, parts) in [
        ("run --workers -1", ["-1", "1..=1024"]),
        ("run --workers 0", ["0", "1..=1024"]),
        ("bench throughput --batch -5", ["-5", "1..=10000000"]),
        ("run --hosts a:1,b:1 --process -1", ["--process -1", "numbered from 0 to 1"]),
        ("run --hosts a:1,b:1 --process 5", ["--process 5", "numbered from 0 to 1"]),
        ("run --hosts a:1,b:65536 --process 0", ["b:65536", "a port is a number from 1 to 65535"]),
        ("run --hosts a:1,b:-1 --process 0", ["b:-1", "a port is a number from 1 to 65535"]),
        #[cfg(feature = "kafka")]
        ("run --input kafka://localhost:99999/t", ["localhost:99999", "from 1 to 65535"]),
        #[cfg(feature = "kafka")]
        ("run --input x.jsonl --output kafka://localhost:0/t", ["localhost:0", "from 1 to 65535"]),
        #[cfg(feature = "kafka")]
        ("run --input x.jsonl --rejects kafka://a:9092,b:65536/t", ["b:65536", "from 1 to 65535"]),
    ] {
        with_variables(&dir, &[], args).assert_failure(2, &parts);
    }
    #[cfg(feature = "cloud")]
    for (endpoint, part) in [
        ("http://127.0.0.1:99999", "write http://HOST:PORT"),
        ("127.0.0.1:9000", "write http://HOST:PORT"),
        ("http://127.0.0.1:9000", "AWS_ALLOW_HTTP=true"),
    ] {
        let settings = [("AWS_ENDPOINT", endpoint), ("AWS_REGION", "x"), ("AWS_ALLOW_HTTP", "")];
        with_variables(&dir, &settings, "snapshot list --state s3://bucket/x")
            .assert_failure(2, &["AWS_ENDPOINT", part]);
    }
}

/// What the program writes to a terminal.
fn on_a_terminal(dir: &TestDir, variables: &[(&str, &str)]) -> Option<String> {
    let run = format!(
        "{} run --input generate:events=300000 --input bad.jsonl --output out.jsonl",
        env!("CARGO_BIN_EXE_deltarec")
    );
    let mut command = Command::new("script");
    command.args(["-qec", &run, "/dev/null"]).current_dir(dir.0.path()).stdin(Stdio::null());
    command.env_remove("RUST_LOG").env_remove("NO_COLOR").env("TERM", "xterm").envs(variables.iter().copied());
    let Ok(done) = command.output() else {
        println!("not run: the test needs `script`");
        return None;
    };
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success() && text.contains("peak memory"), "{text}");
    Some(text)
}

#[test]
fn colors_and_cursor_codes_are_left_out_where_they_are_not_wanted() {
    let dir = TestDir::new();
    // Gives a log record.
    dir.write("bad.jsonl", "nonsense\n");
    let (color, cursor) = ("\x1b[3", "\x1b[K");
    for (variables, has_color, has_cursor) in [
        (&[][..], true, true),
        (&[("NO_COLOR", "1")], false, true),
        (&[("NO_COLOR", "")], true, true),
        (&[("TERM", "dumb")], false, false),
    ] {
        let Some(text) = on_a_terminal(&dir, variables) else { return };
        assert_eq!((text.contains(color), text.contains(cursor)), (has_color, has_cursor), "{variables:?}: {text:?}");
    }
}
