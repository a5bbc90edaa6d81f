//! `.info` as tusd writes it, with wharf's own fields behind tusd's. Reading is lenient: a tusd of any version, or an
//! operator's script, may have written it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::{Info, Kind, Own, UploadId};

/// Why an `.info` can't be understood.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// No JSON, or nothing but a part of it.
    #[error("not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A field holds what it can't mean.
    #[error("field {0} is not as expected")]
    Field(&'static str),
}

/// Most documents are shorter.
const USUAL_BYTES: usize = 512;

/// Where an upload lies: tusd's map, whose keys it sorts.
pub(crate) struct Places<'a>(Vec<(&'static str, &'a str)>);

impl<'a> Places<'a> {
    /// On disk: the file of its bytes, and that of this document.
    pub(crate) fn file(path: &'a str, info_path: &'a str) -> Self {
        Self(vec![("InfoPath", info_path), ("Path", path), ("Type", "filestore")])
    }

    /// In S3.
    #[cfg(feature = "s3")]
    pub(crate) fn s3(bucket: &'a str, key: &'a str) -> Self {
        Self(vec![("Bucket", bucket), ("Key", key), ("Type", "s3store")])
    }
}

/// A document that is being written. By hand: each upload has two, and what is derived takes several times as long.
struct Writer(Vec<u8>);

impl Writer {
    /// Begins an object, or goes on with one: `name` is written with its colon, behind a comma unless it is the first.
    fn name(&mut self, name: &str) -> &mut Self {
        if self.0.last() != Some(&b'{') {
            self.0.push(b',');
        }
        self.0.push(b'"');
        self.0.extend_from_slice(name.as_bytes());
        self.plain("\":")
    }

    fn plain(&mut self, json: &str) -> &mut Self {
        self.0.extend_from_slice(json.as_bytes());
        self
    }

    fn flag(&mut self, value: bool) -> &mut Self {
        self.plain(if value { "true" } else { "false" })
    }

    fn number(&mut self, number: u64) -> &mut Self {
        self.plain(itoa::Buffer::new().format(number))
    }

    fn text(&mut self, text: &str) -> Result<&mut Self, serde_json::Error> {
        if needs_escapes(text) {
            let json = escape(&serde_json::to_string(text)?);
            return Ok(self.plain(&json));
        }
        self.0.push(b'"');
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(b'"');
        Ok(self)
    }

    /// As JSON's list, with `item` for each.
    fn list<T>(
        &mut self,
        items: &[T],
        mut item: impl FnMut(&mut Self, &T) -> Result<(), serde_json::Error>,
    ) -> Result<&mut Self, serde_json::Error> {
        self.0.push(b'[');
        for (place, one) in items.iter().enumerate() {
            if place > 0 {
                self.0.push(b',');
            }
            item(self, one)?;
        }
        self.0.push(b']');
        Ok(self)
    }

    fn ids(&mut self, ids: &[UploadId]) -> Result<&mut Self, serde_json::Error> {
        self.list(ids, |writer, id| writer.text(id.as_str()).map(|_| ()))
    }

    /// What wharf keeps beside tusd's fields: only what there is.
    fn own(&mut self, own: &Own) -> Result<&mut Self, serde_json::Error> {
        self.0.push(b'{');
        if let Some(raw) = &own.raw_metadata {
            self.name("RawMetadata").text(raw)?;
        }
        if let Some(raw) = &own.raw_concat {
            self.name("RawConcat").text(raw)?;
        }
        self.name("Finished").flag(own.finished);
        if let Some(secs) = own.expires_at_secs {
            self.name("ExpiresAtSecs").number(secs);
        }
        if !own.finals.is_empty() {
            self.name("Finals").ids(&own.finals)?;
        }
        if !own.dropped_parts.is_empty() {
            self.name("DroppedParts").list(&own.dropped_parts, |writer, part| {
                writer.number(u64::from(*part));
                Ok(())
            })?;
        }
        if let Some(owner) = &own.owner {
            self.name("Owner").text(owner)?;
        }
        if let Some(max_size) = own.max_size {
            self.name("MaxSize").number(max_size);
        }
        self.0.push(b'}');
        Ok(self)
    }
}

/// Writes `info` down: tusd's fields in tusd's order.
pub(crate) fn encode(info: &Info, places: &Places<'_>) -> Result<Vec<u8>, serde_json::Error> {
    let mut writer = Writer(Vec::with_capacity(USUAL_BYTES));
    writer.plain("{").name("ID").text(info.id.as_str())?;
    writer.name("Size").number(info.length.unwrap_or(0));
    writer.name("SizeIsDeferred").flag(info.length.is_none());
    // Always 0: the size of the data file counts.
    writer.name("Offset").number(0);
    writer.name("MetaData").plain("{");
    for (key, value) in &info.metadata {
        if !writer.0.ends_with(b"{") {
            writer.0.push(b',');
        }
        writer.text(key)?.plain(":").text(value)?;
    }
    writer.plain("}");
    writer.name("IsPartial").flag(info.kind == Kind::Partial);
    writer.name("IsFinal").flag(info.is_final());
    match &info.kind {
        Kind::Final { partials } => writer.name("PartialUploads").ids(partials)?,
        Kind::Single | Kind::Partial => writer.name("PartialUploads").plain("null"),
    };
    writer.name("Storage").plain("{");
    for (name, place) in &places.0 {
        writer.name(name).text(place)?;
    }
    writer.plain("}");
    if let Some(own) = &info.own {
        writer.name("Wharf").own(own)?;
    }
    writer.plain("}");
    Ok(writer.0)
}

/// Whether there may be a character in it that JSON, or Go, escapes. Most texts have none, and to look at bytes is quick.
fn needs_escapes(text: &str) -> bool {
    let is_special = |byte: u8| byte < 0x20 || matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&' | 0xe2);
    // To the end, whatever is found: so it is done many bytes at a time.
    text.bytes().fold(false, |found, byte| found | is_special(byte))
}

/// Escapes what Go's encoder escapes beside what JSON asks for. These characters stand in JSON within strings only.
fn escape(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '<' => escaped.push_str("\\u003c"),
            '>' => escaped.push_str("\\u003e"),
            '&' => escaped.push_str("\\u0026"),
            '\u{2028}' => escaped.push_str("\\u2028"),
            '\u{2029}' => escaped.push_str("\\u2029"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// Reads an `.info`. `id` is the name it was found under, which counts for more than the one that stands in it.
/// `Info::place` becomes the path that stands in it, whatever it is.
pub(crate) fn decode(json: &[u8], id: &UploadId) -> Result<Info, Broken> {
    let Value::Object(document) = serde_json::from_str(&String::from_utf8_lossy(json))? else {
        return Err(Broken::Field("(document)"));
    };
    let deferred = flag(&document, "SizeIsDeferred")?;
    let size = number(&document, "Size")?.unwrap_or(0);
    let kind = if flag(&document, "IsFinal")? {
        Kind::Final { partials: ids(&document, "PartialUploads")? }
    } else if flag(&document, "IsPartial")? {
        Kind::Partial
    } else {
        Kind::Single
    };
    let place = match object(&document, "Storage")? {
        Some(storage) => text(storage, "Path")?.filter(|path| !path.is_empty()),
        None => None,
    };
    Ok(Info {
        id: id.clone(),
        length: (!deferred).then_some(size),
        metadata: metadata(&document)?,
        kind,
        place,
        own: object(&document, "Wharf")?.map(own).transpose()?,
    })
}

/// The id that stands in an `.info`.
#[cfg(feature = "s3")]
pub(crate) fn stated_id(json: &[u8]) -> Option<String> {
    let document: Value = serde_json::from_slice(json).ok()?;
    text(document.as_object()?, "ID").ok()?
}

fn own(fields: &Map<String, Value>) -> Result<Own, Broken> {
    Ok(Own {
        raw_metadata: text(fields, "RawMetadata")?,
        raw_concat: text(fields, "RawConcat")?,
        finished: flag(fields, "Finished")?,
        expires_at_secs: number(fields, "ExpiresAtSecs")?,
        finals: ids(fields, "Finals")?,
        dropped_parts: numbers(fields, "DroppedParts")?,
        owner: text(fields, "Owner")?,
        max_size: number(fields, "MaxSize")?,
    })
}

/// A field that is there and not null. The exact spelling is preferred to one in another case.
fn field<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let other_case = || fields.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    fields.get(name).or_else(other_case).filter(|value| !value.is_null())
}

fn flag(fields: &Map<String, Value>, name: &'static str) -> Result<bool, Broken> {
    field(fields, name).map_or(Ok(false), |value| value.as_bool().ok_or(Broken::Field(name)))
}

fn number(fields: &Map<String, Value>, name: &'static str) -> Result<Option<u64>, Broken> {
    field(fields, name).map(|value| value.as_u64().ok_or(Broken::Field(name))).transpose()
}

fn text(fields: &Map<String, Value>, name: &'static str) -> Result<Option<String>, Broken> {
    field(fields, name).map(|value| value.as_str().map(str::to_owned).ok_or(Broken::Field(name))).transpose()
}

fn object<'a>(fields: &'a Map<String, Value>, name: &'static str) -> Result<Option<&'a Map<String, Value>>, Broken> {
    field(fields, name).map(|value| value.as_object().ok_or(Broken::Field(name))).transpose()
}

fn ids(fields: &Map<String, Value>, name: &'static str) -> Result<Vec<UploadId>, Broken> {
    let Some(value) = field(fields, name) else { return Ok(Vec::new()) };
    let values = value.as_array().ok_or(Broken::Field(name))?;
    let parse = |value: &Value| value.as_str().and_then(|text| UploadId::parse(text).ok());
    values.iter().map(|value| parse(value).ok_or(Broken::Field(name))).collect()
}

fn numbers(fields: &Map<String, Value>, name: &'static str) -> Result<Vec<u16>, Broken> {
    let Some(value) = field(fields, name) else { return Ok(Vec::new()) };
    let values = value.as_array().ok_or(Broken::Field(name))?;
    let parse = |value: &Value| value.as_u64().and_then(|number| u16::try_from(number).ok());
    values.iter().map(|value| parse(value).ok_or(Broken::Field(name))).collect()
}

fn metadata(document: &Map<String, Value>) -> Result<BTreeMap<String, String>, Broken> {
    let Some(fields) = object(document, "MetaData")? else { return Ok(BTreeMap::new()) };
    let pair = |(key, value): (&String, &Value)| match value {
        Value::String(text) => Ok((key.clone(), text.clone())),
        Value::Null => Ok((key.clone(), String::new())),
        _ => Err(Broken::Field("MetaData")),
    };
    fields.iter().map(pair).collect()
}

#[cfg(test)]
mod tests;
