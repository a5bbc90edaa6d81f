//! Answers that are words: what they must be before rusoto may read them, and what they say when they are errors.

use bytes::Bytes;
use futures_util::stream;
use hyper::header::HeaderMap;
use rusoto_core::{
    ByteStream,
    proto::xml::{
        error::{XmlError, XmlErrorDeserializer},
        util::parse_response,
    },
    request::HttpResponse,
};
use xml::EventReader;

use super::transport::fit;

/// A body that is here already.
pub(super) fn of(words: Bytes) -> ByteStream {
    let length = words.len();
    ByteStream::new_with_size(stream::iter([Ok(words)]), length)
}

/// What an answer says of itself when it is an error.
pub(super) async fn refusal(words: Bytes) -> Option<XmlError> {
    if words.is_empty() {
        return None;
    }
    let headers = fit(&HeaderMap::new());
    let mut answer = HttpResponse { status: 200.try_into().ok()?, headers, body: of(words) };
    let parsed = parse_response::<_, std::fmt::Error>(&mut answer, |tag, stack| match tag {
        "Error" => XmlErrorDeserializer::deserialize(tag, stack),
        _ => Ok(XmlError::default()),
    });
    parsed.await.ok().filter(|error| !error.code.is_empty())
}

/// Whether rusoto will come to the end of it: where a list breaks off it goes round for ever.
pub(super) fn is_whole(words: &[u8]) -> bool {
    EventReader::new(words).into_iter().all(|event| event.is_ok())
}

#[cfg(test)]
mod tests {
    use super::is_whole;

    #[test]
    fn what_breaks_off_is_not_whole() {
        assert!(is_whole(b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<a xmlns=\"x\"> <b>1&amp;2</b><b/>\n</a>\n"));
        for words in ["<a", "<a>", "<a><b></b>", "<a><b></a>", "<a>&", "<a></a><b>", "a", "<a></a>\u{1}", " "] {
            assert!(!is_whole(words.as_bytes()), "{words:?}");
        }
    }
}
