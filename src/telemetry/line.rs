//! A line, put together in buffers that each thread keeps: one for the line, one for its fields.

use std::{cell::Cell, fmt};

use slog::{KV, Key, OwnedKVList, Record, Serializer};

use super::{json, text};

/// What a line looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Text { coloured: bool },
    Json,
}

/// A value as its logger gave it.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    None,
    Unit,
    Bool(bool),
    Char(char),
    Signed(i64),
    Unsigned(u64),
    Short(f32),
    Float(f64),
    /// A number that is written as it shows itself.
    Wide(&'a fmt::Arguments<'a>),
    Text(&'a str),
    Arguments(&'a fmt::Arguments<'a>),
}

/// More than this is not kept for the next line.
const KEPT_BYTES: usize = 16 * 1024;

#[derive(Default)]
struct Buffers {
    line: String,
    fields: String,
    /// Where each of the fields ends.
    ends: Vec<usize>,
}

thread_local! {
    static BUFFERS: Cell<Buffers> = const { Cell::new(Buffers { line: String::new(), fields: String::new(), ends: Vec::new() }) };
}

/// Runs with the record as a line, its end included.
pub(super) fn with<T>(form: Form, record: &Record<'_>, context: &OwnedKVList, run: impl FnOnce(&str) -> T) -> T {
    // Whoever logs while a value of his is being logged, or while his thread ends, gets new ones.
    let mut buffers = BUFFERS.try_with(Cell::take).unwrap_or_default();
    let line = write(form, record, context, &mut buffers);
    let outcome = run(line);
    let Buffers { line, fields, ends } = &mut buffers;
    line.clear();
    fields.clear();
    ends.clear();
    if line.capacity().max(fields.capacity()) <= KEPT_BYTES {
        let _ = BUFFERS.try_with(|kept| kept.set(buffers));
    }
    outcome
}

fn write<'a>(form: Form, record: &Record<'_>, context: &OwnedKVList, buffers: &'a mut Buffers) -> &'a str {
    let Buffers { line, fields, ends } = buffers;
    let mut writer = Fields { form, text: fields, ends };
    // A value that can't be written is left out; what else the line says is not lost for it.
    match form {
        Form::Text { coloured } => {
            text::begin(line, record, coloured);
            let _ = record.kv().serialize(record, &mut writer);
            let _ = context.serialize(record, &mut writer);
            // slog hands fields over from the last to the first.
            let mut end = fields.len();
            for begin in ends.iter().rev().skip(1).copied().chain([0]) {
                line.push_str(&fields[begin..end]);
                end = begin;
            }
            line.push('\n');
        }
        Form::Json => {
            json::begin(line, record);
            let _ = context.serialize(record, &mut writer);
            let _ = record.kv().serialize(record, &mut writer);
            line.push_str(fields);
            line.push_str("}\n");
        }
    }
    line
}

/// Takes a record's fields from slog.
struct Fields<'a> {
    form: Form,
    text: &'a mut String,
    ends: &'a mut Vec<usize>,
}

impl Fields<'_> {
    fn push(&mut self, key: &Key, value: Value<'_>) -> slog::Result {
        match self.form {
            Form::Text { coloured } => text::field(self.text, key, value, coloured),
            Form::Json => json::field(self.text, key, value),
        }
        self.ends.push(self.text.len());
        Ok(())
    }
}

macro_rules! emit {
    ($($name:ident: $type:ty => $value:expr),* $(,)?) => {
        $(fn $name(&mut self, key: Key, value: $type) -> slog::Result {
            self.push(&key, $value(value))
        })*
    };
}

impl Serializer for Fields<'_> {
    emit! {
        emit_u8: u8 => |value: u8| Value::Unsigned(value.into()),
        emit_u16: u16 => |value: u16| Value::Unsigned(value.into()),
        emit_u32: u32 => |value: u32| Value::Unsigned(value.into()),
        emit_u64: u64 => Value::Unsigned,
        emit_usize: usize => |value: usize| Value::Unsigned(value as u64),
        emit_i8: i8 => |value: i8| Value::Signed(value.into()),
        emit_i16: i16 => |value: i16| Value::Signed(value.into()),
        emit_i32: i32 => |value: i32| Value::Signed(value.into()),
        emit_i64: i64 => Value::Signed,
        emit_isize: isize => |value: isize| Value::Signed(value as i64),
        emit_f32: f32 => Value::Short,
        emit_f64: f64 => Value::Float,
        emit_bool: bool => Value::Bool,
        emit_char: char => Value::Char,
        emit_str: &str => Value::Text,
        emit_arguments: &fmt::Arguments<'_> => Value::Arguments,
    }

    fn emit_u128(&mut self, key: Key, value: u128) -> slog::Result {
        self.push(&key, Value::Wide(&format_args!("{value}")))
    }

    fn emit_i128(&mut self, key: Key, value: i128) -> slog::Result {
        self.push(&key, Value::Wide(&format_args!("{value}")))
    }

    fn emit_unit(&mut self, key: Key) -> slog::Result {
        self.push(&key, Value::Unit)
    }

    fn emit_none(&mut self, key: Key) -> slog::Result {
        self.push(&key, Value::None)
    }
}

/// Adds a number in decimal digits.
pub(super) fn push_number(line: &mut String, number: u64) {
    line.push_str(itoa::Buffer::new().format(number));
}

/// The same for one that may be below zero.
pub(super) fn push_signed(line: &mut String, number: i64) {
    if number < 0 {
        line.push('-');
    }
    push_number(line, number.unsigned_abs());
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn any_number_is_written_as_it_is(unsigned: u64, signed: i64, few in 0_u64..1000) {
            let mut line = String::new();
            push_number(&mut line, unsigned);
            line.push(' ');
            push_signed(&mut line, signed);
            line.push(' ');
            push_number(&mut line, few);
            proptest::prop_assert_eq!(line, format!("{unsigned} {signed} {few}"));
        }
    }
}
