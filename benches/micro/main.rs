//! Single parts of wharf, each by itself: `just micro`, or `just micro mailbox` for one of them.

mod info;
mod log;
mod machine;
mod mailbox;
mod parsers;

use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    mailbox::run(&mut criterion);
    machine::run(&mut criterion);
    parsers::run(&mut criterion);
    info::run(&mut criterion);
    log::run(&mut criterion);
    criterion.final_summary();
}
