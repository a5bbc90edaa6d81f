//! The whole log, from a logger to what is written.

use std::sync::mpsc::{Receiver, Sender, channel};

use slog::{debug, info, warn};

use super::*;

fn settings(format: LogFormat) -> Log {
    Log { format, level: Level::Info, requests: true, buffer_lines: 16 }
}

/// Passes every line on to the test.
struct Pipe(Sender<String>);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = str::from_utf8(bytes).map_err(io::Error::other)?;
        assert!(text.ends_with('\n'), "{text:?} is not whole lines");
        for line in text.split_inclusive('\n') {
            self.0.send(line.to_owned()).map_err(io::Error::other)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// All lines that were written.
fn written(format: LogFormat, terminal: bool, run: impl FnOnce(&Logger)) -> Vec<String> {
    let (sender, receiver) = channel();
    let (logger, guard, counter) = logger(&settings(format), Destination { writer: Box::new(Pipe(sender)), terminal });
    run(&logger);
    drop(guard);
    assert_eq!((counter.dropped(), counter.waiting()), (0, 0));
    receiver.try_iter().collect()
}

/// Checks the time at the start of a text line and cuts it off.
fn without_time(line: &str) -> &str {
    let (time, rest) = line.split_once(' ').unwrap();
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000000Z");
    rest
}

#[test]
fn the_level_may_change_meanwhile() {
    let (sender, receiver) = channel();
    let pipe = Destination::writer(Pipe(sender));
    let (root, guard, control) = logger(&settings(LogFormat::Text), pipe);
    let child = root.new(o!("of" => "before"));
    debug!(child, "unheard");
    control.set_level(Level::Debug);
    debug!(child, "heard");
    control.set_level(Level::Error);
    warn!(root, "unheard");
    drop(guard);
    let lines: Vec<String> = receiver.try_iter().collect();
    assert_eq!(lines.iter().map(|line| without_time(line)).collect::<Vec<_>>(), ["DEBG heard, of: before\n"]);
}

#[test]
fn a_text_line_has_context_then_fields_in_their_order() {
    let lines = written(LogFormat::Text, true, |root| {
        let logger = root.new(o!("request_id" => "r1", "peer" => "127.0.0.1:9"));
        info!(logger, "request served"; "method" => "GET", "status" => 200, "bytes" => 5u64);
        debug!(logger, "not logged");
        warn!(root, "alone");
    });
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(
        without_time(&lines[0]),
        "INFO request served, request_id: r1, peer: 127.0.0.1:9, method: GET, status: 200, bytes: 5\n"
    );
    assert_eq!(without_time(&lines[1]), "WARN alone\n");
}

#[test]
fn a_hostile_value_breaks_no_text_line() {
    let hostile = "x\nINFO forged, status: 200\r\u{1b}[2J\u{2028}\0\"\u{202e}";
    let lines = written(LogFormat::Text, false, |root| {
        let logger = root.new(o!("context" => hostile));
        info!(logger, "read {}", hostile; "text" => hostile, "shown" => %hostile, "debug" => ?hostile,
            "character" => '\n', "fewer" => super::hostile(hostile), "after" => 1);
    });
    let escaped = r#""x\nINFO forged, status: 200\r\u{1b}[2J\u{2028}\u{0}\"\u{202e}""#;
    let twice = r#""\"x\\nINFO forged, status: 200\\r\\u{1b}[2J\\u{2028}\\0\\\"\\u{202e}\"""#;
    let message = r#"read x\nINFO forged, status: 200\r\u{1b}[2J\u{2028}\u{0}"\u{202e}"#;
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(
        without_time(&lines[0]),
        format!(
            "INFO {message}, context: {escaped}, text: {escaped}, shown: {escaped}, debug: {twice}, \
             character: \"\\n\", fewer: {escaped}, after: 1\n"
        )
    );
}

#[test]
fn a_hostile_value_breaks_no_json_line() {
    let hostile = "x\n\r\u{1b}[2J\u{2028}\0\"\u{202e}\u{7f}";
    let lines = written(LogFormat::Json, true, |root| {
        let logger = root.new(o!("request_id" => "r1"));
        info!(logger, "request served"; "text" => hostile, "status" => 200);
    });
    assert_eq!(lines.len(), 1, "{lines:?}");
    let line = lines[0].strip_suffix('\n').unwrap();
    assert!(line.chars().all(|c| matches!(c, ' '..='~')), "{line:?}");
    let value: serde_json::Value = serde_json::from_str(line).unwrap();
    let time = value["time"].as_str().unwrap();
    assert_eq!(without_time(&format!("{time} ")), "");
    assert_eq!(
        value,
        serde_json::json!({
            "time": time, "level": "info", "message": "request served", "request_id": "r1", "text": hostile, "status": 200
        })
    );
    let rest = line.split_once("Z\"").unwrap().1;
    assert_eq!(
        rest,
        r#","level":"info","message":"request served","request_id":"r1","status":200,"text":"x\n\r\u001b[2J\u2028\u0000\"\u202e\u007f"}"#
    );
}

#[test]
fn colours_come_on_a_terminal_and_from_wharf_alone() {
    let lines = written(LogFormat::Auto, true, |root| info!(root, "done"; "value" => "\u{1b}[31m"));
    let (time, rest) = lines[0].split_once(' ').unwrap();
    assert!(time.starts_with("\x1b[2m2") && time.ends_with("Z\x1b[0m"), "{time:?}");
    assert_eq!(rest, "\x1b[32mINFO\x1b[0m \x1b[1mdone\x1b[0m, \x1b[36mvalue:\x1b[0m \"\\u{1b}[31m\"\n");
    for (format, terminal) in [(LogFormat::Auto, false), (LogFormat::Text, true), (LogFormat::Json, true)] {
        let lines = written(format, terminal, |root| info!(root, "done"; "value" => 1));
        assert!(!lines[0].contains('\x1b'), "{:?}", lines[0]);
    }
}

/// Tells the test of each write, and goes on when the test says so or has gone.
struct Gate {
    arrived: Sender<String>,
    go: Receiver<()>,
}

impl Write for Gate {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.arrived.send(String::from_utf8_lossy(bytes).into_owned()).map_err(io::Error::other)?;
        let _ = self.go.recv();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_buffer_drops_counts_and_tells() {
    let (arrived, arrivals) = channel();
    let (release, go) = channel();
    let (logger, guard, counter) = logger(&settings(LogFormat::Text), Destination::writer(Gate { arrived, go }));
    info!(logger, "first");
    let mut lines = vec![arrivals.recv().unwrap()];
    // The writer is stuck with the first line: 16 fit, 5 don't, and none of this waits.
    for number in 0..21 {
        info!(logger, "line"; "number" => number);
    }
    assert_eq!((counter.dropped(), counter.waiting()), (5, 17));
    drop(release);
    drop(guard);
    lines.extend(arrivals.try_iter());
    assert_eq!(lines.len(), 2, "what waited comes together: {lines:?}");
    let lines: Vec<&str> = lines.iter().flat_map(|text| text.lines()).map(without_time).collect();
    assert_eq!(lines.len(), 18, "{lines:?}");
    // Told when half of the buffer is free again.
    assert_eq!(lines[8], "INFO line, number: 7");
    assert_eq!(lines[9], "WARN log lines dropped, count: 5");
    assert_eq!(lines[17], "INFO line, number: 15");
    assert_eq!((counter.dropped(), counter.waiting()), (5, 0));
    info!(logger, "too late");
    assert_eq!(counter.dropped(), 6);
}

#[test]
fn a_stuck_writer_does_not_keep_the_process() {
    let (arrived, arrivals) = channel();
    let (release, go) = channel();
    let (logger, guard, counter) = logger(&settings(LogFormat::Text), Destination::writer(Gate { arrived, go }));
    info!(logger, "stuck");
    arrivals.recv().unwrap();
    drop(guard);
    assert_eq!((counter.dropped(), counter.waiting()), (0, 1));
    drop(release);
}

#[test]
fn a_write_holds_whole_lines_and_no_more_than_a_pipe_takes_at_once() {
    let (arrived, arrivals) = channel();
    let (release, go) = channel();
    let settings = Log { buffer_lines: 2000, ..settings(LogFormat::Text) };
    let (logger, guard, counter) = logger(&settings, Destination::writer(Gate { arrived, go }));
    info!(logger, "first");
    assert_eq!(without_time(&arrivals.recv().unwrap()), "INFO first\n");
    for number in 0..500 {
        let long = if number % 100 == 50 { 5000 } else { number % 70 };
        info!(logger, "line"; "number" => number, "long" => "x".repeat(long));
    }
    drop(release);
    drop(guard);
    let writes: Vec<String> = arrivals.try_iter().collect();
    assert!(writes.iter().all(|write| write.ends_with('\n')));
    assert!(writes.iter().all(|write| write.len() <= 4096 || write.lines().count() == 1));
    assert!(writes.len() < 50, "{} writes", writes.len());
    let numbers = writes.iter().flat_map(|write| write.lines()).map(|line| {
        let rest = without_time(line).strip_prefix("INFO line, number: ").unwrap();
        rest.split_once(',').unwrap().0.parse::<i32>().unwrap()
    });
    assert!(numbers.eq(0..500));
    assert_eq!((counter.dropped(), counter.waiting()), (0, 0));
}

#[test]
fn threads_that_log_at_once_lose_nothing() {
    let (sender, receiver) = channel();
    let settings = Log { buffer_lines: 8192, ..settings(LogFormat::Text) };
    let (logger, guard, counter) = logger(&settings, Destination::writer(Pipe(sender)));
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let logger = logger.clone();
            thread::spawn(move || (0..1000).for_each(|number| info!(logger, "{}.{}", thread, number)))
        })
        .collect();
    // A line that nothing follows comes by itself.
    let mut lines: Vec<String> = receiver.iter().take(4000).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    drop(guard);
    assert_eq!((counter.dropped(), counter.waiting(), receiver.try_iter().count()), (0, 0, 0));
    lines.iter_mut().for_each(|line| *line = without_time(line).to_owned());
    for thread in 0..4 {
        let begin = format!("INFO {thread}.");
        let numbers = lines.iter().filter_map(|line| line.strip_prefix(&begin)?.trim_end().parse::<i32>().ok());
        assert!(numbers.eq(0..1000));
    }
}

/// Logs while it is shown.
struct Talker<'a>(&'a Logger);

impl fmt::Display for Talker<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        info!(self.0, "shown"; "within" => true);
        formatter.write_str("talker")
    }
}

#[test]
fn a_value_may_log_while_it_is_logged() {
    let lines = written(LogFormat::Text, false, |root| info!(root, "who"; "is" => %Talker(root), "number" => -1));
    let lines: Vec<&str> = lines.iter().map(|line| without_time(line)).collect();
    assert_eq!(lines, ["INFO shown, within: true\n", "INFO who, is: talker, number: -1\n"]);
}

#[test]
fn every_kind_of_value_has_its_form() {
    let log = |root: &Logger| {
        let error = io::Error::other("no \"way\"");
        info!(root, "{}", "all"; "u8" => u8::MAX, "i8" => i8::MIN, "u16" => u16::MAX, "i16" => i16::MIN,
            "u32" => u32::MAX, "i32" => i32::MIN, "u64" => u64::MAX, "i64" => i64::MIN, "usize" => 0_usize,
            "isize" => -1_isize, "u128" => u128::MAX, "i128" => i128::MIN, "f32" => 0.1_f32, "f64" => -1e21,
            "nan" => f64::NAN, "yes" => true, "no" => false, "comma" => ',', "none" => None::<u8>, "unit" => (),
            "text" => "a b", "empty" => "", "shown" => %"a\nb", "error" => error);
    };
    let text = written(LogFormat::Text, false, log);
    assert_eq!(
        without_time(&text[0]),
        "INFO all, u8: 255, i8: -128, u16: 65535, i16: -32768, u32: 4294967295, i32: -2147483648, \
         u64: 18446744073709551615, i64: -9223372036854775808, usize: 0, isize: -1, \
         u128: 340282366920938463463374607431768211455, i128: -170141183460469231731687303715884105728, f32: 0.1, \
         f64: -1000000000000000000000, nan: NaN, yes: true, no: false, comma: \",\", none: None, unit: (), \
         text: \"a b\", empty: \"\", shown: \"a\\nb\", error: \"no \\\"way\\\"\"\n"
    );
    let json = written(LogFormat::Json, false, log);
    assert_eq!(
        json[0].split_once("Z\"").unwrap().1,
        "\"level\":\"info\",\"message\":\"all\",\"error\":\"no \\\"way\\\"\",\"shown\":\"a\\nb\",\"empty\":\"\",\
         \"text\":\"a b\",\"unit\":null,\"none\":null,\"comma\":\",\",\"no\":false,\"yes\":true,\"nan\":null,\
         \"f64\":-1e+21,\"f32\":0.1,\"i128\":-170141183460469231731687303715884105728,\
         \"u128\":340282366920938463463374607431768211455,\"isize\":-1,\"usize\":0,\"i64\":-9223372036854775808,\
         \"u64\":18446744073709551615,\"i32\":-2147483648,\"u32\":4294967295,\"i16\":-32768,\"u16\":65535,\
         \"i8\":-128,\"u8\":255}\n"
            .replacen("\"level", ",\"level", 1)
    );
}

/// Fails every write that begins with a line of a bad number, and takes a few bytes at once.
struct Picky(Sender<Vec<u8>>);

impl Write for Picky {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        if first.ends_with(b"INFO bad") {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let taken = bytes.len().min(first.len() + 1).min(20);
        self.0.send(bytes[..taken].to_vec()).map_err(io::Error::other)?;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_line_that_can_not_be_written_takes_no_other_with_it() {
    let (sender, receiver) = channel();
    let (logger, guard, counter) = logger(&settings(LogFormat::Text), Destination::writer(Picky(sender)));
    for message in ["one", "bad", "two", "bad", "bad", "three"] {
        info!(logger, "{}", message);
    }
    drop(guard);
    let written = String::from_utf8(receiver.try_iter().flatten().collect()).unwrap();
    let lines: Vec<&str> = written.lines().map(without_time).collect();
    assert_eq!((lines, counter.dropped(), counter.waiting()), (vec!["INFO one", "INFO two", "INFO three"], 3, 0));
}

/// Fails every write.
struct Broken;

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_broken_writer_costs_lines_and_nothing_else() {
    let (logger, guard, counter) = logger(&settings(LogFormat::Json), Destination::writer(Broken));
    for _ in 0..3 {
        info!(logger, "lost");
    }
    drop(guard);
    assert_eq!(counter.dropped(), 3);
}
