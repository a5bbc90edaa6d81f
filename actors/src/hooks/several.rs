//! Several transports at once, as if they were one.

use std::sync::Arc;

use slog::{Logger, warn};

use super::{Calling, EventKind, HookError, Notice, Transport, Verdict};

/// Transports that are all called for each event, one after the other.
///
/// What a request waits for ends with the first transport that fails or rejects. Otherwise all are called, whatever
/// becomes of the others, and it is a failure if one fails: all are then called again where there is another try.
/// Verdicts are laid one over the other, the later over the earlier.
#[derive(Clone)]
pub struct Several {
    transports: Arc<[Box<dyn Transport>]>,
    logger: Logger,
}

impl Several {
    /// These, in this order.
    #[must_use]
    pub fn new(transports: Vec<Box<dyn Transport>>, logger: Logger) -> Self {
        Self { transports: transports.into(), logger }
    }

    /// Until one fails or rejects.
    async fn decide(&self, notice: &Arc<Notice>) -> Result<Verdict, HookError> {
        let mut decided: Option<Verdict> = None;
        for transport in self.transports.iter() {
            let verdict = called(&**transport, notice).await?;
            // What others would have laid over an answer of success does not belong over a rejection.
            if verdict.refuses(notice.kind()) {
                return Ok(verdict);
            }
            decided = Some(over(decided, verdict));
        }
        Ok(decided.unwrap_or_default())
    }

    /// Whatever becomes of some, all hear of it.
    async fn tell(&self, notice: &Arc<Notice>) -> Result<Verdict, HookError> {
        let (mut told, mut failed): (Option<Verdict>, Option<HookError>) = (None, None);
        for transport in self.transports.iter() {
            match called(&**transport, notice).await {
                Ok(verdict) => told = Some(over(told, verdict)),
                Err(error) => failed = Some(both(failed, error)),
            }
        }
        let told = told.unwrap_or_default();
        match failed {
            None => Ok(told),
            // It is more important that an upload ends than that all have heard of its progress.
            Some(error) if told.stop_upload && notice.kind() == EventKind::PostReceive => {
                warn!(self.logger, "a hook failed while another stopped the upload"; "hook" => notice.kind().name(),
                    "event" => &*notice.event_id, "error" => %error);
                Ok(told)
            }
            Some(error) => Err(error),
        }
    }
}

impl Transport for Several {
    fn name(&self) -> &'static str {
        "several"
    }

    fn call(&self, notice: Arc<Notice>) -> Calling {
        let several = self.clone();
        Box::pin(async move {
            if notice.kind().blocks() { several.decide(&notice).await } else { several.tell(&notice).await }
        })
    }
}

/// Calls one, which stands by its failure.
async fn called(transport: &dyn Transport, notice: &Arc<Notice>) -> Result<Verdict, HookError> {
    transport.call(Arc::clone(notice)).await.map_err(|mut error| {
        error.cause = format!("{}: {}", transport.name(), error.cause);
        error
    })
}

fn over(earlier: Option<Verdict>, later: Verdict) -> Verdict {
    match earlier {
        Some(earlier) => earlier.and_then(later),
        None => later,
    }
}

/// Two failures in one: that of the first, with the words of both.
fn both(earlier: Option<HookError>, later: HookError) -> HookError {
    match earlier {
        Some(earlier) => HookError { cause: format!("{}; {}", earlier.cause, later.cause), ..earlier },
        None => later,
    }
}

#[cfg(test)]
mod tests {
    use slog::Discard;
    use tokio::sync::mpsc;

    use super::*;
    use crate::hooks::{Call, Event, HookFailure, HookResponse, UploadFacts};

    /// A transport that says what it is told to, and who was called.
    struct Fake {
        name: &'static str,
        answer: Result<Verdict, HookError>,
        called: mpsc::UnboundedSender<(&'static str, EventKind)>,
    }

    impl Transport for Fake {
        fn name(&self) -> &'static str {
            self.name
        }

        fn call(&self, notice: Arc<Notice>) -> Calling {
            let (answer, name, called) = (self.answer.clone(), self.name, self.called.clone());
            Box::pin(async move {
                called.send((name, notice.kind())).unwrap();
                answer
            })
        }
    }

    fn notice(kind: EventKind) -> Arc<Notice> {
        let event = Event { upload: UploadFacts::default(), caller: Arc::default(), cause: None };
        Arc::new(Notice::new(Call { kind, event }).unwrap())
    }

    fn verdict(status: u16, field: &str) -> Verdict {
        let headers = [(field.to_owned(), status.to_string())].into();
        Verdict { response: HookResponse { status, body: String::new(), headers }, ..Verdict::default() }
    }

    fn failed(cause: &str) -> Result<Verdict, HookError> {
        Err(HookError::new(HookFailure::Unreachable, cause))
    }

    /// What comes of an event, and who was called for it, in order.
    async fn outcome(
        kind: EventKind,
        answers: [Result<Verdict, HookError>; 3],
    ) -> (Result<Verdict, HookError>, Vec<&'static str>) {
        let (called, mut calls) = mpsc::unbounded_channel();
        let fakes = ["file", "http", "grpc"].into_iter().zip(answers);
        let fakes = fakes.map(|(name, answer)| Box::new(Fake { name, answer, called: called.clone() }) as Box<_>);
        let several = Several::new(fakes.collect(), Logger::root(Discard, slog::o!()));
        let answer = several.call(notice(kind)).await;
        let mut names = Vec::new();
        while let Ok((name, called_for)) = calls.try_recv() {
            assert_eq!(called_for, kind);
            names.push(name);
        }
        (answer, names)
    }

    #[actix_rt::test]
    async fn all_are_called_in_order_and_the_later_ones_win() {
        for kind in EventKind::ALL {
            let answers = [Ok(verdict(201, "X-A")), Ok(Verdict::default()), Ok(verdict(202, "x-a"))];
            let (answer, names) = outcome(kind, answers).await;
            assert_eq!((answer, names), (Ok(verdict(202, "x-a")), vec!["file", "http", "grpc"]));
        }
    }

    #[actix_rt::test]
    async fn a_rejection_ends_it_and_stands_alone() {
        let rejection = |status| Verdict { reject_upload: true, ..verdict(status, "X-Why") };
        let answers = [Ok(verdict(201, "X-A")), Ok(rejection(403)), Ok(verdict(202, "X-B"))];
        let (answer, names) = outcome(EventKind::PreCreate, answers.clone()).await;
        assert_eq!((answer, names), (Ok(rejection(403)), vec!["file", "http"]));
        // Which of another event is none.
        let (answer, names) = outcome(EventKind::PreTerminate, answers).await;
        assert_eq!((answer.unwrap().response.status, names.len()), (202, 3));
    }

    #[actix_rt::test]
    async fn a_failure_ends_what_a_request_waits_for() {
        for kind in EventKind::ALL.into_iter().filter(|kind| kind.blocks()) {
            let (answer, names) = outcome(kind, [Ok(Verdict::default()), failed("gone"), failed("too")]).await;
            assert_eq!((answer.unwrap_err().cause.as_str(), names), ("http: gone", vec!["file", "http"]));
        }
    }

    #[actix_rt::test]
    async fn all_hear_of_what_has_happened_and_who_failed_is_told() {
        for kind in EventKind::ALL.into_iter().filter(|kind| !kind.blocks()) {
            let (answer, names) = outcome(kind, [failed("gone"), Ok(Verdict::default()), failed("too")]).await;
            assert_eq!((answer.unwrap_err().cause.as_str(), names.len()), ("file: gone; grpc: too", 3));
        }
    }

    #[actix_rt::test]
    async fn no_failure_keeps_an_upload_from_being_stopped() {
        let stop = Verdict { stop_upload: true, ..verdict(400, "X-Why") };
        for answers in [
            [Ok(stop.clone()), failed("gone"), Ok(Verdict::default())],
            [failed("gone"), Ok(Verdict::default()), Ok(stop.clone())],
        ] {
            assert_eq!(outcome(EventKind::PostReceive, answers.clone()).await.0, Ok(stop.clone()));
            assert!(outcome(EventKind::PostFinish, answers).await.0.is_err());
        }
    }

    #[actix_rt::test]
    async fn without_any_nothing_is_said() {
        let several = Several::new(Vec::new(), Logger::root(Discard, slog::o!()));
        for kind in EventKind::ALL {
            assert_eq!(several.call(notice(kind)).await, Ok(Verdict::default()));
        }
    }
}
