//! No message, log, report or file of the program shows a secret, wherever a user puts one by mistake.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{TestDir, two_shoppers};

const SECRET: &str = "hunter2";

/// Runs the program. Its output and stderr do not contain the secret.
#[track_caller]
fn assert_hidden(dir: &TestDir, args: &[&str]) -> String {
    let done = dir.start_with_log("trace", args).finish();
    for text in [&done.stdout, &done.stderr] {
        assert!(!text.contains(SECRET), "{args:?} shows the secret:\n{text}");
    }
    assert!(!done.stderr.contains("panicked"), "{}", done.stderr);
    assert!(matches!(done.code, Some(1 | 2)), "{args:?}: {}", done.stderr);
    done.stderr
}

#[test]
fn uris_with_passwords_are_refused_without_showing_them() {
    let dir = TestDir::new();
    dir.write("in.jsonl", two_shoppers(1_763_900_000_000));
    for uri in [
        "kafka://ann:hunter2@localhost:9/t",
        "kafka://ann:hunter2/x@localhost:9/t",
        "kafka://hunter2@localhost:9",
        "s3://AKIA:hunter2@bucket/x.jsonl",
        "http://ann:hunter2@host/x.jsonl",
        "az://container/x?sig=hunter2",
        // Typos.
        "kafka:ann:hunter2@localhost:9/t",
        "kafka:/ann:hunter2@localhost:9/t",
        "kafka://localhost:hunter2/t",
        "kafka://localhost:9,other:hunter2/t",
        "kafka://ann%3Ahunter2%40localhost:9/t",
        "s3://b/x&sig=hunter2",
        "s3:b/x?sig=hunter2",
        "gs://ann:hunter2@bucket",
    ] {
        for args in [
            &["run", "--input", uri, "--output", "out.jsonl"][..],
            &["run", "--input", "in.jsonl", "--output", uri],
            &["run", "--input", "in.jsonl", "--output", "out.jsonl", "--rejects", uri],
            &["run", "--input", "in.jsonl", "--output", "out.jsonl", "--state", uri],
            &["run", uri],
            &["snapshot", "list", "--state", uri],
            &["snapshot", "export", "--state", "in.jsonl", "--output", uri],
            &["evaluate", "--input", uri],
        ] {
            assert_hidden(&dir, args);
        }
    }
}

#[test]
fn a_password_in_the_configuration_is_never_shown() {
    let dir = TestDir::new();
    dir.write("in.jsonl", two_shoppers(1_763_900_000_000));
    let run = ["run", "--input", "in.jsonl", "--output", "out.jsonl"];
    for set in [
        "kafka.security.password=hunter2",
        "kafka.security.password=\"hunter2\"",
        "kafka.security.password=\"hunter2",
        "kafka.security.password:hunter2",
        "kafka.security.pasword=hunter2",
        "kafka.security=hunter2",
        "kafka=hunter2",
        "kafak.security.password=hunter2",
        "password=hunter2",
        "kafka.security.password hunter2",
        "kafka.security.password hunter2=",
        "hunter2",
        "hunter2=",
        "hunter2.x=1",
        "graph.hunter2=1",
        "kafka.options.hunter2=1",
        "kafka.options.socket.timeout.ms=hunter2",
        "kafka.options.\"sasl.jaas.config\"=[\"hunter2\"]",
        "kafka.options.\"sasl.password\"=hunter2",
        "kafka.options.\"ssl.key.pem\"=hunter2",
    ] {
        assert_hidden(&dir, &[&run[..], &["--set", set]].concat());
    }
    assert_hidden(&dir, &["evaluate", "--input", "in.jsonl", "--sweep", "kafka.security.password=hunter2,x"]);
    assert_hidden(&dir, &["evaluate", "--input", "in.jsonl", "--sweep", "kafka.security.password hunter2"]);
    assert_hidden(&dir, &["run", "kafka.security.password=hunter2"]);
    assert_hidden(&dir, &["run", "--password=hunter2"]);
    for hosts in ["a:hunter2@h:1,b", "a:hunter2,b:1", "a:1,ann:hunter2@b:1", "ann:hunter2@b:1", "a:hunter2"] {
        assert_hidden(&dir, &["run", "--hosts", hosts, "--process", "0"]);
    }
    assert_hidden(&dir, &["run", "--hosts", "a:1,b:1", "--process", "0", "--secret-file", "hunter2"]);
    for text in [
        "[kafka.security]\npassword = \"hunter2\"\n",
        "[kafka.security]\npassword = \"hunter2\n",
        "[kafka.security]\npassword = 'hunter2\n",
        "[kafka.security]\npassword = \"\"\"hunter2\n",
        "[kafka.security]\npassword = hunter2\n",
        "[kafka.security]\npassword: hunter2\n",
        "[kafka.security]\npassword \"hunter2\"\n",
        "[kafka.security]\npassword = \"\\hunter2\"\n",
        "[kafka.security]\npassword = [\"hunter2\"]\n",
        "[kafka.security]\npasword = \"hunter2\"\n",
        "[kafka]\nsecurity = \"hunter2\"\n",
        "[kafka]\ngroup = 3 \"hunter2\"\n",
        "password = \"hunter2\"\n",
        "hunter2\n",
        "hunter2 = \"\"\n",
        "[hunter2]\n",
        "[graph]\nhunter2\n",
        "[graph]\nhunter2 = \"\"\n",
        "hunter2 = 1\nhunter2 = 2\n",
        "kafka.security.password hunter2\n",
        "[kafka.options]\n\"sasl.oauthbearer.config\" = \"hunter2\"\n",
    ] {
        dir.write("my.toml", text);
        assert_hidden(&dir, &[&run[..], &["--config", "my.toml"]].concat());
    }
}

#[cfg(feature = "kafka")]
#[test]
fn a_secret_file_that_others_can_read_is_refused() {
    let dir = TestDir::new();
    dir.write("password", format!("{SECRET}\n"));
    fs::set_permissions(dir.path("password"), fs::Permissions::from_mode(0o644)).unwrap();
    let sasl =
        ["kafka.security.protocol=sasl_plaintext", "kafka.security.mechanism=PLAIN", "kafka.security.username=ann"];
    let run = |place: &str| {
        let mut args = vec!["run", "--input", "kafka://localhost:9/t", "--output", "out.jsonl", "--set", place];
        args.extend(sasl.iter().flat_map(|set| ["--set", set]));
        assert_hidden(&dir, &args)
    };
    let refused = run("kafka.security.password=file:password");
    assert!(refused.contains("chmod 600 password") && refused.contains("0644"), "{refused}");
    let refused = run("kafka.security.password=env:hunter2");
    assert!(refused.contains("name hidden"), "{refused}");
}

/// The state of a run has the place of a password, at most.
#[test]
fn a_state_has_no_secret_and_is_its_owners_alone() {
    let dir = TestDir::new();
    dir.write("in.jsonl", two_shoppers(1_763_900_000_000));
    dir.write("password", SECRET);
    let args = "--input in.jsonl --output out.jsonl --state state --set kafka.security.password=file:password";
    dir.run(args).assert_success();
    let mut files = 0;
    let mut folders = vec![dir.path("state")];
    let mode = |path: &Path| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777;
    while let Some(folder) = folders.pop() {
        assert_eq!(mode(&folder), 0o700, "{}", folder.display());
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            files += 1;
            assert_eq!(mode(&path), 0o600, "{}", path.display());
            let bytes = fs::read(&path).unwrap();
            assert!(!bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes()), "{}", path.display());
        }
    }
    assert!(files > 2);
    // A state of an earlier version is closed, with one warning.
    fs::set_permissions(dir.path("state/groups"), fs::Permissions::from_mode(0o755)).unwrap();
    let done = dir.run(args).assert_success();
    assert_eq!(done.stderr.matches("other users could read the state").count(), 1, "{}", done.stderr);
    assert_eq!(mode(&dir.path("state/groups")), 0o700);
    let again = dir.run(args).assert_success();
    assert!(!again.stderr.contains("other users"), "{}", again.stderr);
}
