//! wharf: a resumable-upload web service.
