//! One event on its way to the application, in tusd's words.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Info, Kind};

/// What happens to an upload. The names are those that stand in requests, settings and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// An upload is asked for: may be refused or changed.
    PreCreate,
    /// An upload was created.
    PostCreate,
    /// Bytes have come in: may be stopped.
    PostReceive,
    /// All bytes are stored; the client waits for what the application answers.
    PreFinish,
    /// The upload is finished.
    PostFinish,
    /// A client wants to delete: may be refused.
    PreTerminate,
    /// The upload was deleted at a client's, an operator's or a hook's wish.
    PostTerminate,
    /// A request wants to look at, go on with, read or delete an upload: may be refused. wharf's own.
    PreAccess,
    /// A body ended before its end. wharf's own.
    PostInterrupt,
    /// The upload's time ran out, and it was deleted. wharf's own.
    PostExpire,
}

impl EventKind {
    /// All kinds, tusd's first.
    pub const ALL: [Self; 10] = [
        Self::PreCreate,
        Self::PostCreate,
        Self::PostReceive,
        Self::PreFinish,
        Self::PostFinish,
        Self::PreTerminate,
        Self::PostTerminate,
        Self::PreAccess,
        Self::PostInterrupt,
        Self::PostExpire,
    ];

    /// The kind's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PreCreate => "pre-create",
            Self::PostCreate => "post-create",
            Self::PostReceive => "post-receive",
            Self::PreFinish => "pre-finish",
            Self::PostFinish => "post-finish",
            Self::PreTerminate => "pre-terminate",
            Self::PostTerminate => "post-terminate",
            Self::PreAccess => "pre-access",
            Self::PostInterrupt => "post-interrupt",
            Self::PostExpire => "post-expire",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether a request waits for the answer.
    #[must_use]
    pub fn blocks(self) -> bool {
        matches!(self, Self::PreCreate | Self::PreFinish | Self::PreTerminate | Self::PreAccess)
    }
}

/// The request that an event comes from, told to the application as it came. Nothing here understands it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Caller {
    /// The request's method.
    pub method: String,
    /// Its path and query.
    #[serde(rename = "URI")]
    pub uri: String,
    /// The other end of its connection.
    pub remote_addr: String,
    /// Its fields, by their names as Go writes them (`X-Request-Id`), each with all its lines; `Host` is among them.
    pub header: BTreeMap<String, Vec<String>>,
}

/// An upload as the application is told of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct UploadFacts {
    /// Its id; empty before it is created.
    #[serde(rename = "ID")]
    pub id: String,
    /// Its length in bytes; 0 while that is not known.
    pub size: u64,
    /// Whether the length is not known.
    pub size_is_deferred: bool,
    /// How many bytes have come.
    pub offset: u64,
    /// The client's metadata.
    pub meta_data: BTreeMap<String, String>,
    /// Whether it is a part of a final upload, or means to be one.
    pub is_partial: bool,
    /// Whether it is put together from others.
    pub is_final: bool,
    /// Which ones, in order.
    pub partial_uploads: Option<Vec<String>>,
    /// Where it lies; nothing before it is created.
    pub storage: Option<BTreeMap<String, String>>,
}

impl UploadFacts {
    /// An upload with so many bytes.
    pub(crate) fn new(info: &Info, offset: u64, storage: Option<BTreeMap<String, String>>) -> Self {
        let partial_uploads = match &info.kind {
            Kind::Final { partials } => Some(partials.iter().map(ToString::to_string).collect()),
            Kind::Single | Kind::Partial => None,
        };
        Self {
            id: info.id.to_string(),
            size: info.length.unwrap_or(0),
            size_is_deferred: info.length.is_none(),
            offset,
            meta_data: info.metadata.clone(),
            is_partial: info.kind == Kind::Partial,
            is_final: info.is_final(),
            partial_uploads,
            storage,
        }
    }
}

/// What happened, to which upload, by which request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The upload as it was then.
    #[serde(rename = "Upload", default)]
    pub upload: UploadFacts,
    /// The request.
    #[serde(rename = "HTTPRequest", default, serialize_with = "write_shared", deserialize_with = "read_shared")]
    pub caller: Arc<Caller>,
    /// Why, in the events that are wharf's own.
    #[serde(rename = "Cause", default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

fn write_shared<S: Serializer>(caller: &Arc<Caller>, serializer: S) -> Result<S::Ok, S::Error> {
    caller.as_ref().serialize(serializer)
}

fn read_shared<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<Caller>, D::Error> {
    Caller::deserialize(deserializer).map(Arc::new)
}

/// What a hook is called with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The kind of the event.
    #[serde(rename = "Type")]
    pub kind: EventKind,
    /// The event.
    #[serde(rename = "Event")]
    pub event: Event,
}

/// One event on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Names the event, in every try and after a restart: whoever gets it twice knows it by that.
    pub event_id: String,
    /// What the hook is called with.
    pub call: Call,
    /// The same as JSON, written down once.
    pub json: Bytes,
}

impl Notice {
    /// A new event.
    ///
    /// # Errors
    /// When there is no randomness to be had, or it can't be written down.
    pub fn new(call: Call) -> Result<Self, Unwritable> {
        let event_id = event_id(SystemTime::now())?;
        let json = serde_json::to_vec(&call)?.into();
        Ok(Self { event_id, call, json })
    }

    /// An event that was written down before.
    ///
    /// # Errors
    /// When it is none.
    pub fn restore(event_id: String, json: Bytes) -> Result<Self, Unwritable> {
        let call = serde_json::from_slice(&json)?;
        Ok(Self { event_id, call, json })
    }

    /// The kind of the event.
    #[must_use]
    pub fn kind(&self) -> EventKind {
        self.call.kind
    }
}

/// A name for an event that happens now: those of later events come later in order, as far as the clock tells.
fn event_id(now: SystemTime) -> Result<String, Unwritable> {
    let mut random = [0; 10];
    getrandom::fill(&mut random)?;
    let millis = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let random = random.iter().map(|byte| format!("{byte:02x}"));
    Ok(random.fold(format!("{:012x}", millis & 0xffff_ffff_ffff), |id, byte| id + &byte))
}

/// When an event of this name happened.
pub(super) fn happened(event_id: &str) -> Option<SystemTime> {
    let millis = u64::from_str_radix(event_id.get(..12)?, 16).ok()?;
    Some(UNIX_EPOCH + Duration::from_millis(millis))
}

/// Why there is no such event.
#[derive(Debug, thiserror::Error)]
pub enum Unwritable {
    /// It is no JSON, or not of this form.
    #[error("not an event: {0}")]
    Json(#[from] serde_json::Error),
    /// No name could be made for it.
    #[error("no random numbers: {0}")]
    Random(#[from] getrandom::Error),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::UploadId;

    fn finished() -> Call {
        let info = Info {
            id: UploadId::parse("a1b2").unwrap(),
            length: Some(5),
            metadata: [("filename".to_owned(), "a.txt".to_owned())].into(),
            kind: Kind::Single,
            place: None,
            own: None,
        };
        let storage = [("InfoPath", "/d/a1b2.info"), ("Path", "/d/a1b2"), ("Type", "filestore")];
        let storage = storage.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let caller = Caller {
            method: "PATCH".to_owned(),
            uri: "/files/a1b2".to_owned(),
            remote_addr: "10.0.0.7:55492".to_owned(),
            header: [("Host".to_owned(), vec!["up.example".to_owned()])].into(),
        };
        let event = Event { upload: UploadFacts::new(&info, 5, Some(storage)), caller: Arc::new(caller), cause: None };
        Call { kind: EventKind::PostFinish, event }
    }

    #[test]
    fn the_json_is_that_of_tusd() {
        let notice = Notice::new(finished()).unwrap();
        let expected = r#"{"Type":"post-finish","Event":{"Upload":{"ID":"a1b2","Size":5,"SizeIsDeferred":false,"Offset":5,"MetaData":{"filename":"a.txt"},"IsPartial":false,"IsFinal":false,"PartialUploads":null,"Storage":{"InfoPath":"/d/a1b2.info","Path":"/d/a1b2","Type":"filestore"}},"HTTPRequest":{"Method":"PATCH","URI":"/files/a1b2","RemoteAddr":"10.0.0.7:55492","Header":{"Host":["up.example"]}}}}"#;
        assert_eq!(std::str::from_utf8(&notice.json).unwrap(), expected);
    }

    #[test]
    fn an_event_that_was_written_down_is_the_same_again() {
        let notice = Notice::new(finished()).unwrap();
        assert_eq!(notice.event_id.len(), 32);
        assert_eq!(Notice::restore(notice.event_id.clone(), notice.json.clone()).unwrap(), notice);
        assert!(Notice::restore(String::new(), Bytes::from_static(b"{\"Type\":\"none\"}")).is_err());
    }

    #[test]
    fn names_of_events_tell_when_they_happened_and_are_in_that_order() {
        let then = UNIX_EPOCH + Duration::from_millis(1_795_800_000_123);
        let [first, second] = [then, then + Duration::from_millis(1)].map(|at| event_id(at).unwrap());
        assert_eq!((first.len(), happened(&first)), (32, Some(then)));
        assert!(first < second);
        assert_eq!(happened("short"), None);
    }

    #[test]
    fn every_kind_is_known_by_its_name() {
        for kind in EventKind::ALL {
            assert_eq!(EventKind::of_name(kind.name()), Some(kind));
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{}\"", kind.name()));
        }
        assert_eq!(EventKind::of_name("pre-created"), None);
    }
}
