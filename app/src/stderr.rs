//! Standard error as a place for logs and progress: writing to it never fails, and never blocks for long.
//!
//! A log that cannot be written is lost; the work goes on. Its reader may have ended, its disk may be full, and a reader
//! that is stopped leaves a full pipe, in which a plain write would wait for ever: also with the lease of a member.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use stitch_common::printable::printable_line;

/// Once it is known to accept something, a pipe takes this many bytes without blocking (`PIPE_BUF`).
const CHUNK: usize = 4096;
/// How long a reader may be late, once, before lines are lost.
const PATIENCE: Duration = Duration::from_millis(100);

/// The standard error of this process.
static STDERR: Mutex<Loss> = Mutex::new(Loss { lines: 0 });

/// Standard error. Each write is taken as a whole, or lost as a whole.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stderr;

impl Stderr {
    /// Writes a line for people.
    pub fn line(self, text: &str) {
        let line = format!("{}\n", printable_line(text));
        let mut loss = STDERR.lock().unwrap_or_else(PoisonError::into_inner);
        loss.write(line.as_bytes(), &mut io::stderr());
    }
}

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut loss = STDERR.lock().unwrap_or_else(PoisonError::into_inner);
        loss.write(bytes, &mut io::stderr());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What has been lost since something was written last.
#[derive(Debug)]
struct Loss {
    lines: u64,
}

impl Loss {
    fn write(&mut self, bytes: &[u8], out: &mut (impl Write + AsFd)) {
        if self.lines > 0 {
            let lost = format!("\n[{} lines of the log were lost]\n", self.lines);
            if offer(lost.as_bytes(), Duration::ZERO, out).is_err() {
                self.lines += 1;
                return;
            }
            self.lines = 0;
        }
        if offer(bytes, PATIENCE, out).is_err() {
            self.lines += 1;
        }
    }
}

/// Writes `bytes`, unless `out` does not take them within `patience`.
fn offer(bytes: &[u8], patience: Duration, out: &mut (impl Write + AsFd)) -> io::Result<()> {
    for chunk in bytes.chunks(CHUNK) {
        await_room(patience, out)?;
        out.write_all(chunk)?;
    }
    Ok(())
}

fn await_room(patience: Duration, out: &impl AsFd) -> io::Result<()> {
    let timeout = Timespec::try_from(patience).map_err(io::Error::other)?;
    let mut fds = [PollFd::new(out, PollFlags::OUT)];
    loop {
        return match poll(&mut fds, Some(&timeout)) {
            Ok(0) => Err(io::ErrorKind::WouldBlock.into()),
            // Also if it is closed or broken: then the write says so.
            Ok(_) => Ok(()),
            Err(Errno::INTR) => continue,
            Err(error) => Err(error.into()),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Read;
    use stitch_common::clock::{Clock, SystemClock};

    use super::*;

    #[test]
    fn a_reader_that_stopped_costs_lines_and_no_time() {
        let (mut reader, mut writer) = io::pipe().unwrap();
        let mut loss = Loss { lines: 0 };
        let begun = SystemClock.now();
        let line = [b'x'; 1000];
        for _ in 0..10_000 {
            loss.write(&line, &mut writer);
        }
        assert!(loss.lines > 9000);
        assert!(SystemClock.now().since(begun) < Duration::from_secs(5));
        let mut taken = vec![0; 1 << 20];
        let length = reader.read(&mut taken).unwrap();
        let lost = loss.lines;
        loss.write(b"again\n", &mut writer);
        drop(writer);
        let mut rest = String::new();
        reader.read_to_string(&mut rest).unwrap();
        assert!(length > 0 && loss.lines == 0);
        assert!(rest.ends_with(&format!("\n[{lost} lines of the log were lost]\nagain\n")));
    }

    #[test]
    fn a_reader_that_ended_and_a_full_disk_cost_lines() {
        let (reader, mut writer) = io::pipe().unwrap();
        drop(reader);
        let mut loss = Loss { lines: 0 };
        loss.write(b"a\n", &mut writer);
        loss.write(b"b\n", &mut writer);
        assert_eq!(loss.lines, 2);
        let mut full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut loss = Loss { lines: 0 };
        loss.write(b"a\n", &mut full);
        assert_eq!(loss.lines, 1);
    }
}
