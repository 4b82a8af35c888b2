//! State in a cloud's object store: the S3 server of the Python package `moto`.

use std::io::Write as _;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::super::{Heard, PATIENCE};
use super::*;

/// The server and its port.
struct Cloud {
    server: Child,
    port: u16,
}

impl Cloud {
    /// `None` if the server is not installed.
    fn new() -> Option<Self> {
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
            if cloud.server.try_wait().unwrap().is_some() || asked.elapsed() > PATIENCE {
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

    fn start(&self, place: &Place, args: &[String]) -> Running {
        let mut child = Command::new(env!("CARGO_BIN_EXE_deltarec"))
            .args(args)
            .current_dir(place.path(""))
            .env("AWS_ENDPOINT", format!("http://127.0.0.1:{}", self.port))
            .envs([("AWS_ALLOW_HTTP", "true"), ("AWS_REGION", "us-east-1")])
            .envs([("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")])
            .env_remove("RUST_LOG")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (out, err) = (Heard::new(child.stdout.take().unwrap()), Heard::new(child.stderr.take().unwrap()));
        Running { stdin: child.stdin.take(), child, out, err }
    }
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
    let place = Place::new();
    let events = log(&place, 900, 31);
    place.write("in.jsonl", lines(&events));
    place.begin(&single_snapshot_arguments("expected.jsonl", None, 1)).end().well();
    let state = "s3://shop/state";
    for part in [300, 600] {
        place.write("in.jsonl", lines(&events[..part]));
        cloud.start(&place, &single_snapshot_arguments("out.jsonl", Some(state), 1)).end().well();
    }
    place.write("in.jsonl", lines(&events));
    let running = cloud.start(&place, &arguments("out.jsonl", Some(state), 2));
    std::thread::sleep(Duration::from_millis(300));
    running.signal("KILL");
    running.end_within(PATIENCE);
    let done = cloud.start(&place, &single_snapshot_arguments("out.jsonl", Some(state), 2)).end().well();
    assert!(done.err.contains("resuming from snapshot"), "{}", done.err);
    assert_same_stream("in a cloud", &place.read("out.jsonl"), &place.read("expected.jsonl"));
    let verify = ["snapshot", "verify", "--state", state].map(String::from);
    assert!(cloud.start(&place, &verify).end().well().out.contains("sound"));
    // Without locks one of two runs fails at a snapshot and stops. The second may fail at its first one, before it has read
    // a line.
    let live = ["run", "--output", "one.jsonl", "--state", state, "--set", "state.interval=10ms", "--rebuild"];
    let live = |output: &str| live.map(|arg| arg.replace("one.jsonl", output)).to_vec();
    let ready = |running: &Running| running.err.text().contains("rereading");
    let ended = |running: &mut Running| running.child.try_wait().unwrap().is_some();
    let wait = |what: &str, one: &mut Running, two: &mut Running, done: &dyn Fn(&mut Running, &mut Running) -> bool| {
        let asked = Instant::now();
        while !done(one, two) {
            assert!(asked.elapsed() < PATIENCE, "{what}:\n{}\n{}", one.err.text(), two.err.text());
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    let mut one = cloud.start(&place, &live("one.jsonl"));
    one.until(PATIENCE, "the first", |_| ready(&one));
    let mut two = cloud.start(&place, &live("two.jsonl"));
    wait("the second neither began nor stopped", &mut one, &mut two, &|one, two| {
        ready(two) || ended(one) || ended(two)
    });
    for running in [&mut one, &mut two] {
        // A run that has stopped closes its stdin.
        drop(running.stdin.as_mut().unwrap().write_all(super::super::two_shoppers(5).as_bytes()));
    }
    wait("neither stopped", &mut one, &mut two, &|one, two| ended(one) || ended(two));
    let (loser, winner) = if ended(&mut one) { (one, two) } else { (two, one) };
    loser.end().failed(1, &["another run uses this state"]);
    winner.end().well();
}
