//! An answer as it came over the wire, and the assertions that most tests make about one.

/// A final answer and the interim ones before it.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Names as sent, in the order sent.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// The 1xx statuses that came first.
    pub(crate) interims: Vec<u16>,
}

impl Response {
    /// Reads the status line and the headers.
    pub(crate) fn parse_head(bytes: &[u8]) -> Response {
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.trim_end_matches("\r\n").split("\r\n");
        let status_line = lines.next().expect("a status line");
        assert!(status_line.starts_with("HTTP/1."), "not a status line: {status_line:?}");
        let status = status_line.get(9..12).and_then(|digits| digits.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status in {status_line:?}"));
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("not a header: {line:?}"));
            (name.to_owned(), value.trim().to_owned())
        });
        Response { status, headers: headers.collect(), body: Vec::new(), interims: Vec::new() }
    }

    /// The value of a header that may be there once.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|header| header.0.eq_ignore_ascii_case(name));
        let value = values.next().map(|header| header.1.as_str());
        assert!(values.next().is_none(), "{name} came twice: {:?}", self.headers);
        value
    }

    /// A header's value, which must be there.
    #[track_caller]
    pub(crate) fn the(&self, name: &str) -> &str {
        self.header(name).unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }

    /// The elements of a comma-separated header, over all its lines, in lower case and sorted.
    pub(crate) fn elements(&self, name: &str) -> Vec<String> {
        let lines = self.headers.iter().filter(|header| header.0.eq_ignore_ascii_case(name));
        let elements = lines.flat_map(|header| header.1.split(','));
        let mut elements: Vec<String> = elements.map(|element| element.trim().to_ascii_lowercase()).collect();
        elements.sort();
        elements
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The number in `Upload-Offset`, which must be there.
    #[track_caller]
    pub(crate) fn offset(&self) -> u64 {
        self.the("Upload-Offset").parse().expect("a number in Upload-Offset")
    }

    /// The path of the `Location`, which may be absolute or relative.
    #[track_caller]
    pub(crate) fn path(&self) -> String {
        let location = self.the("Location");
        let rest = location.strip_prefix("http://").or_else(|| location.strip_prefix("https://"));
        let path = rest.map_or(location, |rest| rest.find('/').map_or("/", |start| &rest[start..]));
        assert!(path.starts_with('/'), "{location:?} is no path");
        path.to_owned()
    }

    /// Asserts a PATCH's success: 204, the new offset, no body.
    #[track_caller]
    pub(crate) fn appended(&self, offset: u64) {
        assert_eq!(self.status, 204, "{self:?}: {}", self.text());
        assert_eq!(self.offset(), offset);
        assert_eq!(self.header("Tus-Resumable"), Some("1.0.0"));
    }

    /// Asserts an error with this status and code, in the form that tusd's users rely on.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{self:?}: {}", self.text());
        let text = self.text();
        assert!(text.starts_with(&format!("{code}: ")), "{text:?} does not start with {code}");
        assert!(text.ends_with('\n'), "{text:?} does not end with a newline");
        assert_eq!(self.header("Content-Type"), Some("text/plain; charset=utf-8"));
        assert_eq!(self.header("Tus-Resumable"), Some("1.0.0"));
    }

    /// Asserts that the upload is unknown or known to be gone, and that nothing is said about an offset.
    #[track_caller]
    pub(crate) fn gone(&self) {
        assert!(matches!(self.status, 404 | 410), "{self:?}");
        assert_eq!(self.header("Upload-Offset"), None);
    }

    /// Whether the server announced that it closes the connection.
    pub(crate) fn closes(&self) -> bool {
        self.header("Connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}
