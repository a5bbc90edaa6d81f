//! Every interleaving of small scripts: each order of messages and completions, with each fault, is run.

use std::{
    collections::HashSet,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
};

use super::{
    Announced, Found, Policy,
    world::{Act, At, Move, Setup, World, begin, tentative},
};

const PLAIN: Policy = Policy::PLAIN;
const FUSED: Policy = Policy { finish_with_write: true, ..PLAIN };
const COMPLETE: Policy = Policy { sync_finish: true, ..FUSED };
const ALWAYS: Policy = Policy { sync_always: true, ..COMPLETE };

const ANNOUNCED: Announced = Announced { finish: true, terminate: true, expire: true };
/// The application is told of every end, and of the finish it is asked first.
const TOLD: Policy = Policy { announced: ANNOUNCED, ..FUSED };
const ASKED: Policy = Policy { consult: true, announced: ANNOUNCED, ..ALWAYS };

const POLICIES: [Policy; 6] = [PLAIN, FUSED, COMPLETE, ALWAYS, TOLD, ASKED];

const fn found(length: Option<u64>, stored: u64) -> Found {
    Found { length, stored, is_final: false, finished: false }
}

struct Explorer<'setup> {
    setup: &'setup Setup,
    seen: HashSet<u64>,
    path: Vec<Move>,
}

impl Explorer<'_> {
    fn explore(&mut self, world: &World) {
        if !self.seen.insert(BuildHasherDefault::<DefaultHasher>::default().hash_one(world)) {
            return;
        }
        let moves = world.moves(self.setup);
        if moves.is_empty() {
            self.require(world.check_quiet());
        }
        for next in moves {
            let mut successor = world.clone();
            self.path.push(next);
            let checked = successor.step(self.setup, next);
            self.require(checked);
            self.explore(&successor);
            self.path.pop();
        }
    }

    fn require(&self, checked: Result<(), String>) {
        if let Err(broken) = checked {
            panic!("{broken}\nby {:#?}\nin {:?}", self.path, self.setup);
        }
    }
}

/// Runs every interleaving and returns how many different worlds there are.
fn explore(setup: &Setup) -> usize {
    let mut explorer = Explorer { setup, seen: HashSet::new(), path: Vec::new() };
    explorer.explore(&World::new(setup));
    explorer.seen.len()
}

/// Explores under each policy, and requires that at least so many worlds were seen: a script that ends at once tests
/// nothing.
fn explore_policies(least: usize, setup: &Setup) {
    let worlds: usize = POLICIES.iter().map(|policy| explore(&Setup { policy: *policy, ..setup.clone() })).sum();
    assert!(worlds >= least, "only {worlds} worlds");
}

fn setup(found: Found, scripts: &[&[Act]]) -> Setup {
    let scripts = scripts.iter().map(|script| script.to_vec()).collect();
    Setup { found, policy: PLAIN, scripts, faults: 1, vanish: false }
}

#[test]
fn any_three_clients_at_once() {
    const WRITER: [Act; 4] = [begin(At::End), Act::Append(1), Act::Append(1), Act::Commit];
    const DECLARING: Act = Act::Begin { at: At::End, tentative: false, declared: Some(3), announced: Some(1) };
    let menu: [&[Act]; 12] = [
        &WRITER,
        &WRITER[..3],
        &[tentative(At::End), Act::Append(1), Act::Append(1), Act::Commit],
        &[Act::Inspect, begin(At::Told), Act::Append(2), Act::Commit],
        &[begin(At::Exactly(1)), Act::Append(1), Act::Commit],
        &[DECLARING, Act::Append(1), Act::Commit],
        &[Act::Terminate],
        &[Act::Peek, Act::Annotate, Act::Peek],
        &[Act::Expire, Act::Inspect],
        &[Act::Close, Act::Inspect],
        &[Act::Interrupt, Act::Interrupt],
        &[Act::Stop],
    ];
    let mut worlds = 0;
    for first in 0..menu.len() {
        for second in first + 1..menu.len() {
            for third in second + 1..menu.len() {
                let length = (first != 5 && second != 5 && third != 5).then_some(3);
                let policy = POLICIES[(first + second + third) % POLICIES.len()];
                let base = setup(found(length, 1), &[menu[first], menu[second], menu[third]]);
                worlds += explore(&Setup { policy, ..base });
            }
        }
    }
    assert!(worlds > 300_000, "only {worlds} worlds");
}

#[test]
fn two_writers_take_over_from_one_another() {
    let writer = [begin(At::End), Act::Append(1), Act::Append(2), Act::Commit];
    let newcomer = [begin(At::End), Act::Append(2), Act::Commit];
    explore_policies(1900, &Setup { vanish: true, ..setup(found(Some(5), 0), &[&writer, &newcomer]) });
}

#[test]
fn a_writer_and_an_inspector_that_goes_on() {
    let writer = [begin(At::End), Act::Append(2), Act::Append(1), Act::Commit];
    let inspector = [Act::Inspect, begin(At::Told), Act::Append(1), Act::Commit];
    explore_policies(1400, &setup(found(Some(4), 1), &[&writer, &inspector]));
}

#[test]
fn an_operator_interrupts_whoever_appends() {
    let writer = [begin(At::End), Act::Append(1), Act::Append(2), Act::Commit];
    let checked = [tentative(At::End), Act::Append(2), Act::Append(1), Act::Commit];
    for script in [&writer, &checked] {
        let operator = [Act::Interrupt, Act::Inspect, Act::Interrupt];
        explore_policies(700, &Setup { vanish: true, ..setup(found(Some(4), 1), &[script, &operator]) });
        let pair = [Act::Interrupt, Act::Terminate, Act::Interrupt];
        explore_policies(700, &setup(found(Some(4), 1), &[script, &pair, &[Act::Close]]));
    }
}

#[test]
fn the_application_stops_whoever_appends() {
    let writer = [begin(At::End), Act::Append(1), Act::Append(2), Act::Commit];
    let checked = [tentative(At::End), Act::Append(2), Act::Append(1), Act::Commit];
    for script in [&writer, &checked] {
        let late = [begin(At::End), Act::Append(1), Act::Commit, Act::Inspect];
        explore_policies(900, &Setup { vanish: true, ..setup(found(Some(4), 1), &[script, &[Act::Stop, Act::Stop]]) });
        explore_policies(4000, &setup(found(Some(4), 1), &[script, &late, &[Act::Stop], &[Act::Peek]]));
    }
}

#[test]
fn the_largest_size_changes_under_an_upload_of_unknown_length() {
    let writer =
        [begin(At::End), Act::Append(2), Act::Append(2), Act::Commit, begin(At::Told), Act::Append(1), Act::Commit];
    for sizes in [[Some(1), None], [Some(0), Some(9)], [None, Some(3)]] {
        let operator = sizes.map(Act::Limit);
        let policy = Policy { max_size: Some(4), ..COMPLETE };
        let worlds = explore(&Setup { policy, ..setup(found(None, 1), &[&writer, &operator, &[Act::Inspect]]) });
        assert!(worlds > 500, "only {worlds} worlds");
    }
}

#[test]
fn two_faults_in_a_row() {
    let writer = [begin(At::End), Act::Append(2), Act::Commit];
    let inspector = [Act::Inspect, begin(At::Told), Act::Append(2), Act::Commit];
    explore_policies(900, &Setup { faults: 2, ..setup(found(Some(2), 0), &[&writer, &inspector]) });
}

#[test]
fn deletion_among_writers() {
    let writer = [begin(At::End), Act::Append(1), Act::Append(1), Act::Commit];
    let late = [begin(At::End), Act::Append(1), Act::Commit];
    explore_policies(
        14_000,
        &Setup { vanish: true, ..setup(found(Some(2), 0), &[&writer, &late, &[Act::Terminate], &[Act::Terminate]]) },
    );
}

#[test]
fn shutdown_among_writers() {
    let writer = [begin(At::End), Act::Append(1), Act::Append(1), Act::Commit];
    let late = [begin(At::End), Act::Append(1), Act::Commit];
    explore_policies(10_000, &setup(found(Some(2), 0), &[&writer, &late, &[Act::Close], &[Act::Inspect]]));
}

#[test]
fn annotations_and_peeks_disturb_nobody() {
    let writer = [begin(At::End), Act::Append(1), Act::Append(1), Act::Commit];
    let scripts: [&[Act]; 4] = [&writer, &[Act::Annotate], &[Act::Peek, Act::Peek], &[Act::AnnotateUnheard]];
    explore_policies(4000, &setup(found(Some(2), 0), &scripts));
}

#[test]
fn tentative_bytes_count_only_when_committed() {
    let writer = [tentative(At::End), Act::Append(1), Act::Append(1), Act::Commit];
    let newcomer = [begin(At::End), Act::Append(1), Act::Commit];
    explore_policies(1900, &Setup { vanish: true, ..setup(found(Some(3), 1), &[&writer, &newcomer]) });
    explore_policies(5900, &setup(found(Some(3), 0), &[&writer, &[Act::Inspect], &newcomer]));
}

#[test]
fn two_tentative_writers_and_deletion() {
    let writer = [tentative(At::End), Act::Append(1), Act::Commit];
    explore_policies(3600, &setup(found(Some(2), 0), &[&writer, &writer, &[Act::Terminate]]));
    explore_policies(5000, &Setup { faults: 2, ..setup(found(Some(2), 0), &[&writer, &writer, &[Act::Inspect]]) });
}

#[test]
fn a_deferred_length_is_declared_once() {
    let declaring = Act::Begin { at: At::End, tentative: false, declared: Some(2), announced: None };
    let first = [begin(At::End), Act::Append(1), Act::Commit, declaring, Act::Append(1), Act::Commit];
    let second = [declaring, Act::Append(1), Act::Append(2), Act::Commit];
    explore_policies(1600, &setup(found(None, 0), &[&first, &second]));
    explore_policies(500, &setup(found(None, 0), &[&second, &[Act::Inspect], &[Act::Terminate]]));
    explore_policies(300, &setup(found(None, 2), &[&[declaring], &[declaring], &[Act::Inspect, Act::Peek]]));
    let checked = Act::Begin { at: At::End, tentative: true, declared: Some(2), announced: None };
    let third = [checked, Act::Append(1), Act::Append(2), Act::Append(1), Act::Commit];
    explore_policies(500, &setup(found(None, 0), &[&third, &second]));
    explore_policies(500, &setup(found(None, 0), &[&third, &third[..3], &[Act::Inspect]]));
}

#[test]
fn limits_hold() {
    let announcing =
        |announced| Act::Begin { at: At::End, tentative: false, declared: None, announced: Some(announced) };
    let declaring = |length| Act::Begin { at: At::End, tentative: false, declared: Some(length), announced: None };
    let greedy = [announcing(2), Act::Append(2), Act::Append(2), Act::Append(1), Act::Commit];
    let liar = [declaring(4), announcing(4), Act::Append(1), Act::Commit, declaring(0)];
    let policy = Policy { max_size: Some(3), ..ALWAYS };
    let base = setup(found(None, 0), &[&greedy, &liar, &[Act::Inspect]]);
    assert!(explore(&Setup { policy, ..base }) > 100);
    explore_policies(850, &setup(found(Some(3), 0), &[&greedy, &liar]));
}

#[test]
fn stale_requests_leave_a_lease_alone() {
    let writer = [begin(At::End), Act::Append(1), Act::Append(1), Act::Commit];
    let stale = [begin(At::Exactly(0)), Act::Append(1), Act::Commit, begin(At::Exactly(1)), Act::Append(1)];
    explore_policies(3300, &Setup { vanish: true, ..setup(found(Some(3), 0), &[&writer, &stale]) });
}

#[test]
fn finishing_is_tried_again_for_each_asker() {
    let asker = [Act::Inspect, begin(At::Told), Act::Commit];
    let base =
        Setup { faults: 3, ..setup(found(Some(2), 2), &[&asker, &[Act::Inspect, Act::Peek], &[Act::Terminate]]) };
    explore_policies(750, &base);
    explore_policies(
        950,
        &Setup { faults: 2, ..setup(found(Some(0), 0), &[&asker, &asker, &[Act::Peek, Act::Annotate]]) },
    );
    let finished = Found { finished: true, ..found(Some(2), 2) };
    explore_policies(180, &setup(finished, &[&asker, &[Act::Terminate, Act::Terminate], &[Act::Peek]]));
}

#[test]
fn expiry_waits_for_nobody_to_need_the_upload() {
    let writer = [begin(At::End), Act::Append(1), Act::Commit, Act::Inspect];
    let reaper = [Act::Expire, Act::Expire];
    explore_policies(1100, &Setup { vanish: true, ..setup(found(Some(2), 1), &[&writer, &reaper, &[Act::Peek]]) });
    explore_policies(1400, &setup(found(Some(2), 2), &[&[Act::Inspect], &reaper, &[Act::Terminate], &[Act::Annotate]]));
}

#[test]
fn final_uploads_wait_join_and_finish() {
    let is_final = Found { is_final: true, ..found(None, 0) };
    let asker = [Act::Inspect, begin(At::Exactly(0)), Act::Inspect, Act::Peek];
    for faults in [0, 2] {
        let ready = [Act::PartialsReady(2), Act::PartialsReady(2)];
        explore_policies(1000, &Setup { faults, ..setup(is_final, &[&asker, &ready, &[Act::Annotate, Act::Expire]]) });
        let base = setup(is_final, &[&asker[..2], &ready, &[Act::PartialLost], &[Act::Terminate]]);
        explore_policies(600, &Setup { faults, ..base });
    }
    let begun = Found { stored: 2, ..is_final };
    explore_policies(800, &Setup { faults: 2, ..setup(begun, &[&asker, &[Act::PartialsReady(2)], &[Act::Close]]) });
    let policy = Policy { max_size: Some(1), ..PLAIN };
    let base = setup(is_final, &[&asker, &[Act::PartialsReady(2)], &[Act::Annotate]]);
    assert!(explore(&Setup { policy, ..base }) > 10);
}
