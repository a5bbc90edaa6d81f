//! Which S3 call a path-style request is, from its method, its path, its query and one header.

use hyper::{HeaderMap, Method, Uri};

/// The S3 calls that faults can be aimed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are S3's")]
pub enum Operation {
    CreateBucket,
    HeadBucket,
    PutObject,
    GetObject,
    HeadObject,
    CopyObject,
    DeleteObject,
    DeleteObjects,
    ListObjects,
    CreateMultipartUpload,
    UploadPart,
    UploadPartCopy,
    ListParts,
    CompleteMultipartUpload,
    AbortMultipartUpload,
    ListMultipartUploads,
    /// Anything else.
    Other,
}

impl Operation {
    /// Recognises a path-style request.
    #[must_use]
    pub fn of(method: &Method, uri: &Uri, headers: &HeaderMap) -> Self {
        let has = |name| query(uri, name).is_some();
        let copies = headers.contains_key("x-amz-copy-source");
        if key(uri).is_empty() {
            return Self::of_bucket(method, &has);
        }
        match *method {
            Method::PUT if has("uploadId") && copies => Self::UploadPartCopy,
            Method::PUT if has("uploadId") => Self::UploadPart,
            Method::PUT if copies => Self::CopyObject,
            Method::PUT => Self::PutObject,
            Method::GET if has("uploadId") => Self::ListParts,
            Method::GET => Self::GetObject,
            Method::HEAD => Self::HeadObject,
            Method::DELETE if has("uploadId") => Self::AbortMultipartUpload,
            Method::DELETE => Self::DeleteObject,
            Method::POST if has("uploads") => Self::CreateMultipartUpload,
            Method::POST if has("uploadId") => Self::CompleteMultipartUpload,
            _ => Self::Other,
        }
    }

    fn of_bucket(method: &Method, has: &impl Fn(&'static str) -> bool) -> Self {
        match *method {
            Method::PUT => Self::CreateBucket,
            Method::HEAD => Self::HeadBucket,
            Method::POST if has("delete") => Self::DeleteObjects,
            Method::GET if has("uploads") => Self::ListMultipartUploads,
            Method::GET => Self::ListObjects,
            _ => Self::Other,
        }
    }

    /// Whether its request carries bytes of an object.
    pub(super) fn sends_bytes(self) -> bool {
        matches!(self, Self::PutObject | Self::UploadPart)
    }

    /// Whether its answer is worth cutting in the middle.
    pub(super) fn answers_bytes(self) -> bool {
        matches!(self, Self::GetObject | Self::ListObjects | Self::ListParts | Self::ListMultipartUploads)
    }
}

/// The object's key as the path spells it; empty for a bucket.
pub(super) fn key(uri: &Uri) -> &str {
    uri.path().trim_start_matches('/').split_once('/').map_or("", |(_, key)| key)
}

/// The value of a query parameter as the query spells it, empty when it has none.
pub(super) fn query<'a>(uri: &'a Uri, name: &str) -> Option<&'a str> {
    let pairs = uri.query()?.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.into_iter().find(|(other, _)| *other == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::Operation;
    use hyper::{HeaderMap, Method, Uri};

    #[test]
    fn every_call_is_told_from_its_method_and_query() {
        let cases = [
            ("PUT", "/b", Operation::CreateBucket),
            ("HEAD", "/b/", Operation::HeadBucket),
            ("PUT", "/b/k?x-id=PutObject", Operation::PutObject),
            ("GET", "/b/k?x-id=GetObject", Operation::GetObject),
            ("HEAD", "/b/k/l", Operation::HeadObject),
            ("DELETE", "/b/k", Operation::DeleteObject),
            ("POST", "/b/?delete", Operation::DeleteObjects),
            ("GET", "/b/?list-type=2&prefix=uploads", Operation::ListObjects),
            ("POST", "/b/k?uploads", Operation::CreateMultipartUpload),
            ("PUT", "/b/k?partNumber=1&uploadId=u", Operation::UploadPart),
            ("GET", "/b/k?uploadId=u", Operation::ListParts),
            ("POST", "/b/k?uploadId=u", Operation::CompleteMultipartUpload),
            ("DELETE", "/b/k?uploadId=u", Operation::AbortMultipartUpload),
            ("GET", "/b?uploads=", Operation::ListMultipartUploads),
            ("PATCH", "/b/k", Operation::Other),
        ];
        for (method, uri, operation) in cases {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(Operation::of(&method, &Uri::from_static(uri), &HeaderMap::new()), operation, "{method} {uri}");
        }
        let copy = HeaderMap::from_iter([("x-amz-copy-source".parse().unwrap(), "b/other".parse().unwrap())]);
        let operation = |uri| Operation::of(&Method::PUT, &Uri::from_static(uri), &copy);
        assert_eq!(operation("/b/k"), Operation::CopyObject);
        assert_eq!(operation("/b/k?partNumber=1&uploadId=u"), Operation::UploadPartCopy);
    }
}
