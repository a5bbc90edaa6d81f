//! `.info` as tusd writes it, with wharf's own fields behind tusd's. Reading is lenient: a tusd of any version, or an
//! operator's script, may have written it.

use std::collections::BTreeMap;

use serde::Serialize;
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

/// tusd's fields in tusd's order.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Document<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    size: u64,
    size_is_deferred: bool,
    /// Always 0: the size of the data file counts.
    offset: u64,
    meta_data: &'a BTreeMap<String, String>,
    is_partial: bool,
    is_final: bool,
    partial_uploads: Option<Vec<&'a str>>,
    storage: &'a Places<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wharf: Option<OwnDocument<'a>>,
}

/// Where an upload lies: tusd's map, whose keys it sorts.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Places<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    bucket: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    info_path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    r#type: &'static str,
}

impl<'a> Places<'a> {
    /// On disk: the file of its bytes, and that of this document.
    pub(crate) fn file(path: &'a str, info_path: &'a str) -> Self {
        Self { bucket: None, info_path: Some(info_path), key: None, path: Some(path), r#type: "filestore" }
    }

    /// In S3.
    #[cfg(feature = "s3")]
    pub(crate) fn s3(bucket: &'a str, key: &'a str) -> Self {
        Self { bucket: Some(bucket), info_path: None, key: Some(key), path: None, r#type: "s3store" }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct OwnDocument<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_metadata: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_concat: Option<&'a str>,
    finished: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at_secs: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    finals: Vec<&'a str>,
    #[serde(skip_serializing_if = "<[u16]>::is_empty")]
    dropped_parts: &'a [u16],
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_size: Option<u64>,
}

/// Writes `info` down.
pub(crate) fn encode(info: &Info, places: &Places<'_>) -> Result<Vec<u8>, serde_json::Error> {
    let partial_uploads = match &info.kind {
        Kind::Final { partials } => Some(partials.iter().map(UploadId::as_str).collect()),
        Kind::Single | Kind::Partial => None,
    };
    let document = Document {
        id: info.id.as_str(),
        size: info.length.unwrap_or(0),
        size_is_deferred: info.length.is_none(),
        offset: 0,
        meta_data: &info.metadata,
        is_partial: info.kind == Kind::Partial,
        is_final: info.is_final(),
        partial_uploads,
        storage: places,
        wharf: info.own.as_ref().map(|own| OwnDocument {
            raw_metadata: own.raw_metadata.as_deref(),
            raw_concat: own.raw_concat.as_deref(),
            finished: own.finished,
            expires_at_secs: own.expires_at_secs,
            finals: own.finals.iter().map(UploadId::as_str).collect(),
            dropped_parts: &own.dropped_parts,
            owner: own.owner.as_deref(),
            max_size: own.max_size,
        }),
    };
    let mut json = Vec::with_capacity(USUAL_BYTES);
    serde_json::to_writer(&mut json, &document)?;
    Ok(if needs_escapes(&json) { escape(&String::from_utf8_lossy(&json)).into_bytes() } else { json })
}

/// Whether there may be a character in it that Go escapes. Most have none, and to look at bytes is quick.
fn needs_escapes(json: &[u8]) -> bool {
    // To the end, whatever is found: so it is done many bytes at a time.
    json.iter().fold(false, |found, byte| found | matches!(byte, b'<' | b'>' | b'&' | 0xe2))
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
