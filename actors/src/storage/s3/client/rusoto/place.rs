//! Where the bucket is: the region to sign for, the host to ask, and what of a path the bucket's name is.

use std::{env, net::IpAddr};

use rusoto_core::{Region, credential::ProfileProvider, signature::SignedRequest};

use super::super::{Config, config::DEFAULT_REGION};

/// Where requests go.
pub(super) struct Place {
    region: String,
    /// A URL without a slash at its end.
    endpoint: String,
    bucket: String,
    is_in_host: bool,
}

impl Place {
    /// By the settings, else by the environment and the profile.
    pub(super) fn new(config: &Config) -> Self {
        let region = config.region.clone().or_else(usual_region).unwrap_or(DEFAULT_REGION.to_owned());
        let named = || variable("AWS_ENDPOINT_URL_S3").or_else(|| variable("AWS_ENDPOINT_URL"));
        let endpoint = config.endpoint.clone().or_else(named).unwrap_or_else(|| service("s3", &region));
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        let is_in_host = !config.path_style && is_label(&config.bucket) && !is_address(&endpoint);
        Self { region, endpoint, bucket: config.bucket.clone(), is_in_host }
    }

    pub(super) fn region(&self) -> &str {
        &self.region
    }

    pub(super) fn as_rusoto(&self) -> Region {
        Region::Custom { name: self.region.clone(), endpoint: self.endpoint.clone() }
    }

    /// Moves the bucket's name, which rusoto puts into the path, to where the service expects it.
    pub(super) fn address(&self, request: &mut SignedRequest) {
        if !self.is_in_host {
            return;
        }
        let rest = request.path.strip_prefix('/').and_then(|path| path.strip_prefix(&self.bucket));
        if let Some(rest) = rest {
            request.path = if rest.is_empty() { "/".to_owned() } else { rest.to_owned() };
            request.hostname = Some(format!("{}.{}", self.bucket, request.hostname()));
        }
    }
}

/// The URL of an AWS service. rusoto's own list knows no region that is newer than itself.
pub(super) fn service(name: &str, region: &str) -> String {
    let end = if region.starts_with("cn-") { ".cn" } else { "" };
    format!("https://{name}.{region}.amazonaws.com{end}")
}

/// An environment variable that says something.
pub(super) fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn usual_region() -> Option<String> {
    let named = variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION"));
    named.or_else(|| ProfileProvider::region().ok().flatten())
}

/// Whether a certificate for all names one level below the service's covers the bucket's.
fn is_label(bucket: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (3..=63).contains(&bucket.len()) && bucket.bytes().all(is_fit)
}

/// Whether the host is a number, in front of which no name can stand.
fn is_address(endpoint: &str) -> bool {
    let host = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    let host = host.split('/').next().unwrap_or_default();
    let name = if host.starts_with('[') { host } else { host.split(':').next().unwrap_or_default() };
    name.starts_with('[') || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Config, Place, SignedRequest, service};

    fn url(bucket: &str, endpoint: Option<&str>, path_style: bool, rest: &str) -> String {
        let place = Place::new(&Config {
            bucket: bucket.to_owned(),
            region: Some("eu-south-2".to_owned()),
            endpoint: endpoint.map(str::to_owned),
            path_style,
            keys: None,
            payload_hash: false,
            part_checksum: false,
            connect_timeout: Duration::from_secs(1),
            attempt_timeout: Duration::from_secs(1),
            slowest_bytes_per_second: 1,
        });
        let mut request = SignedRequest::new("GET", "s3", &place.as_rusoto(), &format!("/{bucket}{rest}"));
        place.address(&mut request);
        request.complement();
        format!("{}://{}{}", request.scheme(), request.hostname(), request.canonical_path())
    }

    #[test]
    fn the_bucket_stands_in_the_host_where_it_can() {
        for (bucket, endpoint, path_style, rest, expected) in [
            ("bucket", None, false, "/a b", "https://bucket.s3.eu-south-2.amazonaws.com/a%20b"),
            ("bucket", None, false, "", "https://bucket.s3.eu-south-2.amazonaws.com/"),
            ("bucket", None, true, "/a", "https://s3.eu-south-2.amazonaws.com/bucket/a"),
            ("my.bucket", None, false, "/a", "https://s3.eu-south-2.amazonaws.com/my.bucket/a"),
            ("bucket", Some("http://s3.example:9000/"), false, "/bucket/a", "http://bucket.s3.example:9000/bucket/a"),
            ("bucket", Some("http://s3.example:9000/"), true, "//a", "http://s3.example:9000/bucket//a"),
            ("bucket", Some("https://example/s3"), false, "/a", "https://bucket.example/s3/a"),
            ("bucket", Some("http://127.0.0.1:9000"), false, "/a", "http://127.0.0.1:9000/bucket/a"),
            ("bucket", Some("http://[::1]:9000"), false, "/a", "http://[::1]:9000/bucket/a"),
        ] {
            assert_eq!(url(bucket, endpoint, path_style, rest), expected, "{bucket} {endpoint:?} {path_style}");
        }
        assert_eq!(service("sts", "cn-north-1"), "https://sts.cn-north-1.amazonaws.com.cn");
    }
}
