//! What reads a request: the reader of heads, and the protocol.

use std::hint::black_box;

use actix_http::header::{HeaderMap, HeaderName, HeaderValue};
use criterion::Criterion;
use wharf::{
    protocol::{Extensions, Fields, Rules, append, create, metadata, route},
    server::benched::head,
};

const PATCH: (&str, &str, &[(&str, &str)]) = (
    "PATCH",
    "/files/4bfcc937b14e2676ae1e763a74b9ad77",
    &[
        ("host", "uploads.example.com"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
        ("accept", "*/*"),
        ("accept-language", "en-US,en;q=0.5"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("tus-resumable", "1.0.0"),
        ("upload-offset", "0"),
        ("content-type", "application/offset+octet-stream"),
        ("content-length", "16384"),
        ("origin", "https://example.com"),
        ("connection", "keep-alive"),
    ],
);

const POST: (&str, &str, &[(&str, &str)]) = (
    "POST",
    "/files/",
    &[
        ("host", "uploads.example.com"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
        ("accept", "*/*"),
        ("accept-language", "en-US,en;q=0.5"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("tus-resumable", "1.0.0"),
        ("upload-length", "16384"),
        ("upload-metadata", METADATA),
        ("content-length", "0"),
        ("origin", "https://example.com"),
        ("connection", "keep-alive"),
    ],
);

const METADATA: &str = "filename aG9saWRheXMtaW4tbm9yd2F5LTIwMjYubXA0,filetype dmlkZW8vbXA0,relativePath bnVsbA==";

/// As the handlers see them.
struct Lines(HeaderMap);

impl Fields for Lines {
    fn first(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name).map(HeaderValue::as_bytes)
    }

    fn count(&self, name: &str) -> usize {
        self.0.get_all(name).count()
    }
}

fn lines(of: &[(&'static str, &'static str)]) -> Lines {
    let pair =
        |(name, value): &(&'static str, &'static str)| (HeaderName::from_static(name), HeaderValue::from_static(value));
    Lines(of.iter().map(pair).collect())
}

fn text((method, path, lines): (&str, &str, &[(&str, &str)])) -> Vec<u8> {
    let lines: String = lines.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("{method} {path} HTTP/1.1\r\n{lines}\r\n").into_bytes()
}

fn rules() -> Rules {
    Rules {
        base_path: "/files/".to_owned(),
        max_size: None,
        extensions: Extensions::all(),
        metadata_max_bytes: 8192,
        screening: wharf::protocol::screening::Screening::default(),
        greeting: true,
        page: true,
    }
}

pub(crate) fn run(criterion: &mut Criterion) {
    let rules = rules();
    let mut group = criterion.benchmark_group("parsers");
    for (name, request) in [("the head of a PATCH", PATCH), ("the head of a POST", POST)] {
        let bytes = text(request);
        group.bench_function(name, |bench| {
            bench.iter(|| head(black_box(&bytes)));
        });
    }
    let (patch, post) = (lines(PATCH.2), lines(POST.2));
    for (name, (method, path, _), fields) in [("route of a PATCH", PATCH, &patch), ("route of a POST", POST, &post)] {
        group.bench_function(name, |bench| {
            bench.iter(|| route::route(black_box(method), fields, black_box(path), &rules).expect("a route"));
        });
    }
    group.bench_function("append::parse", |bench| {
        bench.iter(|| append::parse(black_box(&patch), &rules).expect("a PATCH"));
    });
    group.bench_function("create::parse", |bench| {
        bench.iter(|| create::parse(black_box(&post), &rules).expect("a POST"));
    });
    group.bench_function("metadata::parse", |bench| {
        bench.iter(|| {
            metadata::parse(black_box(Some(METADATA.as_bytes())), rules.metadata_max_bytes).expect("metadata")
        });
    });
    group.finish();
}
