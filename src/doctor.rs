//! `wharf doctor URL`: drives real uploads through whatever stands in front of a tus server, and names what buffers, caps,
//! times out, rewrites or strips, with the line that mends it.
//!
//! It knows nothing of the server behind but the protocol, so it examines any tus server. What it creates it deletes, as far
//! as the server lets it. Whatever comes back is read within limits of size and time, and escaped before it is shown.

use std::{io::Write, path::PathBuf, process::ExitCode, time::Duration};

mod answer;
mod checks;
mod examination;
mod finding;
mod remedies;
mod report;
mod tls;
mod url;
mod wire;

pub use finding::{Finding, Problem};
pub use report::Report;
pub use wire::Failure;

/// What is examined, and how.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Where uploads are created, as clients reach it: https://example.com/files/
    #[arg(value_name = "URL")]
    pub url: String,
    /// Send this header with each request; repeat it for more
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    pub headers: Vec<(String, String)>,
    /// Whose pages must be let in, such as https://app.example.com [otherwise: tries the URL's own]
    #[arg(long, value_name = "ORIGIN", value_parser = field)]
    pub origin: Option<String>,
    /// How long the slow body is silent, in seconds; 70 finds time-outs of a minute
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub pause: u64,
    /// How long an answer may take, in seconds; all of it may take 20 times that, and the pauses
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub timeout: u64,
    /// PEM file with authorities to trust besides the system's
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Show the lines for this proxy only
    #[arg(long = "for", value_name = "PROXY")]
    pub proxy: Option<Proxy>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

impl Options {
    fn patience(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }

    fn pause(&self) -> Duration {
        Duration::from_secs(self.pause)
    }

    fn proxies(&self) -> Vec<Proxy> {
        self.proxy.map_or_else(|| Proxy::ALL.to_vec(), |proxy| vec![proxy])
    }
}

/// What may stand in front of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Proxy {
    /// nginx.
    Nginx,
    /// Caddy.
    Caddy,
    /// Traefik.
    Traefik,
    /// ingress-nginx, by its annotations and its `ConfigMap`.
    Ingress,
}

impl Proxy {
    const ALL: [Self; 4] = [Self::Nginx, Self::Caddy, Self::Traefik, Self::Ingress];

    fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Caddy => "caddy",
            Self::Traefik => "traefik",
            Self::Ingress => "ingress",
        }
    }
}

/// Why nothing could be examined.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// The URL is none.
    #[error("{0} is not a URL such as https://example.com/files/")]
    Url(String),
    /// There is nobody to trust.
    #[error("no certificates to trust: {0}")]
    Trust(String),
    /// Nobody answers.
    #[error("nobody answers at {url}: {cause}")]
    Unreachable {
        /// The URL.
        url: String,
        /// Why.
        cause: Failure,
    },
    /// Somebody answers, and speaks no tus.
    #[error("no tus server answers at {url}: OPTIONS gets {options}; POST gets {post}")]
    NoTus {
        /// The URL.
        url: String,
        /// What came back.
        options: String,
        /// What came back.
        post: String,
    },
    /// The server wants to know who asks.
    #[error("{url} answers {answer}; give what it wants with --header 'Authorization: ...'")]
    Forbidden {
        /// The URL.
        url: String,
        /// What came back.
        answer: String,
    },
}

/// Examines a server as clients reach it, and prints what was found.
///
/// Ends with 0 when there is nothing, with 1 when there is something, and with 2 when it could not be examined.
pub async fn run(options: &Options) -> ExitCode {
    match examination::examine(options).await {
        Ok(report) => {
            let text = if options.json { report.json(&options.proxies()) } else { report.text(&options.proxies()) };
            // Nobody may want to read it; the status says what was found.
            let _ = std::io::stdout().write_all(text.as_bytes());
            report.status()
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "wharf doctor: {error}");
            ExitCode::from(2)
        }
    }
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("must be NAME: VALUE, such as Authorization: Bearer ...")?;
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(format!("{name:?} can't be the name of a header"));
    }
    Ok((name.to_owned(), field(value.trim())?))
}

fn field(value: &str) -> Result<String, String> {
    let is_fit = value.bytes().all(|byte| byte == b'\t' || (0x20..0x7f).contains(&byte));
    if is_fit { Ok(value.to_owned()) } else { Err("may hold letters of ASCII only".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_would_end_a_line_are_refused() {
        assert_eq!(header("Authorization: Bearer a:b"), Ok(("Authorization".to_owned(), "Bearer a:b".to_owned())));
        for wrong in ["Authorization", ": x", "a b: c", "a: b\r\nc: d", "a: \u{e9}"] {
            assert!(header(wrong).is_err(), "{wrong:?} was taken");
        }
    }

    #[test]
    fn every_problem_has_lines_of_its_own() {
        let all = [
            Problem::Certificate,
            Problem::Redirected,
            Problem::OptionsAnswered,
            Problem::MethodRefused("PATCH"),
            Problem::HeadRewritten,
            Problem::HeadCached,
            Problem::RequestStripped("Upload-Checksum"),
            Problem::AnswerStripped("Location"),
            Problem::HeaderLost("Upload-Metadata"),
            Problem::LocationScheme,
            Problem::LocationHost,
            Problem::LocationPath,
            Problem::RequestBuffered,
            Problem::ChunksBuffered,
            Problem::ChunksRefused,
            Problem::BodyCapped,
            Problem::SlowBodyEnded,
            Problem::ExpectRefused,
            Problem::StaysLocked,
            Problem::HeadCapped,
            Problem::ErrorsReplaced,
            Problem::PreflightRefused,
            Problem::PreflightNarrow,
            Problem::OriginRefused,
            Problem::CorsTwice,
            Problem::CorsNotOnErrors,
            Problem::HeaderHidden("Location"),
            Problem::Compressed,
            Problem::RangeIgnored,
            Problem::NoKeepAlive,
            Problem::RateLimited,
        ];
        for problem in all {
            for proxy in Proxy::ALL {
                let line = problem.remedy(proxy);
                assert!(!line.contains("NAME"), "{line}");
                assert_ne!(line, Problem::DownloadChanged.remedy(proxy), "{problem:?}");
            }
        }
    }
}
