//! Standard streams that were closed when the program started (`>&-`).
//!
//! The runtime of Rust opens `/dev/null` in their place, so that no other file gets their numbers, and results would go nowhere
//! without an error. So they are looked at before it starts.

#![allow(
    unsafe_code,
    reason = "only the loader calls a function before the runtime of Rust, by a section of the program"
)]

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use anyhow::anyhow;
use rustix::io::{Errno, fcntl_getfd};

use crate::failure::Failure;

static STDIN_IS_CLOSED: AtomicBool = AtomicBool::new(false);
static STDOUT_IS_CLOSED: AtomicBool = AtomicBool::new(false);

#[used]
#[cfg_attr(target_os = "linux", unsafe(link_section = ".init_array"))]
#[cfg_attr(target_vendor = "apple", unsafe(link_section = "__DATA,__mod_init_func"))]
static LOOK: extern "C" fn() = look;

/// Makes system calls only: nothing of the standard library is ready yet.
extern "C" fn look() {
    // SAFETY: the number is not -1, and the call only asks whether it is open.
    let is_closed = |number| fcntl_getfd(unsafe { BorrowedFd::borrow_raw(number) }) == Err(Errno::BADF);
    STDIN_IS_CLOSED.store(is_closed(0), Relaxed);
    STDOUT_IS_CLOSED.store(is_closed(1), Relaxed);
}

/// Fails if results on stdout would go nowhere.
pub(crate) fn check_stdout() -> Result<(), Failure> {
    if STDOUT_IS_CLOSED.load(Relaxed) {
        return Err(Failure::Running(anyhow!("stdout is closed: there is no place for the results; open it (> FILE)")));
    }
    Ok(())
}

/// Fails if there is no stdin to read.
pub(crate) fn check_stdin() -> Result<(), Failure> {
    if STDIN_IS_CLOSED.load(Relaxed) {
        return Err(Failure::Running(anyhow!(
            "stdin is closed: there is nothing to read; open it (< FILE), or name --input"
        )));
    }
    Ok(())
}
