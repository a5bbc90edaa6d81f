//! Files that do all that programs do.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use slog::{Discard, Drain, KV, Never, OwnedKVList, Record, Serializer};
use tokio::sync::mpsc;

use super::*;
use crate::hooks::{
    Call, EventKind,
    bed::{PATIENCE, notice},
};

/// An answer may be so long here.
const MAX_RESPONSE_BYTES: usize = 100;

/// Time for files that never end.
const SHORT: Duration = Duration::from_millis(200);

/// A directory with files that are run.
struct Bed {
    directory: tempfile::TempDir,
}

impl Bed {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    /// One with a file for pre-create.
    fn with(script: &str) -> Self {
        let bed = Self::new();
        bed.write("pre-create", &format!("#!/bin/sh\n{script}\n"));
        bed
    }

    /// Writes a file that can be run, by another process: while this one had it open, a process that another test starts
    /// could inherit that for a moment, and nobody can run a file that somebody writes to.
    fn write(&self, name: &str, text: &str) {
        let mut writer = Command::new("/bin/sh")
            .args(["-c", "cat >\"$0\" && chmod 755 \"$0\""])
            .arg(self.path(name))
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        writer.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(writer.wait().unwrap().success());
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn hooks(&self, timeout: Duration) -> Executables {
        self.logging(timeout, Logger::root(Discard, slog::o!()))
    }

    fn logging(&self, timeout: Duration, logger: Logger) -> Executables {
        let directory = self.directory.path().to_owned();
        Executables::new(Config { directory, timeout, max_response_bytes: MAX_RESPONSE_BYTES }, logger).unwrap()
    }

    async fn called(&self) -> Result<Verdict, HookError> {
        self.hooks(PATIENCE).call(notice(EventKind::PreCreate)).await
    }

    /// A pipe with a name. Whoever reads it comes to its end when all are gone that have it open for writing.
    fn pipe(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        path
    }
}

/// Reads a pipe to its end, elsewhere.
async fn read_to_end(pipe: PathBuf) -> String {
    tokio::task::spawn_blocking(move || fs::read_to_string(pipe).unwrap()).await.unwrap()
}

#[actix_rt::test]
async fn a_file_is_told_of_its_event() {
    let bed = Bed::with(
        "printf '%s|' \"$#\" \"$TUS_ID\" \"$TUS_SIZE\" \"$TUS_OFFSET\" \"$WHARF_EVENT_ID\" \"$PATH\" >seen\n\
         pwd >where; cat >event; echo '{\"RejectUpload\":true}'",
    );
    let notice = notice(EventKind::PreCreate);
    assert!(bed.hooks(PATIENCE).call(Arc::clone(&notice)).await.unwrap().reject_upload);
    let path = std::env::var("PATH").unwrap();
    assert_eq!(bed.read("seen"), format!("0|a1b2|7|5|{}|{path}|", notice.event_id));
    assert_eq!(Path::new(bed.read("where").trim()), bed.directory.path().canonicalize().unwrap());
    assert_eq!(bed.read("event").as_bytes(), notice.json);
}

#[actix_rt::test]
async fn each_event_has_a_file_of_its_own() {
    let bed = Bed::new();
    for kind in EventKind::ALL {
        bed.write(kind.name(), "#!/bin/sh\nprintf '{\"HTTPResponse\":{\"Body\":\"%s\"}}' \"${0##*/}\"\n");
    }
    for kind in EventKind::ALL {
        assert_eq!(bed.hooks(PATIENCE).call(notice(kind)).await.unwrap().response.body, kind.name());
    }
}

#[actix_rt::test]
async fn an_event_without_a_file_is_nobodys() {
    let bed = Bed::with("echo '{\"RejectUpload\":true}'");
    assert_eq!(bed.hooks(PATIENCE).call(notice(EventKind::PreFinish)).await, Ok(Verdict::default()));
}

#[actix_rt::test]
async fn nothing_is_an_answer_too() {
    for script in ["", "echo", "printf ' \\n\\t'", "echo '{}'", "exec >&-"] {
        assert_eq!(Bed::with(script).called().await, Ok(Verdict::default()), "{script}");
    }
}

#[actix_rt::test]
async fn a_file_need_not_read_the_event() {
    let mut long = notice(EventKind::PreCreate);
    let metadata = [("big".to_owned(), "x".repeat(1 << 20))].into();
    let event = &long.call.event;
    let upload = crate::hooks::UploadFacts { meta_data: metadata, ..event.upload.clone() };
    let event = crate::hooks::Event { upload, ..event.clone() };
    long = Arc::new(Notice::new(Call { kind: EventKind::PreCreate, event }).unwrap());
    for script in ["echo '{\"RejectUpload\":true}'", "exec <&-; echo '{\"RejectUpload\":true}'"] {
        let verdict = Bed::with(script).hooks(PATIENCE).call(Arc::clone(&long)).await;
        assert!(verdict.unwrap().reject_upload, "{script}");
    }
    let verdict = Bed::with("wc -c >size").hooks(PATIENCE).call(Arc::clone(&long)).await;
    assert_eq!(verdict, Ok(Verdict::default()));
}

#[actix_rt::test]
async fn a_file_that_fails_is_heard() {
    use HookFailure::{Failed, Nonsense, TooLong};
    for (script, failure, said) in [
        ("echo a virus; exit 3", Failed, Some("a virus\n")),
        ("echo '{\"RejectUpload\":true}'; exit 1", Failed, Some("{\"RejectUpload\":true}\n")),
        ("exit 1", Failed, None),
        ("printf 'bye'; kill -9 $$", Failed, Some("bye")),
        ("echo fine", Nonsense, Some("fine\n")),
        ("echo '{\"RejectUpload\":7}'", Nonsense, Some("{\"RejectUpload\":7}\n")),
        ("echo '{}{}'", Nonsense, Some("{}{}\n")),
        ("printf '%0101d' 0", TooLong, None),
        ("printf '%0101d' 0; exit 1", TooLong, None),
        ("while :; do echo yes; done", TooLong, None),
    ] {
        let error = Bed::with(script).called().await.expect_err(script);
        assert_eq!((error.failure, error.said.as_deref()), (failure, said), "{script}: {error}");
        assert!(error.cause.contains("pre-create"), "{error}");
    }
    let error = Bed::with("exit 3").called().await.unwrap_err();
    assert!(error.cause.ends_with("ended with exit status: 3"), "{error}");
    let exact = Bed::with("printf '{}%098d' | tr 0 ' '").called().await;
    assert_eq!(exact, Ok(Verdict::default()));
}

#[actix_rt::test]
async fn what_is_there_and_cannot_be_run_is_a_failure() {
    let not_executable = Bed::with("exit 0");
    fs::set_permissions(not_executable.path("pre-create"), fs::Permissions::from_mode(0o644)).unwrap();
    let no_interpreter = Bed::new();
    no_interpreter.write("pre-create", "#!/no/such/interpreter\n");
    let directory = Bed::new();
    fs::create_dir(directory.path("pre-create")).unwrap();
    let dangling = Bed::new();
    symlink("nowhere", dangling.path("pre-create")).unwrap();
    for bed in [not_executable, no_interpreter, directory, dangling] {
        assert_eq!(bed.called().await.unwrap_err().failure, HookFailure::Unreachable);
    }
    // A directory that has gone must not let everything pass.
    let bed = Bed::with("exit 1");
    let hooks = bed.hooks(PATIENCE);
    drop(bed);
    assert_eq!(hooks.call(notice(EventKind::PreCreate)).await.unwrap_err().failure, HookFailure::Unreachable);
}

#[actix_rt::test]
async fn a_file_that_does_not_end_is_ended_with_all_it_has_started() {
    for script in
        ["exec 9>alive; sleep 1000 & sleep 1000", "exec 9>alive; trap '' TERM HUP; while :; do sleep 1000; done"]
    {
        let bed = Bed::with(script);
        let alive = bed.pipe("alive");
        let (result, _) = tokio::join!(bed.hooks(SHORT).call(notice(EventKind::PreCreate)), read_to_end(alive));
        assert_eq!(result.unwrap_err().failure, HookFailure::TimedOut, "{script}");
    }
}

#[actix_rt::test]
async fn a_call_that_is_given_up_ends_its_file() {
    // The first pipe ends when it runs, the second when it is gone.
    let bed = Bed::with("exec 9>alive; echo running >runs; sleep 1000 & sleep 1000");
    let (runs, alive) = (bed.pipe("runs"), bed.pipe("alive"));
    let ended = actix_rt::spawn(read_to_end(alive));
    tokio::select! {
        _ = bed.hooks(PATIENCE).call(notice(EventKind::PreCreate)) => panic!("it ended"),
        line = read_to_end(runs) => assert_eq!(line, "running\n"),
    }
    assert_eq!(ended.await.unwrap(), "");
}

#[actix_rt::test]
async fn what_a_file_leaves_running_is_not_waited_for_and_goes_on() {
    let bed = Bed::with("sleep 1000 & echo $! >pid; echo '{\"RejectUpload\":true}'; echo left >&2");
    assert!(bed.called().await.unwrap().reject_upload);
    let straggler = Pid::from_raw(bed.read("pid").trim().parse().unwrap()).unwrap();
    test_kill_process(straggler).unwrap();
    kill_process(straggler, Signal::KILL).unwrap();
}

#[actix_rt::test]
async fn a_directory_must_be_there() {
    let bed = Bed::with("exit 0");
    for directory in [bed.path("nowhere"), bed.path("pre-create")] {
        let config = Config { directory, timeout: PATIENCE, max_response_bytes: 1 };
        let error = Executables::new(config, Logger::root(Discard, slog::o!())).unwrap_err();
        assert_eq!(error.field, "directory");
    }
}

/// Hands on each line that is logged, as its message and the hook's line.
struct Lines(mpsc::UnboundedSender<(String, String)>);

/// Looks for the hook's line among what is logged.
struct Line(String);

impl Serializer for Line {
    fn emit_arguments(&mut self, key: slog::Key, value: &std::fmt::Arguments<'_>) -> slog::Result {
        if key == "line" {
            self.0 = value.to_string();
        }
        Ok(())
    }
}

impl Drain for Lines {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, _: &OwnedKVList) -> Result<(), Never> {
        let mut line = Line(String::new());
        record.kv().serialize(record, &mut line).unwrap();
        self.0.send((record.msg().to_string(), line.0)).unwrap();
        Ok(())
    }
}

/// What is logged while a file runs.
async fn logged(script: &str) -> Vec<(String, String)> {
    let (lines, mut logged) = mpsc::unbounded_channel();
    let logger = Logger::root(Lines(lines), slog::o!());
    Bed::with(script).logging(PATIENCE, logger).call(notice(EventKind::PreCreate)).await.unwrap();
    std::iter::from_fn(|| logged.try_recv().ok()).collect()
}

#[actix_rt::test]
async fn what_a_file_complains_of_is_logged_within_limits() {
    let lines = logged("echo one >&2; printf 'two\\nthr' >&2; printf ee >&2").await;
    let expected = ["one", "two", "three"].map(|line| ("a hook says".to_owned(), line.to_owned()));
    assert_eq!(lines, expected);
    let lines = logged("printf '%05000d\\nnext' 0 >&2").await;
    assert_eq!(lines.iter().map(|(_, line)| line.len()).collect::<Vec<_>>(), [1024, 4]);
    let lines = logged("i=0; while [ $i -lt 5000 ]; do echo $i; i=$((i+1)); done >&2").await;
    assert_eq!((lines.len(), &*lines[99].1, &*lines[100].1), (101, "99", ""));
    assert!(lines[100].0.contains("left out"));
}
