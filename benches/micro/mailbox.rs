//! A question to an actor and its answer through `Post`, bounded and metered, and a message without an answer; beside them the
//! same by actix's own `send` and `do_send`. The actor lives on the asker's thread, or on another.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use actix::{Actor, Addr, Arbiter, Context, Handler, Message, System};
use criterion::Criterion;
use tokio::sync::oneshot;
use wharf_actors::{
    post::{Gauge, Post, Receive, meter_of},
    receives_letters,
};

const LIMIT: usize = 64;
/// Messages without an answer go in runs of so many: less than the mailbox has room for.
const RUN: u64 = 32;

/// Adds up what it is sent.
#[derive(Default)]
struct Adder {
    sum: u64,
}

impl Actor for Adder {
    type Context = Context<Self>;
}

receives_letters!(Adder, "adder", ["ask", "tell"]);

/// Asks for the sum.
struct Ask(u64, oneshot::Sender<u64>);

/// Wants no answer.
struct Tell(u64);

impl Receive<Ask> for Adder {
    const MESSAGE: &'static str = "ask";

    fn receive(&mut self, Ask(number, asker): Ask, _: &mut Self::Context) {
        self.sum = self.sum.wrapping_add(number);
        // Nobody goes away here.
        let _ = asker.send(self.sum);
    }
}

impl Receive<Tell> for Adder {
    const MESSAGE: &'static str = "tell";

    fn receive(&mut self, Tell(number): Tell, _: &mut Self::Context) {
        self.sum = self.sum.wrapping_add(number);
    }
}

/// The same in actix's own words.
struct Bare(u64);

impl Message for Bare {
    type Result = u64;
}

impl Handler<Bare> for Adder {
    type Result = u64;

    fn handle(&mut self, Bare(number): Bare, _: &mut Self::Context) -> u64 {
        self.sum = self.sum.wrapping_add(number);
        self.sum
    }
}

async fn ask(post: &Post<Adder>, count: u64) -> Duration {
    let began = Instant::now();
    for number in 0..count {
        black_box(post.ask(|asker| Ask(number, asker)).await.expect("an answer"));
    }
    began.elapsed()
}

async fn send(address: &Addr<Adder>, count: u64) -> Duration {
    let began = Instant::now();
    for number in 0..count {
        black_box(address.send(Bare(number)).await.expect("an answer"));
    }
    began.elapsed()
}

/// A question ends each run, so that the messages have been handled, and not only queued.
async fn tell(post: &Post<Adder>, count: u64) -> Duration {
    let began = Instant::now();
    for number in 0..count {
        if number % RUN == 0 {
            black_box(post.ask(|asker| Ask(number, asker)).await.expect("an answer"));
        }
        post.tell(Tell(number));
    }
    black_box(post.ask(|asker| Ask(0, asker)).await.expect("an answer"));
    began.elapsed()
}

async fn do_send(address: &Addr<Adder>, count: u64) -> Duration {
    let began = Instant::now();
    for number in 0..count {
        if number % RUN == 0 {
            black_box(address.send(Bare(number)).await.expect("an answer"));
        }
        address.do_send(Bare(number));
    }
    black_box(address.send(Bare(0)).await.expect("an answer"));
    began.elapsed()
}

/// All of them, for an actor on this thread and for one on another.
pub(crate) fn run(criterion: &mut Criterion) {
    let system = System::new();
    let arbiter = system.block_on(async { Arbiter::new() });
    let near = system.block_on(async { Adder::default().start() });
    let far = Adder::start_in_arbiter(&arbiter.handle(), |_| Adder::default());
    for (name, address) in [("mailbox, same thread", near), ("mailbox, other thread", far)] {
        let post = Post::new(address.clone(), Gauge::of(&meter_of::<Adder>(LIMIT)));
        let mut group = criterion.benchmark_group(name);
        group.bench_function("Post::ask", |bench| bench.iter_custom(|count| system.block_on(ask(&post, count))));
        group.bench_function("actix send", |bench| bench.iter_custom(|count| system.block_on(send(&address, count))));
        group.bench_function("Post::tell", |bench| bench.iter_custom(|count| system.block_on(tell(&post, count))));
        group.bench_function("actix do_send", |bench| {
            bench.iter_custom(|count| system.block_on(do_send(&address, count)))
        });
        group.finish();
    }
    arbiter.stop();
    arbiter.join().expect("the thread has ended");
}
