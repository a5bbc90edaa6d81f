//! Login and logout: the token for a cookie.

use std::time::{Duration, Instant};

use actix_web::{HttpRequest, HttpResponse, http::header};
use serde::Serialize;

use super::{
    Desk,
    answer::{self, Problem},
    query::Query,
    session,
};
use crate::server::Incoming;

/// The longest form that is read: the longest token with every character escaped, and its name.
const FORM_MAX_BYTES: usize = 4096;

/// How long a form may take to come.
const FORM_TIMEOUT: Duration = Duration::from_secs(10);

/// Whether one must log in, and has.
#[derive(Serialize)]
struct Session {
    needs_token: bool,
    is_admitted: bool,
}

const FORM: &str = "application/x-www-form-urlencoded";

/// Reads the form in a request's body.
pub(super) async fn read_form(request: &HttpRequest, incoming: Option<Incoming>) -> Result<Query, Problem> {
    let media_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = media_type.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case(FORM) {
        return Err(Problem::new(415, "unsupported_type", format!("the body must be {FORM}")));
    }
    let Some(mut incoming) = incoming else { return Err(Problem::bad_request("there is no form")) };
    let mut form = Vec::new();
    let read = async {
        while let Some(piece) = incoming.read(FORM_MAX_BYTES).await? {
            form.extend_from_slice(&piece);
            if form.len() > FORM_MAX_BYTES {
                return Ok(false);
            }
        }
        Ok::<bool, crate::server::BodyError>(true)
    };
    match tokio::time::timeout(FORM_TIMEOUT, read).await {
        Ok(Ok(true)) => {}
        Ok(Ok(false)) => return Err(Problem::new(413, "too_large", "the body is too large")),
        Ok(Err(_)) | Err(_) => return Err(Problem::bad_request("the body did not come whole")),
    }
    Query::parse(std::str::from_utf8(&form).map_err(|_| Problem::bad_request("the form can't be read"))?)
}

impl Desk {
    /// Whether who asks must log in first. The page looks here at its start, so that it need not be refused to find out.
    pub(super) fn session(&self, request: &HttpRequest, cookies: &[&str]) -> HttpResponse {
        let access = &self.site.config.borrow().access;
        let claims = self.claims(request, cookies, access.token());
        let is_admitted = access.check_right(&claims, false).is_ok();
        answer::json(200, &Session { needs_token: access.token().is_some(), is_admitted })
    }

    /// Opens a session for who shows the token.
    pub(super) fn log_in(&self, mut form: Query, is_secure: bool) -> Result<HttpResponse, Problem> {
        let given = form.take("token").filter(|given| !given.is_empty());
        let given = given.ok_or_else(|| Problem::bad_request("token: is needed"))?;
        form.end()?;
        let access = &self.site.config.borrow().access;
        if !access.is_token(given.as_bytes()) {
            return Err(Problem::unauthorized("the token is wrong"));
        }
        let mut response = answer::empty();
        // Where none is needed there is no session to open.
        if let Some(token) = access.token() {
            let value = self.sessions.borrow_mut().open(token, Instant::now());
            put(&mut response, &session::set(&value, is_secure));
        }
        Ok(response)
    }

    /// Ends the session of a cookie, if there is one.
    pub(super) fn log_out(&self, cookies: &[&str]) -> HttpResponse {
        self.sessions.borrow_mut().close(cookies);
        let mut response = answer::empty();
        put(&mut response, &session::unset());
        response
    }
}

fn put(response: &mut HttpResponse, cookie: &str) {
    if let Ok(value) = header::HeaderValue::from_str(cookie) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
}
