//! Log lines as text: `time LEVEL message, key: value, key: value`, coloured or not.

use std::fmt::{self, Write};

use slog::{Level, Record};

use super::{
    escape::{is_plain_ascii, is_word, push_text, push_value},
    line::{Value, push_number, push_signed},
    stamp,
};

const RESET: &str = "\x1b[0m";
const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const CYAN: &str = "\x1b[36m";

/// Adds what stands before the fields.
pub(super) fn begin(line: &mut String, record: &Record<'_>, coloured: bool) {
    paint(line, coloured.then_some(DIM), stamp::push_now);
    line.push(' ');
    let level = record.level();
    paint(line, coloured.then(|| colour(level)), |line| line.push_str(level.as_short_str()));
    line.push(' ');
    paint(line, coloured.then_some(BOLD), |line| push_arguments(line, record.msg(), is_plain_ascii, push_text));
}

/// Adds `, key: value`.
pub(super) fn field(line: &mut String, key: &str, value: Value<'_>, coloured: bool) {
    line.push_str(", ");
    paint(line, coloured.then_some(CYAN), |line| {
        // Keys are wharf's own words.
        line.push_str(key);
        line.push(':');
    });
    line.push(' ');
    match value {
        Value::Text(text) => push_value(line, text),
        Value::Arguments(arguments) | Value::Wide(arguments) => push_arguments(line, arguments, is_word, push_value),
        Value::Unsigned(number) => push_number(line, number),
        Value::Signed(number) => push_signed(line, number),
        Value::Bool(is) => line.push_str(if is { "true" } else { "false" }),
        Value::Char(character) => push_value(line, character.encode_utf8(&mut [0; 4])),
        Value::None => line.push_str("None"),
        Value::Unit => line.push_str("()"),
        Value::Short(number) => push_arguments(line, &format_args!("{number}"), is_word, push_value),
        Value::Float(number) => push_arguments(line, &format_args!("{number}"), is_word, push_value),
    }
}

/// Adds what is written only now: by `push`, unless it is one of those texts that `push` leaves as they are.
fn push_arguments(
    line: &mut String,
    arguments: &fmt::Arguments<'_>,
    stays: fn(&str) -> bool,
    push: fn(&mut String, &str),
) {
    if let Some(text) = arguments.as_str() {
        return push(line, text);
    }
    let begin = line.len();
    // Writing to a String can't fail, and a value that fails stays as far as it came.
    let _ = line.write_fmt(*arguments);
    if !stays(&line[begin..]) {
        let written = line.split_off(begin);
        push(line, &written);
    }
}

fn paint(line: &mut String, colour: Option<&str>, push: impl FnOnce(&mut String)) {
    let Some(colour) = colour else { return push(line) };
    line.push_str(colour);
    push(line);
    line.push_str(RESET);
}

fn colour(level: Level) -> &'static str {
    match level {
        Level::Critical | Level::Error => RED,
        Level::Warning => YELLOW,
        Level::Info => GREEN,
        Level::Debug | Level::Trace => DIM,
    }
}
