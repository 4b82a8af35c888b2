//! Two machines with a network that is slow, loses packets, and is cut. Needs the right to create network namespaces.

use std::process::Command;
use std::time::{Duration, Instant};

use super::{RUN_TIMEOUT, simulated};
use crate::program::{ProcessOutput, TestDir, assert_lists_eq, changes, final_lists};

/// Two namespaces and the link between them, removed on drop.
struct Machines {
    name: String,
}

fn sh(command: &str) -> bool {
    Command::new("sh")
        .args(["-c", command])
        .stderr(std::process::Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

impl Machines {
    /// `None`, with a note on stdout, where namespaces cannot be created.
    fn new() -> Option<Self> {
        use std::hash::{BuildHasher, RandomState};
        let machines = Machines { name: format!("d{:06x}", RandomState::new().hash_one(0) & 0xff_ffff) };
        let name = &machines.name;
        let made = sh(&format!(
            "ip netns add {name}0 && ip netns add {name}1 && \
             ip link add {name}0 netns {name}0 type veth peer name {name}1 netns {name}1 && \
             for i in 0 1; do ip -n {name}$i link set lo up && ip -n {name}$i addr add 10.99.0.$((i+1))/24 dev {name}$i && \
             ip -n {name}$i link set {name}$i up || exit 1; done"
        ));
        if !made {
            println!("not run: network namespaces need `ip` and root");
            return None;
        }
        Some(machines)
    }

    /// Starts a process on one of the machines.
    fn start(&self, dir: &TestDir, process: usize, args: &str) -> std::process::Child {
        let args = format!(
            "exec ip netns exec {}{process} {} run {args} --hosts 10.99.0.1:2101,10.99.0.2:2101 --process {process} \
             --secret-file secret 2>err{process}",
            self.name,
            env!("CARGO_BIN_EXE_deltarec")
        );
        Command::new("sh").args(["-c", &args]).current_dir(dir.0.path()).spawn().unwrap()
    }

    /// Changes how the network treats packets.
    fn network(&self, how: &str) -> bool {
        let name = &self.name;
        (0..2).all(|i| sh(&format!("ip netns exec {name}{i} tc qdisc replace dev {name}{i} root netem {how}")))
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        let name = &self.name;
        sh(&format!("ip netns del {name}0; ip netns del {name}1"));
    }
}

fn end(dir: &TestDir, process: usize, mut child: std::process::Child) -> ProcessOutput {
    let asked = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if asked.elapsed() > RUN_TIMEOUT {
            child.kill().unwrap();
            panic!("process {process} is still running, with stderr\n{}", dir.read(&format!("err{process}")));
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    ProcessOutput { code: status.code(), stdout: String::new(), stderr: dir.read(&format!("err{process}")) }
}

#[test]
fn a_slow_and_lossy_network_does_not_change_the_answers() {
    let Some(machines) = Machines::new() else { return };
    if !machines.network("delay 5ms 2ms loss 2%") {
        println!("not run: the kernel has no netem");
        return;
    }
    let dir = TestDir::new();
    super::write_secret(&dir, "secret", "a secret that only these processes share\n");
    let (_, expected) = simulated(&dir, "events=4000,users=150,items=100,seed=3");
    let args = "--input x.jsonl --output out.jsonl --set graph.audience=all --set input.batch=200";
    let children = [0, 1].map(|process| machines.start(&dir, process, args));
    for (process, child) in children.into_iter().enumerate() {
        end(&dir, process, child).assert_success();
    }
    assert_lists_eq("slow and lossy", &final_lists(&changes(&dir.read("out.jsonl"))), &expected, 100);
}

/// No packet reports that the link is cut.
#[test]
fn a_cluster_notices_a_cut_network_and_recovers() {
    let Some(machines) = Machines::new() else { return };
    let dir = TestDir::new();
    super::write_secret(&dir, "secret", "a secret that only these processes share\n");
    let (_, expected) = simulated(&dir, "events=30000,users=150,items=100,seed=3");
    let args = "--input x.jsonl --output out.jsonl --set graph.audience=all --set input.batch=20 --state state \
                --set state.interval=50ms";
    let children = [0, 1].map(|process| machines.start(&dir, process, args));
    // The cut must come while both work: not before they are linked, whatever the speed of the machine.
    let started = Instant::now();
    while std::fs::metadata(dir.path("out.jsonl")).map_or(0, |output| output.len()) == 0 {
        assert!(started.elapsed() < RUN_TIMEOUT, "no output yet");
        std::thread::sleep(Duration::from_millis(5));
    }
    let name = &machines.name;
    assert!(sh(&format!("ip -n {name}0 link set {name}0 down")));
    let cut = Instant::now();
    let done: Vec<ProcessOutput> =
        children.into_iter().enumerate().map(|(process, child)| end(&dir, process, child)).collect();
    println!("both ended {:?} after the cut", cut.elapsed());
    // Both fail, unless they had ended before the cut.
    for done in done.into_iter().filter(|done| done.code != Some(0)) {
        done.assert_failure(3, &["is lost"]);
    }
    assert!(sh(&format!("ip -n {name}0 link set {name}0 up")));
    let children = [0, 1].map(|process| machines.start(&dir, process, args));
    for (process, child) in children.into_iter().enumerate() {
        end(&dir, process, child).assert_success();
    }
    assert_lists_eq("after the cut", &final_lists(&changes(&dir.read("out.jsonl"))), &expected, 100);
}
