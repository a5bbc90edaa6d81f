//! What the application hears of an upload from its owner, by hooks; and what it has to say.

use std::{future::ready, sync::Arc, time::Duration};

use actix::{AsyncContext, Context};

use super::{
    Upload,
    messages::{Consulted, Received},
    state::{Ending, Event, LeaseId},
};
use crate::{
    Info,
    events::Interruption,
    hooks::{Call, Caller, Event as HookEvent, EventKind, HookResponse, Hooks, Noted, UploadFacts},
    post::{Post, now_nanos},
    storage::StorageError,
};

/// What an owner keeps in mind for the application. There is none when nobody wants to hear anything.
pub(super) struct Told {
    hooks: Hooks,
    /// The request that what happens comes from.
    caller: Arc<Caller>,
    /// How many bytes the application knows of, and when it was told.
    received: u64,
    received_nanos: u64,
    /// It has not answered to that yet.
    receiving: bool,
    /// It will be looked whether there is more to tell.
    is_timed: bool,
    /// What it will be told when the upload ends.
    finish: Option<Noted>,
    deletion: Option<Noted>,
    /// What came of asking it before the finish.
    pub(super) consulted: Option<Arc<Consulted>>,
    /// What the client is told whose body it has stopped.
    pub(super) stopped: Option<Arc<HookResponse>>,
}

impl Told {
    pub(super) fn new(hooks: Hooks, caller: Option<Arc<Caller>>, offset: u64) -> Box<Self> {
        Box::new(Self {
            hooks,
            caller: caller.unwrap_or_default(),
            received: offset,
            received_nanos: 0,
            receiving: false,
            is_timed: false,
            finish: None,
            deletion: None,
            consulted: None,
            stopped: None,
        })
    }

    /// Its end comes from this request, or from an operator.
    pub(super) fn ended_by(&mut self, caller: Option<Arc<Caller>>) {
        self.caller = caller.unwrap_or_default();
    }

    /// What happens from now on comes from this request.
    pub(super) fn called_by(&mut self, caller: Option<Arc<Caller>>) {
        if let Some(caller) = caller {
            self.caller = caller;
        }
    }
}

impl Upload {
    fn call(&self, told: &Told, kind: EventKind, offset: u64, cause: Option<Interruption>) -> Call {
        let info = Info { length: self.state.length(), ..self.info.clone() };
        let places = self.directory.storage().places(&self.info);
        let event = HookEvent {
            upload: UploadFacts::new(&info, offset, Some(places)),
            caller: Arc::clone(&told.caller),
            cause: cause.map(|cause| cause.name().to_owned()),
        };
        Call { kind, event }
    }

    /// Tells of something, when the application wants to hear of such. What it answers counts for nothing.
    fn tell(&self, kind: EventKind, cause: Option<Interruption>) {
        if let Some(told) = self.told.as_deref().filter(|told| told.hooks.wants(kind)) {
            told.hooks.tell(self.call(told, kind, self.state.stored(), cause), drop);
        }
    }

    pub(super) fn tell_created(&self) {
        self.tell(EventKind::PostCreate, None);
    }

    pub(super) fn tell_interrupted(&self, cause: Interruption) {
        self.tell(EventKind::PostInterrupt, Some(cause));
    }

    /// Tells that bytes have come in: now, or when it is time, though the client be silent then.
    pub(super) fn tell_of_progress(&mut self, context: &mut Context<Self>) {
        let (offset, has_lease) = (self.state.stored(), self.state.has_lease());
        let Some(told) = self.told.as_deref_mut().filter(|told| !told.receiving && has_lease) else { return };
        if offset <= told.received || !told.hooks.wants(EventKind::PostReceive) {
            return;
        }
        let since = Duration::from_nanos(now_nanos().saturating_sub(told.received_nanos));
        let left = told.hooks.progress_every().saturating_sub(since);
        if left.is_zero() {
            self.tell_received(Some(context));
        } else if !std::mem::replace(&mut told.is_timed, true) {
            context.run_later(left, |upload, context| {
                if let Some(told) = &mut upload.told {
                    told.is_timed = false;
                }
                upload.tell_of_progress(context);
            });
        }
    }

    /// Tells how many bytes have come, if there are any that the application does not know of. While a request goes on, by
    /// whose context an answer can come, the application may stop it.
    pub(super) fn tell_received(&mut self, context: Option<&Context<Self>>) {
        let (offset, lease) = (self.state.stored(), self.holder.as_ref().map(|holder| holder.lease));
        let Some(told) = self.told.as_deref().filter(|told| told.hooks.wants(EventKind::PostReceive)) else { return };
        if offset <= told.received || self.state.is_waiting() {
            return;
        }
        let call = self.call(told, EventKind::PostReceive, offset, None);
        let receiving = match context.zip(lease) {
            Some((context, lease)) => {
                let post = Post::new(context.address(), Arc::clone(&self.gauge));
                told.hooks.tell(call, move |called| {
                    let stop = called.ok().filter(|verdict| verdict.stop_upload).map(|verdict| verdict.response);
                    post.tell(Received { lease, stop });
                })
            }
            None => {
                told.hooks.tell(call, drop);
                false
            }
        };
        let now = now_nanos();
        if let Some(told) = &mut self.told {
            (told.received, told.received_nanos, told.receiving) = (offset, now, receiving);
        }
    }

    /// The application has heard that bytes come in.
    pub(super) fn on_heard(&mut self, lease: LeaseId, stop: Option<HookResponse>, context: &mut Context<Self>) {
        let Some(told) = &mut self.told else { return };
        told.receiving = false;
        if let Some(response) = stop {
            told.stopped = Some(Arc::new(response));
            self.on(Event::Stop(lease), context);
        }
        if let Some(told) = &mut self.told {
            // Of no effect on a request that has ended meanwhile, and on none that comes later.
            told.stopped = None;
        }
        self.tell_of_progress(context);
    }

    /// A request may append, and what happens comes from it.
    pub(super) fn told_of_grant(&mut self, caller: Option<Arc<Caller>>) {
        let now = self.last_active_nanos;
        if let Some(told) = &mut self.told {
            told.called_by(caller);
            told.received_nanos = now;
        }
    }

    /// Notes the end that is about to come, so that the application is told of it whatever happens.
    pub(super) fn announce(&mut self, ending: Ending, context: &mut Context<Self>) {
        let (kind, offset) = match ending {
            Ending::Finished { length } => (EventKind::PostFinish, length),
            Ending::Deleted { expired: true } => (EventKind::PostExpire, self.state.stored()),
            Ending::Deleted { expired: false } => (EventKind::PostTerminate, self.state.stored()),
        };
        let Some(told) = self.told.as_deref().filter(|told| kind != EventKind::PostFinish || !told.has_failed()) else {
            // An application that failed before the finish is not told of it, as with tusd.
            return self.when_ready(ready(()), context, |upload, (), context| {
                upload.on(Event::Done(Ok(())), context);
            });
        };
        let noting = told.hooks.clone().note(self.call(told, kind, offset, None));
        self.when_ready(noting, context, move |upload, noted, context| {
            upload.on_noted(kind, noted, context);
        });
    }

    fn on_noted(&mut self, kind: EventKind, noted: Result<Noted, StorageError>, context: &mut Context<Self>) {
        let result = match noted {
            Ok(noted) => {
                if let Some(told) = &mut self.told {
                    let place = if kind == EventKind::PostFinish { &mut told.finish } else { &mut told.deletion };
                    *place = Some(noted);
                }
                Ok(())
            }
            Err(error) => Err(self.blame(&error)),
        };
        self.on(Event::Done(result), context);
    }

    /// Asks the application before the upload is finished. Whatever it says, the upload will be: its bytes are all there.
    pub(super) fn consult(&mut self, context: &mut Context<Self>) {
        self.tell_received(None);
        let offset = self.state.stored();
        let asked =
            self.told.as_deref().map(|told| (told.hooks.clone(), self.call(told, EventKind::PreFinish, offset, None)));
        let noted = self.told.as_mut().and_then(|told| told.finish.take());
        let asking = async move {
            let (hooks, call) = asked?;
            Some(match hooks.ask(call).await {
                Ok(verdict) => (Consulted::Answered(verdict.response), noted),
                Err(error) => {
                    if let Some(noted) = noted {
                        hooks.withdraw(noted).await;
                    }
                    (Consulted::Failed(error), None)
                }
            })
        };
        self.when_ready(asking, context, |upload, consulted, context| {
            if let Some((told, (consulted, noted))) = upload.told.as_mut().zip(consulted) {
                (told.consulted, told.finish) = (Some(Arc::new(consulted)), noted);
            }
            upload.on(Event::Done(Ok(())), context);
        });
    }

    /// The upload is finished: what was noted is owed, behind what is told of its last bytes.
    pub(super) fn tell_finished(&mut self) {
        self.tell_received(None);
        if let Some(told) = &mut self.told
            && let Some(noted) = told.finish.take()
        {
            told.hooks.owe(noted);
        }
    }

    /// The upload is deleted.
    pub(super) fn tell_deleted(&mut self) {
        let (is_finished, id) = (self.record.is_some(), self.id.to_string());
        let Some(told) = &mut self.told else { return };
        if let Some(noted) = told.deletion.take() {
            told.hooks.owe(noted);
        }
        if !is_finished && told.hooks.wants(EventKind::PostFinish) {
            told.hooks.forget(id);
        }
    }
}

impl Told {
    fn has_failed(&self) -> bool {
        matches!(self.consulted.as_deref(), Some(Consulted::Failed(_)))
    }
}
