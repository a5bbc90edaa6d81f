//! Log lines as JSON, one object a line: `{"time":...,"level":...,"message":...,...}`, then the logger's fields, then the
//! record's, each from the last to the first, as slog hands them over.

use std::fmt::{self, Write};

use serde::Serialize;
use slog::Record;

use super::{
    escape::{is_json_as_it_is, push_json},
    line::{Value, push_number, push_signed},
    name_of, stamp,
};

/// Adds what stands before the fields.
pub(super) fn begin(line: &mut String, record: &Record<'_>) {
    line.push_str("{\"time\":\"");
    stamp::push_now(line);
    line.push_str("\",\"level\":\"");
    line.push_str(name_of(record.level()));
    line.push_str("\",\"message\":");
    push_arguments(line, record.msg());
}

/// Adds `,"key":value`.
pub(super) fn field(line: &mut String, key: &str, value: Value<'_>) {
    line.push_str(",\"");
    // Keys are wharf's own words.
    line.push_str(key);
    line.push_str("\":");
    match value {
        Value::Text(text) => push_string(line, text),
        Value::Arguments(arguments) => push_arguments(line, arguments),
        // Writing to a String can't fail.
        Value::Wide(digits) => drop(line.write_fmt(*digits)),
        Value::Unsigned(number) => push_number(line, number),
        Value::Signed(number) => push_signed(line, number),
        Value::Bool(is) => line.push_str(if is { "true" } else { "false" }),
        Value::Char(character) => push_string(line, character.encode_utf8(&mut [0; 4])),
        Value::None | Value::Unit => line.push_str("null"),
        Value::Short(number) => push_other(line, &number),
        Value::Float(number) => push_other(line, &number),
    }
}

fn push_string(line: &mut String, text: &str) {
    if is_json_as_it_is(text) {
        line.push('"');
        line.push_str(text);
        line.push('"');
    } else {
        push_other(line, text);
    }
}

fn push_arguments(line: &mut String, arguments: &fmt::Arguments<'_>) {
    if let Some(text) = arguments.as_str() {
        return push_string(line, text);
    }
    let begin = line.len();
    line.push('"');
    // Writing to a String can't fail, and a value that fails stays as far as it came.
    let _ = line.write_fmt(*arguments);
    if is_json_as_it_is(&line[begin + 1..]) {
        line.push('"');
    } else {
        let written = line.split_off(begin);
        push_other(line, &written[1..]);
    }
}

fn push_other(line: &mut String, value: &(impl Serialize + ?Sized)) {
    // Neither text nor a number fails.
    push_json(line, &serde_json::to_string(value).unwrap_or_default());
}
