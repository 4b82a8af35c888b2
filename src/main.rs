//! The program `deltarec`. `deltarec --help` lists its commands.

use std::process::ExitCode;

use deltarec::cli;
use deltarec::console;
use deltarec::failure::Failure;
use deltarec::stop::stop_on_signals;

/// Buffers are allocated by one worker and freed by another; see docs/decisions/0003-dependencies.md.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = cli::parse();
    console::start_logging(cli.log_format);
    let done = stop_on_signals().map_err(Failure::Running).and_then(|stop| cli::main(cli, stop));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            console::report(failure.error());
            ExitCode::from(failure.exit_code())
        }
    }
}
