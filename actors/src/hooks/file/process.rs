//! One run of a file: started in a group of processes of its own, heard out, and ended with all of that group if it
//! does not end by itself.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    path::Path,
    process::{ExitStatus, Stdio},
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
};

use super::{Config, lines::Lines};
use crate::hooks::{HookError, HookFailure, Notice};

/// How much is read at once.
const CHUNK_BYTES: usize = 4096;

/// How much a pipe holds at most, unless somebody enlarges it. What a file wrote before its end is not more.
const PIPE_BYTES: usize = 64 * 1024;

/// A file that runs. Dropping it ends it.
pub(super) struct Process {
    // Dropped first, while the child still holds its number.
    group: Group,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
}

/// Why a run came to nothing.
pub(super) enum Failure {
    /// It wrote more than it may.
    TooLong,
    /// The system did not play along.
    Io(io::Error),
}

impl Failure {
    pub(super) fn of(self, notice: &Notice, config: &Config) -> HookError {
        let name = notice.kind().name();
        match self {
            Self::TooLong => {
                let cause = format!("{name} wrote more than {} bytes", config.max_response_bytes);
                HookError::new(HookFailure::TooLong, cause)
            }
            Self::Io(error) => HookError::new(HookFailure::Unreachable, format!("{name} can't be heard: {error}")),
        }
    }
}

impl Process {
    /// Starts the file of an event.
    pub(super) fn start(directory: &Path, notice: &Notice) -> io::Result<Self> {
        let upload = &notice.call.event.upload;
        let mut child = Command::new(directory.join(notice.kind().name()))
            .current_dir(directory)
            .env("TUS_ID", &upload.id)
            .env("TUS_SIZE", upload.size.to_string())
            .env("TUS_OFFSET", upload.offset.to_string())
            .env("WHARF_EVENT_ID", &notice.event_id)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let leader = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        Ok(Self { group: Group { leader }, child, stdin, stdout, stderr })
    }

    /// Tells it of the event, and waits for its end and its answer.
    pub(super) async fn ended(
        self,
        event: &[u8],
        max_answer_bytes: usize,
        mut lines: Lines<'_>,
    ) -> Result<(ExitStatus, Vec<u8>), Failure> {
        // The group is dropped first, here too.
        let Self { mut child, stdin, mut stdout, mut stderr, mut group } = self;
        let mut answer = Answer { bytes: Vec::new(), most: max_answer_bytes };
        // Neither of the first two has anything to say about the end.
        let status = tokio::select! {
            Some(status) = async { tell(stdin, event).await; None } => status,
            Some(status) = async { hear(&mut stderr, |piece| lines.add(piece)).await; None } => status,
            status = heard_out(&mut child, &mut stdout, &mut answer) => status,
        }?;
        // It can't be ended any more, and its number may soon be another's.
        group.leader = None;
        // What it wrote is in the pipes; what others still hold these open for is not waited for.
        if let Some(stdout) = &stdout {
            let complete = left_over(stdout.as_fd(), |piece| answer.add(piece))?;
            if !complete {
                return Err(Failure::TooLong);
            }
        }
        if let Some(stderr) = &stderr {
            left_over(stderr.as_fd(), |piece| lines.add(piece))?;
        }
        lines.end();
        Ok((status, answer.bytes))
    }
}

/// Until the process ends. Its answer is taken meanwhile.
async fn heard_out(
    child: &mut Child,
    stdout: &mut Option<ChildStdout>,
    answer: &mut Answer,
) -> Result<ExitStatus, Failure> {
    tokio::select! {
        status = child.wait() => status.map_err(Failure::Io),
        false = hear(stdout, |piece| answer.add(piece)) => Err(Failure::TooLong),
    }
}

/// Writes the event. A file that wants no more of it closes its end, which is its right.
async fn tell(stdin: Option<ChildStdin>, event: &[u8]) {
    if let Some(mut stdin) = stdin {
        let _ = stdin.write_all(event).await;
    }
}

/// Takes what comes until nothing more does; `false` when it is too much.
async fn hear<P: AsyncRead + Unpin>(pipe: &mut Option<P>, mut take: impl FnMut(&[u8]) -> bool) -> bool {
    let Some(pipe) = pipe else { return true };
    let mut chunk = Vec::with_capacity(CHUNK_BYTES);
    loop {
        chunk.clear();
        match pipe.read_buf(&mut chunk).await {
            Ok(0) | Err(_) => return true,
            Ok(_) if !take(&chunk) => return false,
            Ok(_) => {}
        }
    }
}

/// Takes what a pipe holds already, without waiting for more; `false` when it is too much.
fn left_over(pipe: BorrowedFd<'_>, mut take: impl FnMut(&[u8]) -> bool) -> Result<bool, Failure> {
    let mut chunk = [0; CHUNK_BYTES];
    let mut taken = 0;
    while taken < PIPE_BYTES {
        match rustix::io::read(pipe, &mut chunk) {
            Ok(0) | Err(rustix::io::Errno::AGAIN) => break,
            Ok(read) if !take(&chunk[..read]) => return Ok(false),
            Ok(read) => taken += read,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Failure::Io(error.into())),
        }
    }
    Ok(true)
}

/// What was written to standard output.
struct Answer {
    bytes: Vec<u8>,
    most: usize,
}

impl Answer {
    /// `false` when it is too much.
    fn add(&mut self, piece: &[u8]) -> bool {
        let fits = self.bytes.len() + piece.len() <= self.most;
        if fits {
            self.bytes.extend_from_slice(piece);
        }
        fits
    }
}

/// A process and all that it has started and that has stayed with it. Ended when dropped, unless it has ended.
struct Group {
    leader: Option<Pid>,
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.leader {
            // Nobody is left when this fails.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}
