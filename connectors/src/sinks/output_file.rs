//! Files and pipes below the buffers of an output.

use std::fs::File;
use std::io::{self, ErrorKind, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, OFlags, fallocate, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

use crate::error::Explained;

/// A regular file that is written.
///
/// Its old contents stay until the disk has room for the first new bytes. Before each write, which is one for 64 KiB or for a
/// flush, and at the end, one `fstat` sees whether another program has truncated or removed the file: results would be lost
/// without a word.
pub(super) struct OutputFile {
    file: File,
    contents: Contents,
    /// Size that the file has at least.
    end: u64,
    /// Whether the file has a name. A temporary file may have none from the start.
    has_name: bool,
    /// Another open file, whose lock is held as long as this one is written.
    _lock: Option<File>,
}

#[derive(Clone, Copy)]
enum Contents {
    /// Those of before, so many bytes, which the first new bytes replace.
    Old(u64),
    /// Those of this run, which have replaced so many bytes.
    New(u64),
    /// Those of before and of this run.
    Continued,
}

impl OutputFile {
    /// A file whose contents are replaced.
    pub(super) fn replacing(file: File) -> io::Result<Self> {
        let found = file.metadata()?;
        let (contents, has_name) = (Contents::Old(found.len()), found.nlink() > 0);
        Ok(OutputFile { file, contents, end: 0, has_name, _lock: None })
    }

    /// A file that is continued where it is: at its position, or at its end if it is opened for appending. `lock`: an open
    /// file whose lock is to be held.
    pub(super) fn continuing(mut file: File, lock: Option<File>) -> io::Result<Self> {
        let found = file.metadata()?;
        let appends = fcntl_getfl(&file)?.contains(OFlags::APPEND);
        let end = if appends { found.len() } else { file.stream_position()?.min(found.len()) };
        Ok(OutputFile { file, contents: Contents::Continued, end, has_name: found.nlink() > 0, _lock: lock })
    }

    /// Removes the old contents once there is room for the first bytes.
    fn replace(&mut self, bytes: usize) -> io::Result<()> {
        let Contents::Old(length) = self.contents else { return Ok(()) };
        reserve(&self.file, bytes)?;
        self.file.set_len(0)?;
        self.contents = Contents::New(length);
        Ok(())
    }

    fn check(&self) -> io::Result<()> {
        let found = self.file.metadata()?;
        if self.has_name && found.nlink() == 0 {
            return Err(Explained::new(
                "the file was removed while it was written",
                "what is written would be lost: keep other programs away from it, and run again",
            )
            .into());
        }
        if found.len() < self.end {
            let what = format!(
                "the file became shorter while it was written: it has {} bytes, it had {} at least",
                found.len(),
                self.end
            );
            let advice = "another program has truncated it: keep others away from it, and run again";
            return Err(Explained::with(what, advice).into());
        }
        Ok(())
    }

    /// An error with what the file holds now.
    fn explain(&self, error: io::Error) -> io::Error {
        if !matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge) {
            return error;
        }
        let holds = match self.contents {
            Contents::Old(1..) => "what it held before is kept".to_owned(),
            Contents::New(1..) => {
                format!("it has {} bytes of this run, and of what it held before nothing is left", self.end)
            }
            Contents::New(0) => format!("it has {} bytes of this run", self.end),
            Contents::Old(0) | Contents::Continued => return error,
        };
        let what = format!("{error}; {holds}");
        io::Error::new(error.kind(), Explained::with(what, Explained::FREE_SPACE))
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.replace(bytes.len()).map_err(|error| self.explain(error))?;
        self.check()?;
        let written = self.file.write(bytes).map_err(|error| self.explain(error))?;
        self.end += written as u64;
        Ok(written)
    }

    /// Also the end of an output without a byte, whose old contents go now.
    fn flush(&mut self) -> io::Result<()> {
        self.replace(0)?;
        self.check()
    }
}

/// Makes sure that the first bytes of a file fit on the disk: those that the file has already, or new ones, which a truncation
/// sets free for them. File systems that cannot tell are not asked.
fn reserve(file: &File, bytes: usize) -> io::Result<()> {
    match fallocate(file, FallocateFlags::KEEP_SIZE, 0, bytes as u64) {
        Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) => Err(error.into()),
        _ => Ok(()),
    }
}

/// A named pipe. Opening it waits for a reader, so without one that is put off to the first bytes: a write may wait, which the
/// supervisor of the run bounds.
pub(super) struct OutputPipe {
    path: PathBuf,
    file: Option<File>,
}

/// Time for which the end of an output without a byte waits for a reader, which would not see the end otherwise.
const READER_WAIT: Duration = Duration::from_secs(1);

impl OutputPipe {
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        Ok(OutputPipe { path: path.to_owned(), file: open_if_read(path)? })
    }
}

/// Opens a pipe for writing if it has a reader.
fn open_if_read(path: &Path) -> io::Result<Option<File>> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    match File::options().write(true).custom_flags(flags).open(path) {
        Ok(file) => {
            fcntl_setfl(file.as_fd(), fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
            Ok(Some(file))
        }
        Err(error) if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Write for OutputPipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.file.is_none() {
            self.file = Some(File::options().write(true).open(&self.path)?);
        }
        self.file.as_mut().expect("it was opened above").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        let asked = Instant::now();
        while self.file.is_none() && asked.elapsed() < READER_WAIT {
            self.file = open_if_read(&self.path)?;
            thread::sleep(if self.file.is_none() { Duration::from_millis(10) } else { Duration::ZERO });
        }
        Ok(())
    }
}

impl Drop for OutputPipe {
    /// A reader that has come since sees the end of the pipe.
    fn drop(&mut self) {
        if self.file.is_none() {
            drop(open_if_read(&self.path));
        }
    }
}
