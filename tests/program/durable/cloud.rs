//! State in a cloud's object store: the S3 server of the Python package `moto`.

use std::io::Write as _;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::super::RUN_TIMEOUT;
use super::*;

/// The server and its port.
pub(super) struct Cloud {
    server: Child,
    pub(super) port: u16,
}

impl Cloud {
    /// `None` if the server is not installed.
    pub(super) fn new() -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Command::new("python3")
            .args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(server) = server else {
            println!("skipped: state in S3 needs python3 with moto (pip install 'moto[server]')");
            return None;
        };
        let mut cloud = Cloud { server, port };
        let asked = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            if cloud.server.try_wait().unwrap().is_some() || asked.elapsed() > RUN_TIMEOUT {
                println!("skipped: state in S3 needs python3 with moto (pip install 'moto[server]')");
                return None;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        cloud.request("PUT", "/shop");
        Some(cloud)
    }

    /// Sends a request without a body.
    fn request(&self, method: &str, path: &str) -> String {
        use std::io::{Read as _, Write as _};
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(stream, "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.") && answer.contains(" 20"), "{answer}");
        answer
    }

    fn start(&self, dir: &TestDir, args: &[String]) -> RunningProcess {
        let mut command = Command::new(env!("CARGO_BIN_EXE_deltarec"));
        access(command.args(args).env_remove("RUST_LOG"), self.port);
        dir.spawn(command)
    }
}

/// Lets a command use the server at this port.
pub(super) fn access(command: &mut Command, port: u16) {
    command
        .env("AWS_ENDPOINT", format!("http://127.0.0.1:{port}"))
        .envs([("AWS_ALLOW_HTTP", "true"), ("AWS_REGION", "us-east-1")])
        .envs([("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")]);
}

impl Drop for Cloud {
    fn drop(&mut self) {
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

#[test]
fn resumes_from_state_in_a_cloud_store() {
    let Some(cloud) = Cloud::new() else { return };
    let dir = TestDir::new();
    let events = log(&dir, 900, 31);
    dir.write("in.jsonl", lines(&events));
    dir.begin(&at_every_tick(single_snapshot_arguments("expected.jsonl", None, 1))).finish().assert_success();
    let state = "s3://shop/state";
    for part in [300, 600] {
        dir.write("in.jsonl", lines(&events[..part]));
        cloud
            .start(&dir, &at_every_tick(single_snapshot_arguments("out.jsonl", Some(state), 1)))
            .finish()
            .assert_success();
    }
    dir.write("in.jsonl", lines(&events));
    let running = cloud.start(&dir, &at_every_tick(arguments("out.jsonl", Some(state), 2)));
    std::thread::sleep(Duration::from_millis(300));
    running.signal("KILL");
    running.finish_within(RUN_TIMEOUT);
    let last = at_every_tick(single_snapshot_arguments("out.jsonl", Some(state), 2));
    let done = cloud.start(&dir, &last).finish().assert_success();
    assert!(done.stderr.contains("resuming from snapshot"), "{}", done.stderr);
    assert_same_stream("in a cloud", &dir.read("out.jsonl"), &dir.read("expected.jsonl"));
    let verify = ["snapshot", "verify", "--state", state].map(String::from);
    assert!(cloud.start(&dir, &verify).finish().assert_success().stdout.contains("sound"));
    // Without locks one of two runs fails at a snapshot and stops. The second may fail at its first one, before it has read
    // a line.
    let live = ["run", "--output", "one.jsonl", "--state", state, "--set", "state.interval=10ms", "--rebuild"];
    let live = |output: &str| live.map(|arg| arg.replace("one.jsonl", output)).to_vec();
    let ready = |running: &RunningProcess| running.stderr.text().contains("rereading");
    let ended = |running: &mut RunningProcess| running.child.try_wait().unwrap().is_some();
    let wait = |what: &str,
                one: &mut RunningProcess,
                two: &mut RunningProcess,
                done: &dyn Fn(&mut RunningProcess, &mut RunningProcess) -> bool| {
        let asked = Instant::now();
        while !done(one, two) {
            assert!(asked.elapsed() < RUN_TIMEOUT, "{what}:\n{}\n{}", one.stderr.text(), two.stderr.text());
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    let mut one = cloud.start(&dir, &live("one.jsonl"));
    one.wait_for_output(RUN_TIMEOUT, "the first", |_| ready(&one));
    let mut two = cloud.start(&dir, &live("two.jsonl"));
    wait("the second neither began nor stopped", &mut one, &mut two, &|one, two| {
        ready(two) || ended(one) || ended(two)
    });
    for running in [&mut one, &mut two] {
        // A run that has stopped closes its stdin.
        drop(running.stdin.as_mut().unwrap().write_all(super::super::two_shoppers(5).as_bytes()));
    }
    wait("neither stopped", &mut one, &mut two, &|one, two| ended(one) || ended(two));
    let (loser, winner) = if ended(&mut one) { (one, two) } else { (two, one) };
    loser.finish().assert_failure(1, &["another run uses this state"]);
    winner.finish().assert_success();
}
