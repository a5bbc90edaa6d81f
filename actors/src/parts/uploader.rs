//! One worker of the pool.

use std::sync::Arc;

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, WrapFuture};
use slog::Logger;

use super::{
    Part, PartError,
    job::{Errand, Presence},
    messages::{Carry, Leave, Ready},
};
use crate::{
    post::Receive,
    receives_letters,
    storage::s3::{
        client::{Call, Client, ETag, ErrorKind},
        retry::{RetryPolicy, retried},
    },
};

/// Stores one part after the other, with a client of its own. The dispatcher starts it, on an arbiter of its own, and
/// tells it to leave; a panic ends it as well. Its mailbox holds at most a part that it has asked for, and the word to
/// leave.
pub(super) struct Uploader {
    client: Arc<dyn Client>,
    policy: RetryPolicy,
    logger: Logger,
    presence: Presence,
    busy: bool,
    leaving: bool,
}

impl Uploader {
    pub(super) fn new(client: Arc<dyn Client>, policy: RetryPolicy, presence: Presence, logger: Logger) -> Self {
        Self { client, policy, logger, presence, busy: false, leaving: false }
    }

    fn go_on(&mut self, context: &mut Context<Self>) {
        self.busy = false;
        if self.leaving {
            context.stop();
        } else {
            self.presence.dispatcher.tell(Ready { uploader: self.presence.uploader });
        }
    }
}

impl Actor for Uploader {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.go_on(context);
    }
}

receives_letters!(Uploader, "part_uploader", ["carry", "leave"]);

impl Receive<Carry> for Uploader {
    const MESSAGE: &'static str = "carry";

    fn receive(&mut self, Carry(errand): Carry, context: &mut Self::Context) {
        self.busy = true;
        let work = carry(errand, Arc::clone(&self.client), self.policy.clone(), self.logger.clone());
        context.spawn(work.into_actor(self).map(|(), uploader, context| uploader.go_on(context)));
    }
}

impl Receive<Leave> for Uploader {
    const MESSAGE: &'static str = "leave";

    fn receive(&mut self, _: Leave, context: &mut Self::Context) {
        self.leaving = true;
        if !self.busy {
            context.stop();
        }
    }
}

async fn carry(mut errand: Errand, client: Arc<dyn Client>, policy: RetryPolicy, logger: Logger) {
    let Some(part) = errand.begin() else { return };
    let result = retried(&policy, "UploadPart", &logger, || store(&*client, part)).await;
    errand.finish(result.map_err(PartError::S3));
}

/// Tries once. A service that refuses a part before it has read all of it may close the connection, and then the answer is lost
/// with it: whether the upload is still there is asked for, lest a part of one that was aborted be tried until the deadline.
fn store(client: &dyn Client, part: &Part) -> Call<ETag> {
    let upload = client.upload_part(&part.key, &part.multipart, part.number, part.body.clone());
    // Nothing is sent before it is awaited.
    let look = client.list_parts(&part.key, &part.multipart, Some(part.number));
    Box::pin(async move {
        match upload.await {
            Err(error) if error.kind == ErrorKind::Unavailable && error.code.is_none() => match look.await {
                Err(gone) if gone.kind == ErrorKind::NoSuchUpload => Err(gone),
                _ => Err(error),
            },
            done => done,
        }
    })
}
