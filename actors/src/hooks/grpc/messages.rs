//! The messages of `hooks.proto`, and what they mean here.

use std::collections::BTreeMap;

use crate::hooks::{Call, Caller, Changes, HookResponse, InvalidVerdict, UploadFacts, Verdict};

type Texts = BTreeMap<String, String>;

/// What a hook is called with.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct HookRequest {
    #[prost(string, tag = "1")]
    pub(super) kind: String,
    #[prost(message, optional, tag = "2")]
    pub(super) event: Option<Event>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Event {
    #[prost(message, optional, tag = "1")]
    pub(super) upload: Option<FileInfo>,
    #[prost(message, optional, tag = "2")]
    pub(super) http_request: Option<HttpRequest>,
    #[prost(string, tag = "101")]
    pub(super) cause: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct FileInfo {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(int64, tag = "2")]
    pub(super) size: i64,
    #[prost(bool, tag = "3")]
    pub(super) size_is_deferred: bool,
    #[prost(int64, tag = "4")]
    pub(super) offset: i64,
    #[prost(btree_map = "string, string", tag = "5")]
    pub(super) meta_data: Texts,
    #[prost(bool, tag = "6")]
    pub(super) is_partial: bool,
    #[prost(bool, tag = "7")]
    pub(super) is_final: bool,
    #[prost(string, repeated, tag = "8")]
    pub(super) partial_uploads: Vec<String>,
    #[prost(btree_map = "string, string", tag = "9")]
    pub(super) storage: Texts,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct HttpRequest {
    #[prost(string, tag = "1")]
    pub(super) method: String,
    #[prost(string, tag = "2")]
    pub(super) uri: String,
    #[prost(string, tag = "3")]
    pub(super) remote_addr: String,
    #[prost(btree_map = "string, string", tag = "4")]
    pub(super) header: Texts,
}

/// What a hook answers.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Answer {
    #[prost(message, optional, tag = "1")]
    pub(super) http_response: Option<HttpResponse>,
    #[prost(bool, tag = "2")]
    pub(super) reject_upload: bool,
    #[prost(bool, tag = "3")]
    pub(super) stop_upload: bool,
    #[prost(message, optional, tag = "4")]
    pub(super) change_file_info: Option<FileInfoChanges>,
    #[prost(bool, tag = "101")]
    pub(super) reject_termination: bool,
    #[prost(bool, tag = "102")]
    pub(super) reject_access: bool,
    #[prost(uint64, tag = "103")]
    pub(super) cache_seconds: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct HttpResponse {
    #[prost(int64, tag = "1")]
    pub(super) status_code: i64,
    #[prost(btree_map = "string, string", tag = "2")]
    pub(super) header: Texts,
    #[prost(string, tag = "3")]
    pub(super) body: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct FileInfoChanges {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(btree_map = "string, string", tag = "2")]
    pub(super) meta_data: Texts,
    #[prost(btree_map = "string, string", tag = "3")]
    pub(super) storage: Texts,
}

impl HookRequest {
    pub(super) fn of(call: &Call) -> Self {
        let event = Event {
            upload: Some(FileInfo::of(&call.event.upload)),
            http_request: Some(HttpRequest::of(&call.event.caller)),
            cause: call.event.cause.clone().unwrap_or_default(),
        };
        Self { kind: call.kind.name().to_owned(), event: Some(event) }
    }
}

impl FileInfo {
    fn of(upload: &UploadFacts) -> Self {
        let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        Self {
            id: upload.id.clone(),
            size: bytes(upload.size),
            size_is_deferred: upload.size_is_deferred,
            offset: bytes(upload.offset),
            meta_data: upload.meta_data.clone(),
            is_partial: upload.is_partial,
            is_final: upload.is_final,
            partial_uploads: upload.partial_uploads.clone().unwrap_or_default(),
            storage: upload.storage.clone().unwrap_or_default(),
        }
    }
}

impl HttpRequest {
    fn of(caller: &Caller) -> Self {
        let first = |(name, lines): (&String, &Vec<String>)| Some((name.clone(), lines.first()?.clone()));
        Self {
            method: caller.method.clone(),
            uri: caller.uri.clone(),
            remote_addr: caller.remote_addr.clone(),
            header: caller.header.iter().filter_map(first).collect(),
        }
    }
}

impl Answer {
    /// What it says. A map that is empty can't be told from one that is not there.
    pub(super) fn verdict(self) -> Result<Verdict, InvalidVerdict> {
        let response = self.http_response.unwrap_or_default();
        let changes = self.change_file_info.unwrap_or_default();
        let said = |texts: Texts| Some(texts).filter(|texts| !texts.is_empty());
        Ok(Verdict {
            response: HookResponse::checked(response.status_code, response.body, response.header)?,
            reject_upload: self.reject_upload,
            reject_termination: self.reject_termination,
            reject_access: self.reject_access,
            stop_upload: self.stop_upload,
            changes: Changes {
                id: Some(changes.id).filter(|id| !id.is_empty()),
                metadata: said(changes.meta_data),
                storage: said(changes.storage),
            },
            cache_secs: self.cache_seconds,
        })
    }
}
