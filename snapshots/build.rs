//! Identifies this build, for files that only the same build may read (feature `abomonation`).

use std::env::var;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if var("CARGO_FEATURE_ABOMONATION").is_err() {
        return;
    }
    let compiler = var("RUSTC").map(|rustc| Command::new(rustc).arg("-vV").output());
    let Ok(Ok(compiler)) = compiler else {
        println!("cargo::error=cannot ask the compiler for its version, which the feature `abomonation` needs");
        return;
    };
    let parts = ["CARGO_PKG_VERSION", "TARGET", "PROFILE", "OPT_LEVEL"].map(|name| var(name).unwrap_or_default());
    let compiler = String::from_utf8_lossy(&compiler.stdout).replace('\n', "; ");
    println!("cargo::rustc-env=DELTAREC_BUILD={} {compiler}", parts.join(" "));
}
