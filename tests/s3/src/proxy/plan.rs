//! Chooses the fault of each request: from the script first, then by chance.

use std::time::Duration;

use hyper::{Request, Uri};

use super::Counts;
use super::fault::{Fault, Kind};
use super::operation::{Operation, key, query};

#[derive(Default)]
pub(super) struct Plan {
    script: Vec<Fault>,
    chance: Option<Chance>,
    pub(super) counts: Counts,
    pub(super) held: u64,
}

struct Chance {
    random: Random,
    rate: f64,
}

impl Plan {
    pub(super) fn script(&mut self, faults: Vec<Fault>) {
        self.script.extend(faults);
    }

    pub(super) fn random(&mut self, seed: u64, rate: f64) {
        self.chance = Some(Chance { random: Random(seed), rate });
    }

    pub(super) fn calm(&mut self) {
        self.script.clear();
        self.chance = None;
    }

    /// Counts a request and says what goes wrong with it.
    pub(super) fn choose<B>(&mut self, request: &Request<B>) -> Option<Kind> {
        let operation = Operation::of(request.method(), request.uri(), request.headers());
        *self.counts.requests.entry(operation).or_default() += 1;
        let kind = self.scripted(operation, request.uri()).or_else(|| self.chance.as_mut()?.draw(operation))?;
        *self.counts.faults.entry((operation, kind.name())).or_default() += 1;
        Some(kind)
    }

    fn scripted(&mut self, operation: Operation, uri: &Uri) -> Option<Kind> {
        for fault in self.script.iter_mut().filter(|fault| fault.times > 0 && fits(fault, operation, uri)) {
            if fault.after > 0 {
                fault.after -= 1;
                continue;
            }
            if fault.times < usize::MAX {
                fault.times -= 1;
            }
            return Some(fault.kind.clone());
        }
        None
    }
}

fn fits(fault: &Fault, operation: Operation, uri: &Uri) -> bool {
    let part = query(uri, "partNumber").and_then(|number| number.parse().ok());
    fault.operation.is_none_or(|wanted| wanted == operation)
        && (fault.part.is_none() || fault.part == part)
        && key(uri).ends_with(&fault.key_suffix)
}

impl Chance {
    fn draw(&mut self, operation: Operation) -> Option<Kind> {
        // 53 bits are what a double holds.
        let share = (self.random.next() >> 11) as f64 / (1_u64 << 53) as f64;
        if share >= self.rate {
            return None;
        }
        let mut kinds = vec![
            Kind::SLOW_DOWN,
            Kind::UNAVAILABLE,
            Kind::INTERNAL_ERROR,
            Kind::ResetBefore,
            Kind::ResetAfter,
            Kind::Delay(Duration::from_millis(self.random.next() % 200)),
            Kind::DelayAnswer(Duration::from_millis(self.random.next() % 200)),
        ];
        if operation.sends_bytes() {
            kinds.push(Kind::TruncateRequest);
        }
        if operation.answers_bytes() {
            kinds.push(Kind::CutAnswer);
        }
        if operation == Operation::ListParts {
            kinds.push(Kind::HideParts { all: false });
            kinds.push(Kind::HideParts { all: true });
        }
        if operation == Operation::CompleteMultipartUpload {
            kinds.push(Kind::ErrorInOk { applied: true });
            kinds.push(Kind::ErrorInOk { applied: false });
        }
        let index = self.random.next() % kinds.len() as u64;
        Some(kinds.swap_remove(index as usize))
    }
}

/// SplitMix64: small, and good enough to choose faults by.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::{Fault, Kind, Operation, Plan};
    use hyper::Request;

    fn part(plan: &mut Plan, number: u16) -> Option<Kind> {
        let uri = format!("/b/k.part?partNumber={number}&uploadId=u");
        plan.choose(&Request::put(uri).body(()).unwrap())
    }

    #[test]
    fn a_script_is_used_up_by_the_requests_that_fit_it() {
        let mut plan = Plan::default();
        plan.script(vec![
            Fault::new(Operation::UploadPart, Kind::ResetBefore).part(2).times(2),
            Fault::new(Operation::UploadPart, Kind::SLOW_DOWN).after(2),
            Fault::new(Operation::UploadPart, Kind::ResetAfter).key_suffix(".info"),
            Fault::new(Operation::GetObject, Kind::ResetAfter).always(),
        ]);
        assert_eq!(part(&mut plan, 1), None);
        assert_eq!(part(&mut plan, 1), None);
        assert_eq!(part(&mut plan, 2), Some(Kind::ResetBefore));
        assert_eq!(part(&mut plan, 3), Some(Kind::SLOW_DOWN));
        assert_eq!(part(&mut plan, 2), Some(Kind::ResetBefore));
        assert_eq!(part(&mut plan, 2), None);
        for _ in 0..3 {
            assert_eq!(plan.choose(&Request::get("/b/k").body(()).unwrap()), Some(Kind::ResetAfter));
        }
        assert_eq!(plan.counts.requests(Operation::UploadPart), 6);
        assert_eq!(plan.counts.faulty(), 6);
        plan.calm();
        assert_eq!(plan.choose(&Request::get("/b/k").body(()).unwrap()), None);
    }

    #[test]
    fn a_seed_repeats_its_faults_at_about_its_rate() {
        let draw = |seed| {
            let mut plan = Plan::default();
            plan.random(seed, 0.25);
            (0..4000).map(|_| part(&mut plan, 1)).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        let faults = draw(7).iter().flatten().count();
        assert!((800..1200).contains(&faults), "{faults}");
    }

    #[test]
    fn the_rates_zero_and_one_are_never_and_always() {
        let mut plan = Plan::default();
        plan.random(1, 0.0);
        assert!((0..1000).all(|_| part(&mut plan, 1).is_none()));
        plan.random(1, 1.0);
        assert!((0..1000).all(|_| part(&mut plan, 1).is_some()));
    }
}
