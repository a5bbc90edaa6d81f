//! What may be wrong between clients and a tus server, in words.

use serde_json::{Value, json};

use super::{Proxy, remedies};

/// Something that is in the way of uploads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// The server's certificate is not trusted.
    Certificate,
    /// The URL leads elsewhere.
    Redirected,
    /// OPTIONS is answered by something in front of the server.
    OptionsAnswered,
    /// A method does not reach the server.
    MethodRefused(&'static str),
    /// HEAD reaches the server as another method.
    HeadRewritten,
    /// HEAD is answered out of a cache.
    HeadCached,
    /// A header of requests does not arrive.
    RequestStripped(&'static str),
    /// A header of answers does not arrive.
    AnswerStripped(&'static str),
    /// A header is lost on one of the two ways.
    HeaderLost(&'static str),
    /// `Location` names another scheme.
    LocationScheme,
    /// `Location` names another host.
    LocationHost,
    /// `Location` leads to another path.
    LocationPath,
    /// A request's body reaches the server when it is whole.
    RequestBuffered,
    /// The same, for bodies in chunks only.
    ChunksBuffered,
    /// Bodies in chunks are refused.
    ChunksRefused,
    /// Bodies beyond a size are refused.
    BodyCapped,
    /// A body that pauses is ended.
    SlowBodyEnded,
    /// `Expect: 100-continue` is refused.
    ExpectRefused,
    /// An upload whose client has gone stays busy.
    StaysLocked,
    /// Request heads have little room.
    HeadCapped,
    /// Errors are replaced by pages.
    ErrorsReplaced,
    /// A preflight is refused.
    PreflightRefused,
    /// A preflight does not allow what uploads need.
    PreflightNarrow,
    /// Pages of the origin are not let in.
    OriginRefused,
    /// `Access-Control-Allow-Origin` is there twice.
    CorsTwice,
    /// Errors lack what lets pages read them.
    CorsNotOnErrors,
    /// A header is hidden from pages.
    HeaderHidden(&'static str),
    /// Downloads are compressed.
    Compressed,
    /// A range is answered with all.
    RangeIgnored,
    /// A download is not what was uploaded.
    DownloadChanged,
    /// Each connection serves one request.
    NoKeepAlive,
    /// Requests are refused for being too many.
    RateLimited,
}

impl Problem {
    /// A name for programs, which stays.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Redirected => "redirected",
            Self::OptionsAnswered => "options-answered",
            Self::MethodRefused(_) => "method-refused",
            Self::HeadRewritten => "head-rewritten",
            Self::HeadCached => "head-cached",
            Self::RequestStripped(_) => "request-header-stripped",
            Self::AnswerStripped(_) => "response-header-stripped",
            Self::HeaderLost(_) => "header-lost",
            Self::LocationScheme => "location-scheme",
            Self::LocationHost => "location-host",
            Self::LocationPath => "location-path",
            Self::RequestBuffered => "request-buffered",
            Self::ChunksBuffered => "chunks-buffered",
            Self::ChunksRefused => "chunks-refused",
            Self::BodyCapped => "body-capped",
            Self::SlowBodyEnded => "slow-body-ended",
            Self::ExpectRefused => "expect-refused",
            Self::StaysLocked => "stays-locked",
            Self::HeadCapped => "head-capped",
            Self::ErrorsReplaced => "errors-replaced",
            Self::PreflightRefused => "preflight-refused",
            Self::PreflightNarrow => "preflight-narrow",
            Self::OriginRefused => "origin-refused",
            Self::CorsTwice => "cors-twice",
            Self::CorsNotOnErrors => "cors-not-on-errors",
            Self::HeaderHidden(_) => "header-hidden",
            Self::Compressed => "compressed",
            Self::RangeIgnored => "range-ignored",
            Self::DownloadChanged => "download-changed",
            Self::NoKeepAlive => "no-keep-alive",
            Self::RateLimited => "rate-limited",
        }
    }

    /// The header or method in question.
    #[must_use]
    pub fn subject(&self) -> Option<&'static str> {
        match self {
            Self::MethodRefused(name)
            | Self::RequestStripped(name)
            | Self::AnswerStripped(name)
            | Self::HeaderLost(name)
            | Self::HeaderHidden(name) => Some(name),
            _ => None,
        }
    }

    fn title(&self) -> &'static str {
        match self {
            Self::Certificate => "the certificate is not trusted",
            Self::Redirected => "the URL is redirected",
            Self::OptionsAnswered => "OPTIONS does not get through",
            Self::MethodRefused(_) => "NAME does not get through",
            Self::HeadRewritten => "HEAD reaches the server as another method",
            Self::HeadCached => "HEAD is answered from a cache",
            Self::RequestStripped(_) => "NAME does not reach the server",
            Self::AnswerStripped(_) => "NAME does not come back",
            Self::HeaderLost(_) => "NAME gets lost",
            Self::LocationScheme => "Location names another scheme",
            Self::LocationHost => "Location names another host",
            Self::LocationPath => "Location leads to another path",
            Self::RequestBuffered => "request bodies are buffered",
            Self::ChunksBuffered => "request bodies in chunks are buffered",
            Self::ChunksRefused => "request bodies in chunks are refused",
            Self::BodyCapped => "request bodies are capped",
            Self::SlowBodyEnded => "slow request bodies time out",
            Self::ExpectRefused => "Expect: 100-continue is refused",
            Self::StaysLocked => "an upload stays busy when its client has gone",
            Self::HeadCapped => "request headers are capped",
            Self::ErrorsReplaced => "error answers are replaced",
            Self::PreflightRefused => "a browser's preflight is refused",
            Self::PreflightNarrow => "a browser's preflight allows too little",
            Self::OriginRefused => "pages of this origin are not let in",
            Self::CorsTwice => "Access-Control-Allow-Origin is there twice",
            Self::CorsNotOnErrors => "error answers lack Access-Control-Allow-Origin",
            Self::HeaderHidden(_) => "NAME is hidden from pages",
            Self::Compressed => "downloads are compressed",
            Self::RangeIgnored => "ranges of downloads are ignored",
            Self::DownloadChanged => "a download is not what was uploaded",
            Self::NoKeepAlive => "connections are closed after each answer",
            Self::RateLimited => "requests are limited",
        }
    }

    /// What comes of it.
    fn consequence(&self) -> &'static str {
        match self {
            Self::Certificate => "No client connects.",
            Self::Redirected => "Browsers don't follow where a preflight was made, and a POST becomes a GET.",
            Self::OptionsAnswered => "Clients don't learn what the server can, and pages may not be let in.",
            Self::MethodRefused("DELETE") => "Clients can't delete what they have given up.",
            Self::MethodRefused("OPTIONS") => "Pages of other origins can't upload.",
            Self::MethodRefused(_) => "Uploads can't be made, sent or resumed.",
            Self::HeadRewritten => "Clients can't find out where an upload stands, and start anew.",
            Self::HeadCached => "Clients resume at an offset that was right once, and are refused.",
            Self::RequestStripped("Upload-Checksum") => "Damaged bytes are stored as if they were sound.",
            Self::RequestStripped("X-HTTP-Method-Override") => {
                "Clients behind networks that let only GET and POST through can't upload."
            }
            Self::RequestStripped(_) => "The server does not do what its clients ask for.",
            Self::AnswerStripped("Cache-Control") => "A cache on the way may answer HEAD with an offset of long ago.",
            Self::AnswerStripped(_) => "Clients stop, or start anew, for want of it.",
            Self::HeaderLost("Upload-Metadata") => "Names and types of files are lost.",
            Self::HeaderLost(_) => "Uploads are not what their clients asked for.",
            Self::LocationScheme => "Browsers refuse to go from https to http; others send in the clear.",
            Self::LocationHost => "Clients send the file to an address that they may not reach.",
            Self::LocationPath => "Clients send the file to a path that leads nowhere.",
            Self::RequestBuffered | Self::ChunksBuffered => {
                "What a client had sent when its connection broke is lost, so nothing resumes; progress is a fiction."
            }
            Self::ChunksRefused => "Clients that don't know the length beforehand, and tus-java-client, can't send.",
            Self::BodyCapped => "Clients that send a file in one request can't send a large one.",
            Self::SlowBodyEnded => "Clients on bad networks lose their connection again and again.",
            Self::ExpectRefused => "tus-java-client and curl, which ask before they send, are refused.",
            Self::StaysLocked => "A client that comes back waits, or gives up.",
            Self::HeadCapped => "Uploads with long names, much metadata or a large token are refused.",
            Self::ErrorsReplaced => "Clients can't tell one refusal from another, and do the wrong thing next.",
            Self::PreflightRefused | Self::PreflightNarrow | Self::OriginRefused => {
                "Pages of that origin can't upload."
            }
            Self::CorsTwice => "Browsers refuse such an answer.",
            Self::CorsNotOnErrors => {
                "Pages see a broken network instead of the error, and don't resume as they should."
            }
            Self::HeaderHidden(_) => "Clients in browsers stop for want of it.",
            Self::Compressed => "Lengths and ranges of downloads are lost.",
            Self::RangeIgnored => "Downloads can't be resumed, and videos not be searched.",
            Self::DownloadChanged => "Files are damaged.",
            Self::NoKeepAlive => "Each request of an upload pays for a new connection, and for TLS.",
            Self::RateLimited => "An upload takes several requests in a row.",
        }
    }

    fn named(&self, text: &str) -> String {
        self.subject().map_or_else(|| text.to_owned(), |name| text.replace("NAME", name))
    }

    /// The line that mends it.
    #[must_use]
    pub fn remedy(&self, proxy: Proxy) -> String {
        let [nginx, caddy, traefik, ingress] = remedies::lines(self);
        self.named(match proxy {
            Proxy::Nginx => nginx,
            Proxy::Caddy => caddy,
            Proxy::Traefik => traefik,
            Proxy::Ingress => ingress,
        })
    }
}

/// A problem, and how it showed.
#[derive(Debug, Clone)]
pub struct Finding {
    /// What is wrong.
    pub problem: Problem,
    /// What was sent.
    pub sent: String,
    /// What came back.
    pub got: String,
}

impl Finding {
    /// For people, with the lines for these proxies.
    pub(super) fn text(&self, proxies: &[Proxy]) -> String {
        let title = self.problem.named(self.problem.title());
        let mut text = format!(
            "* {title} ({})\n    sent: {}\n    got:  {}\n    {}\n",
            self.problem.code(),
            self.sent,
            self.got,
            self.problem.consequence()
        );
        for proxy in proxies {
            text.push_str(&format!("    {:<8} {}\n", proxy.name(), self.problem.remedy(*proxy)));
        }
        text
    }

    /// For programs.
    pub(super) fn json(&self, proxies: &[Proxy]) -> Value {
        let remedies = proxies.iter().map(|proxy| (proxy.name().to_owned(), self.problem.remedy(*proxy).into()));
        json!({
            "code": self.problem.code(),
            "subject": self.problem.subject(),
            "title": self.problem.named(self.problem.title()),
            "sent": self.sent,
            "got": self.got,
            "consequence": self.problem.consequence(),
            "remedies": serde_json::Map::from_iter(remedies),
        })
    }
}
