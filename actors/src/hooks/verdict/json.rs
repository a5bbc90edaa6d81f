//! Verdicts in JSON, as tusd's hooks write them: names in any case, unknown ones passed over, `null` like nothing.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Changes, HookResponse, InvalidVerdict, Verdict};

impl Verdict {
    /// Reads an answer in JSON. An answer of nothing but white space is not one, and for the caller to judge.
    ///
    /// # Errors
    /// When it is no JSON, or a field that is known has another type or a value that can't be.
    pub fn from_json(json: &[u8]) -> Result<Self, InvalidVerdict> {
        let value = serde_json::from_slice(json)
            .map_err(|error| InvalidVerdict::new("the answer", format!("is no JSON: {error}")))?;
        let mut top = Object::of(String::new(), value)?;
        Ok(Self {
            response: response(top.object("HTTPResponse")?)?,
            reject_upload: top.flag("RejectUpload")?,
            reject_termination: top.flag("RejectTermination")?,
            reject_access: top.flag("RejectAccess")?,
            stop_upload: top.flag("StopUpload")?,
            changes: changes(top.object("ChangeFileInfo")?)?,
            cache_secs: top.seconds("CacheSeconds")?,
        })
    }
}

fn response(mut object: Object) -> Result<HookResponse, InvalidVerdict> {
    let status = object.number("StatusCode")?.unwrap_or(0);
    let body = object.text("Body")?.unwrap_or_default();
    HookResponse::checked(status, body, object.texts("Header")?.unwrap_or_default())
}

fn changes(mut object: Object) -> Result<Changes, InvalidVerdict> {
    Ok(Changes {
        id: object.text("ID")?.filter(|id| !id.is_empty()),
        metadata: object.texts("MetaData")?,
        storage: object.texts("Storage")?,
    })
}

/// An object, and where it stands in the answer.
struct Object {
    place: String,
    members: Map<String, Value>,
}

impl Object {
    fn of(place: String, value: Value) -> Result<Self, InvalidVerdict> {
        match value {
            Value::Object(members) => Ok(Self { place, members }),
            Value::Null => Ok(Self { place, members: Map::new() }),
            _ if place.is_empty() => Err(InvalidVerdict::new("the answer", "must be an object")),
            _ => Err(InvalidVerdict::new(place, "must be an object")),
        }
    }

    /// A member's full name and its value. One that stands there in two spellings has no value to go by.
    fn take(&mut self, name: &str) -> Result<(String, Value), InvalidVerdict> {
        let place = if self.place.is_empty() { name.to_owned() } else { format!("{}.{name}", self.place) };
        let mut found = self.members.iter_mut().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let value = found.next().map(|(_, value)| value.take()).unwrap_or_default();
        match found.next() {
            Some(_) => Err(InvalidVerdict::new(place, "is there twice, in different spellings")),
            None => Ok((place, value)),
        }
    }

    fn object(&mut self, name: &str) -> Result<Self, InvalidVerdict> {
        let (place, value) = self.take(name)?;
        Self::of(place, value)
    }

    fn flag(&mut self, name: &str) -> Result<bool, InvalidVerdict> {
        match self.take(name)? {
            (_, Value::Bool(flag)) => Ok(flag),
            (_, Value::Null) => Ok(false),
            (place, _) => Err(InvalidVerdict::new(place, "must be true or false")),
        }
    }

    fn number(&mut self, name: &str) -> Result<Option<i64>, InvalidVerdict> {
        match self.take(name)? {
            (_, Value::Null) => Ok(None),
            (place, value) => match value.as_i64() {
                Some(number) => Ok(Some(number)),
                None => Err(InvalidVerdict::new(place, "must be a whole number")),
            },
        }
    }

    fn seconds(&mut self, name: &str) -> Result<u64, InvalidVerdict> {
        let seconds = self.number(name)?.unwrap_or(0);
        u64::try_from(seconds).map_err(|_| InvalidVerdict::new(name, "must not be negative"))
    }

    fn text(&mut self, name: &str) -> Result<Option<String>, InvalidVerdict> {
        let (place, value) = self.take(name)?;
        text(place, value)
    }

    fn texts(&mut self, name: &str) -> Result<Option<BTreeMap<String, String>>, InvalidVerdict> {
        let (place, value) = self.take(name)?;
        if value.is_null() {
            return Ok(None);
        }
        let members = Self::of(place.clone(), value)?.members.into_iter();
        let texts = members.filter_map(|(name, value)| {
            let text = text(format!("{place}[{name:?}]"), value).transpose()?;
            Some(text.map(|text| (name, text)))
        });
        texts.collect::<Result<_, _>>().map(Some)
    }
}

fn text(place: String, value: Value) -> Result<Option<String>, InvalidVerdict> {
    match value {
        Value::String(text) => Ok(Some(text)),
        Value::Null => Ok(None),
        _ => Err(InvalidVerdict::new(place, "must be a text")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(json: &str) -> Result<Verdict, InvalidVerdict> {
        Verdict::from_json(json.as_bytes())
    }

    fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn all_that_a_hook_can_say() {
        let verdict = read(
            r#"{"HTTPResponse":{"StatusCode":418,"Body":"tea","Header":{"X-Pot":"1"}},"RejectUpload":true,
            "RejectTermination":true,"RejectAccess":true,"StopUpload":true,"CacheSeconds":30,
            "ChangeFileInfo":{"ID":"mine","MetaData":{"a":"b"},"Storage":{"Path":"p/q"}}}"#,
        );
        let expected = Verdict {
            response: HookResponse { status: 418, body: "tea".into(), headers: map(&[("X-Pot", "1")]) },
            reject_upload: true,
            reject_termination: true,
            reject_access: true,
            stop_upload: true,
            changes: Changes {
                id: Some("mine".into()),
                metadata: Some(map(&[("a", "b")])),
                storage: Some(map(&[("Path", "p/q")])),
            },
            cache_secs: 30,
        };
        assert_eq!(verdict, Ok(expected));
    }

    #[test]
    fn names_are_known_in_any_case_and_unknown_ones_passed_over() {
        let verdict = read(r#"{"httpresponse":{"statuscode":200},"REJECTUPLOAD":true,"Reject":7,"x":{"y":[]}}"#);
        let verdict = verdict.unwrap();
        assert_eq!((verdict.response.status, verdict.reject_upload), (200, true));
    }

    #[test]
    fn null_says_nothing() {
        let silent = r#"{"HTTPResponse":null,"RejectUpload":null,"ChangeFileInfo":null,"CacheSeconds":null}"#;
        let inside = r#"{"HTTPResponse":{"StatusCode":null,"Body":null,"Header":{"X-A":null}},
            "ChangeFileInfo":{"ID":null,"MetaData":null,"Storage":null}}"#;
        for json in ["null", "{}", " {}\n", silent, inside, r#"{"ChangeFileInfo":{"ID":""}}"#] {
            assert_eq!(read(json), Ok(Verdict::default()), "{json}");
        }
        let cleared = read(r#"{"ChangeFileInfo":{"MetaData":{}}}"#).unwrap();
        assert_eq!(cleared.changes.metadata, Some(BTreeMap::new()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (json, field) in [
            ("", "the answer"),
            ("yes", "the answer"),
            ("[]", "the answer"),
            ("{} {}", "the answer"),
            ("\"{}\"", "the answer"),
            (r#"{"RejectUpload":"true"}"#, "RejectUpload"),
            (r#"{"RejectUpload":1}"#, "RejectUpload"),
            (r#"{"StopUpload":{}}"#, "StopUpload"),
            (r#"{"RejectUpload":true,"rejectUpload":false}"#, "RejectUpload"),
            (r#"{"CacheSeconds":"5"}"#, "CacheSeconds"),
            (r#"{"CacheSeconds":-5}"#, "CacheSeconds"),
            (r#"{"CacheSeconds":1.5}"#, "CacheSeconds"),
            (r#"{"HTTPResponse":[]}"#, "HTTPResponse"),
            (r#"{"HTTPResponse":{"StatusCode":"200"}}"#, "HTTPResponse.StatusCode"),
            (r#"{"HTTPResponse":{"StatusCode":200.0}}"#, "HTTPResponse.StatusCode"),
            (r#"{"HTTPResponse":{"StatusCode":42}}"#, "HTTPResponse.StatusCode"),
            (r#"{"HTTPResponse":{"Body":{}}}"#, "HTTPResponse.Body"),
            (r#"{"HTTPResponse":{"Header":["X-A"]}}"#, "HTTPResponse.Header"),
            (r#"{"HTTPResponse":{"Header":{"X-A":["1"]}}}"#, "HTTPResponse.Header[\"X-A\"]"),
            (r#"{"HTTPResponse":{"Header":{"X-A":"1\r\n2"}}}"#, "HTTPResponse.Header[\"X-A\"]"),
            (r#"{"ChangeFileInfo":{"ID":5}}"#, "ChangeFileInfo.ID"),
            (r#"{"ChangeFileInfo":{"MetaData":{"a":1}}}"#, "ChangeFileInfo.MetaData[\"a\"]"),
            (r#"{"ChangeFileInfo":{"Storage":"x"}}"#, "ChangeFileInfo.Storage"),
        ] {
            assert_eq!(read(json).expect_err(json).field, field, "{json}");
        }
        assert_eq!(read(&"[".repeat(100_000)).unwrap_err().field, "the answer");
        assert!(Verdict::from_json(b"{\"a\":\"\xff\"}").is_err());
    }

    proptest! {
        #[test]
        fn no_answer_does_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200), name in "\\PC*", value in "\\PC*") {
            let _ = Verdict::from_json(&bytes);
            let header: Map<String, Value> = [(name, Value::String(value))].into_iter().collect();
            let json = serde_json::json!({"HTTPResponse": {"Header": header}}).to_string();
            if let Ok(verdict) = read(&json) {
                for (name, value) in &verdict.response.headers {
                    prop_assert!(hyper::header::HeaderName::from_bytes(name.as_bytes()).is_ok(), "{name:?}");
                    prop_assert!(hyper::header::HeaderValue::from_bytes(value.as_bytes()).is_ok(), "{value:?}");
                }
            }
        }
    }
}
