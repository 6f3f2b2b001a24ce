//! A process that was started here, and is stopped here.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// No program here is silent for longer.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running program that prints lines. It is killed when dropped.
pub struct Program {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
}

impl Program {
    /// Starts it on one core, and waits for the first line.
    pub fn start<A: AsRef<OsStr>>(
        program: impl AsRef<OsStr>,
        args: impl IntoIterator<Item = A>,
        core: Option<usize>,
    ) -> Result<(Self, String), String> {
        let name = program.as_ref().to_string_lossy().into_owned();
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        // A child inherits where its parent may run.
        let own = sched_getaffinity(None).map_err(|error| error.to_string())?;
        pin(core)?;
        let child = command.spawn();
        sched_setaffinity(None, &own).map_err(|error| error.to_string())?;
        let mut child = child.map_err(|error| format!("{name}: {error}"))?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(format!("{name}: no pipes"));
        };
        let (send, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        let program = Self { child, stdin, lines };
        let first = program.line().map_err(|error| format!("{name}: {error}"))?;
        Ok((program, first))
    }

    /// The next line it prints.
    pub fn line(&self) -> Result<String, String> {
        self.lines.recv_timeout(PATIENCE).map_err(|_| "ended, or silent".into())
    }

    /// Writes a line to it.
    pub fn tell(&mut self, line: &str) -> Result<(), String> {
        writeln!(self.stdin, "{line}").map_err(|error| error.to_string())
    }

    fn file(&self, name: &str) -> String {
        format!("/proc/{}/{name}", self.child.id())
    }

    /// Processor time so far, in seconds: of all threads there are.
    pub fn cpu(&self) -> Result<f64, String> {
        let mut nanoseconds = 0;
        let threads = fs::read_dir(self.file("task")).map_err(|error| error.to_string())?;
        for thread in threads.flatten() {
            // A thread may have ended meanwhile.
            let Ok(text) = fs::read_to_string(thread.path().join("schedstat")) else {
                continue;
            };
            let time = text.split(' ').next().and_then(|time| time.parse::<u64>().ok());
            nanoseconds += time.ok_or("schedstat")?;
        }
        Ok(nanoseconds as f64 / 1e9)
    }

    /// Resident memory, in bytes.
    pub fn resident(&self) -> Result<u64, String> {
        let text = fs::read_to_string(self.file("status")).map_err(|error| error.to_string())?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("VmRSS")?;
        let kib = line.trim().trim_end_matches(" kB").parse::<u64>();
        kib.map(|kib| kib * 1024).map_err(|error| error.to_string())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Has this thread, and what it starts, run on one core only.
pub fn pin(core: Option<usize>) -> Result<(), String> {
    let Some(core) = core else {
        return Ok(());
    };
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).map_err(|error| error.to_string())
}

/// The cores this process may run on.
pub fn cores() -> Vec<usize> {
    let Ok(set) = sched_getaffinity(None) else {
        return Vec::new();
    };
    (0..CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect()
}
