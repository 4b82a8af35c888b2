//! The program `deltarec`. `deltarec --help` lists its commands.

use std::process::ExitCode;

use deltarec::cli;
use deltarec::console::{self, LogFormat};
use deltarec::failure::Failure;
use deltarec::stop::stop_on_signals;

/// Buffers are allocated by one worker and freed by another; see docs/decisions/0003-dependencies.md.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    console::hide_secrets_of_panics();
    let cli = match cli::parse() {
        Ok(cli) => cli,
        Err(error) => {
            if error.use_stderr() && cli::wants_json(std::env::args_os()) {
                console::start_logging(LogFormat::Json);
            }
            return console::report_usage(&error);
        }
    };
    console::start_logging(cli.log_format);
    let done = stop_on_signals().map_err(Failure::Running).and_then(|stop| cli::main(cli, stop));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            console::report(failure.error());
            // A run that failed may have abandoned threads: nothing waits for them, and no destructor runs under them.
            signal_hook::low_level::exit(failure.exit_code().into())
        }
    }
}
