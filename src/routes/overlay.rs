//! What the application's hooks lay over an answer.

use wharf_actors::{Consulted, hooks::HookResponse};

use super::{
    Reply,
    exchange::{Body, Over},
};
use crate::{problem, protocol::Refusal};

/// What wharf alone may say of a creation: tusd's hooks can't change it either.
const OF_CREATION: [&str; 2] = ["location", "upload-offset"];

impl Reply {
    /// With the answer that a hook gave: its status if it names one, its body unless that is empty, its fields in the place
    /// of those of the same name. An answer whose status allows no body gets none.
    pub(super) fn overlaid(mut self, response: Option<&HookResponse>) -> Self {
        let Some(response) = response else { return self };
        if response.status >= 200 {
            self.status = response.status;
        }
        let may_have_body = !matches!(self.status, 204 | 205 | 304);
        if may_have_body && !response.body.is_empty() {
            self.headers.retain(|(name, _)| *name != "content-length");
            if !self.headers.iter().any(|(name, _)| *name == "content-type") {
                self.headers.push(("content-type", "text/plain; charset=utf-8".into()));
            }
            self.body = Body::Text(response.body.clone());
        } else if !may_have_body {
            self.body = Body::Empty;
        }
        let laid = response.headers.iter().map(|(name, value)| Over { name: name.clone(), value: value.clone() });
        self.over.extend(laid);
        self
    }

    /// The same for the answer of pre-create, which changes nothing of what only wharf knows.
    pub(super) fn overlaid_at_creation(self, response: Option<&HookResponse>) -> Self {
        let mut reply = self.overlaid(response);
        reply.over.retain(|over| !OF_CREATION.iter().any(|known| over.name.eq_ignore_ascii_case(known)));
        reply
    }

    /// What a request is answered that has finished an upload: with what pre-finish says, or that it failed.
    pub(super) fn consulted(self, consulted: Option<&Consulted>) -> Self {
        match consulted {
            None => self,
            Some(Consulted::Answered(response)) => self.overlaid(Some(response)),
            Some(Consulted::Failed(error)) => {
                let mut failed = Self::refusal(Refusal::Internal).overlaid(Some(&problem::hook_failed(error)));
                failed.received = self.received;
                // Of a creation the upload is there all the same, and its client must know where.
                failed.headers.extend(self.headers.into_iter().filter(|(name, _)| *name == "location"));
                failed
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, body: &str, headers: &[(&str, &str)]) -> HookResponse {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        HookResponse { status, body: body.to_owned(), headers }
    }

    fn text(reply: &Reply) -> &str {
        match &reply.body {
            Body::Text(text) => text,
            _ => "",
        }
    }

    #[test]
    fn what_a_hook_leaves_out_stays() {
        let reply = Reply::refusal(Refusal::UploadRejected).overlaid(Some(&response(0, "", &[("X-Why", "no")])));
        assert_eq!((reply.status, text(&reply)), (400, Refusal::UploadRejected.body().as_str()));
        assert_eq!(reply.over.len(), 1);
        let reply = reply.overlaid(Some(&response(451, "law", &[])));
        assert_eq!((reply.status, text(&reply), reply.over.len()), (451, "law", 1));
    }

    #[test]
    fn an_answer_that_may_have_no_body_gets_none() {
        let finished = || Reply::new(204, vec![("upload-offset", "5".into())]);
        assert_eq!(text(&finished().overlaid(Some(&response(0, "more", &[])))), "");
        let told = finished().overlaid(Some(&response(200, "more", &[])));
        assert_eq!((told.status, text(&told)), (200, "more"));
        assert!(told.headers.iter().any(|(name, _)| *name == "content-type"));
    }

    #[test]
    fn a_hook_can_not_say_where_a_new_upload_is() {
        let reply = Reply::new(201, Vec::new());
        let over = response(0, "", &[("LOCATION", "/x"), ("Upload-Offset", "9"), ("X-Id", "7")]);
        let names: Vec<_> = reply.overlaid_at_creation(Some(&over)).over.into_iter().map(|over| over.name).collect();
        assert_eq!(names, ["X-Id"]);
    }
}
