//! How the requests on a connection are delimited: heads (`head`) and chunked bodies (`chunked`). Pure. There is no other
//! reader of what clients send.

mod chunked;
mod head;

use chunked::Chunked;
pub(super) use chunked::Progress;
pub(super) use head::{Head, read_head};

/// The most header lines of a request.
const HEADERS_MAX: usize = 96;
/// No name of a header line has more bytes, nor has a target.
pub(super) const HEAD_LIMIT_BYTES: usize = 65_536;

/// A trailer section: names in lower case, values without the white space around them.
pub type Trailers = Vec<(String, Vec<u8>)>;

/// How a request's body is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    /// There is none.
    None,
    /// Content-Length says so many bytes.
    Length(u64),
    /// Transfer-Encoding: chunked.
    Chunked,
}

/// A body that is being read.
#[derive(Debug)]
pub(super) enum Body {
    /// So many bytes are still to come.
    Length(u64),
    /// Chunks are.
    Chunked(Box<Chunked>),
    /// It is over; these trailers came with it.
    Over(Trailers),
}

/// What comes next in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    /// So many bytes of framing, to be thrown away.
    pub(super) framing: usize,
    /// So many bytes of data behind them.
    pub(super) data: usize,
    /// How the body stands after these.
    pub(super) progress: Progress,
}

impl Body {
    /// A body at its beginning.
    pub(super) fn new(kind: BodyKind) -> Self {
        match kind {
            BodyKind::None | BodyKind::Length(0) => Self::Over(Trailers::new()),
            BodyKind::Length(length) => Self::Length(length),
            BodyKind::Chunked => Self::Chunked(Box::new(Chunked::new())),
        }
    }

    /// Whether its last byte has been read.
    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::Over(_))
    }

    /// How many bytes may be asked for without reading into what follows the body; `None` when that can't be known.
    pub(super) fn left(&self) -> Option<u64> {
        match self {
            Self::Length(left) => Some(*left),
            Self::Chunked(_) => None,
            Self::Over(_) => Some(0),
        }
    }

    /// Others have read so many bytes, of those that are known to come.
    pub(super) fn pass(&mut self, len: u64) {
        if let Self::Length(left) = self {
            *left = left.saturating_sub(len);
            if *left == 0 {
                *self = Self::Over(Trailers::new());
            }
        }
    }

    /// Reads on in bytes that have come. To be called again with what is behind the step, until that is nothing, or the
    /// body is over or malformed.
    pub(super) fn step(&mut self, bytes: &[u8]) -> Step {
        let step = match self {
            Self::Over(_) => Step { framing: 0, data: 0, progress: Progress::End },
            Self::Length(left) => {
                let data = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= data as u64;
                Step { framing: 0, data, progress: if *left == 0 { Progress::End } else { Progress::More } }
            }
            Self::Chunked(chunked) => chunked.step(bytes),
        };
        if step.progress == Progress::End {
            let over = match self {
                Self::Chunked(chunked) => chunked.take_trailers(),
                Self::Over(trailers) => std::mem::take(trailers),
                Self::Length(_) => Trailers::new(),
            };
            *self = Self::Over(over);
        }
        step
    }
}

#[cfg(test)]
mod agreement;
#[cfg(test)]
mod tests;
