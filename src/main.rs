//! The program `deltarec`; see `deltarec --help`.

use std::process::ExitCode;

use clap::Parser;
use deltarec::cli::Cli;
use deltarec::failure::Failure;
use deltarec::stop::stop_on_signals;
use deltarec::{cli, console};

/// Buffers are allocated by one worker and freed by another; see docs/decisions/0003-dependencies.md.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    console::start_logging();
    let done = stop_on_signals().map_err(Failure::Running).and_then(|stop| cli::main(cli, stop));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(error)) => {
            console::say(&format!("deltarec: {error:#}"));
            ExitCode::from(2)
        }
        Err(Failure::Running(error)) => {
            console::say(&format!("deltarec: {error:#}"));
            ExitCode::FAILURE
        }
        Err(Failure::Elsewhere(error)) => {
            console::say(&format!("deltarec: {error:#}"));
            ExitCode::from(3)
        }
    }
}
