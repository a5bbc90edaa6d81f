//! The checks of `[server]`, and of what every listener has.

use std::path::PathBuf;

use super::{
    super::{BasePath, Bind, Server, Tls, TlsVersion},
    Reader,
};

/// No longer head is ever read, whatever the settings say, so a larger number would be a lie.
const HEAD_LIMIT_BYTES: i64 = 65_536;

/// Base paths below which the files of the page lie. There are no others: uploads win where the two meet.
const HIDING_THE_PAGE: [&str; 2] = ["/", "/page/"];

pub(super) fn server(reader: &mut Reader<'_>) -> Server {
    let base_path = reader.parsed("server.base_path", BasePath::default(), BasePath::parse);
    reader.apply("server.base_path", base_path.to_string());
    let page = reader.switch("server.page") && !HIDING_THE_PAGE.contains(&base_path.path());
    reader.apply("server.page", page);
    Server {
        bind: bind(reader, "server.bind"),
        unix_mode: reader.mode("server.unix_mode", 0o600),
        tls: tls(reader, "server.tls"),
        base_path,
        behind_proxy: reader.switch("server.behind_proxy"),
        absolute_location: reader.switch("server.absolute_location"),
        max_connections: Some(reader.count("server.max_connections", 0..=1_000_000)).filter(|limit| *limit > 0),
        greeting: reader.switch("server.greeting"),
        page,
        head_max_bytes: reader.count("server.head_max_bytes", 4096..=HEAD_LIMIT_BYTES),
        listen_backlog: reader.narrow("server.listen_backlog", 1..=65_535),
    }
}

/// Where a listener is.
pub(super) fn bind(reader: &mut Reader<'_>, key: &str) -> Bind {
    reader.parsed(key, Bind::Systemd(None), Bind::parse)
}

/// A section of a listener's certificates.
pub(super) fn tls(reader: &mut Reader<'_>, section: &str) -> Option<Tls> {
    let keys = ["certificate", "key", "client_ca", "min_version"].map(|name| format!("{section}.{name}"));
    let [in_certificate, in_key, in_client_ca, in_min_version] = keys.each_ref().map(String::as_str);
    let mut file = |key: &str| {
        reader.parsed(key, None, |text| match text {
            "" => Ok(None),
            _ if text.contains('\0') => Err("must be the path of a file".to_owned()),
            _ => Ok(Some(PathBuf::from(text))),
        })
    };
    let (certificate, key, client_ca) = (file(in_certificate), file(in_key), file(in_client_ca));
    let versions = [("1.2", TlsVersion::V1_2), ("1.3", TlsVersion::V1_3)];
    let min_version = reader.choice(in_min_version, &versions);
    reader.relate(
        &[in_certificate, in_key],
        certificate.is_some() == key.is_some(),
        &format!("{in_certificate} and {in_key} must be set together"),
    );
    reader.relate(
        &[in_client_ca, in_certificate],
        client_ca.is_none() || certificate.is_some(),
        &format!("{in_client_ca} counts for nothing without {in_certificate}: nobody would be asked for a certificate"),
    );
    Some(Tls { certificate: certificate?, key: key?, min_version, client_ca })
}
