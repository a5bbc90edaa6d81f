//! On whose behalf something is asked, and which uploads are theirs.

use std::sync::Arc;

use crate::Info;

/// Which uploads one who asks may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Their own.
    Own,
    /// Their own, and those that belong to nobody.
    OwnAndUnowned,
    /// All.
    All,
}

/// One who asks. What they create is theirs; what they may not use is, to them, not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimant {
    /// By what name their uploads are known to be theirs.
    pub subject: Arc<str>,
    /// Which uploads they may use.
    pub reach: Reach,
}

impl Claimant {
    pub(crate) fn may_use(&self, info: &Info) -> bool {
        self.reaches(info.own.as_ref().and_then(|own| own.owner.as_deref()))
    }

    /// Whether they may use what belongs to this owner.
    pub(crate) fn reaches(&self, owner: Option<&str>) -> bool {
        match (self.reach, owner) {
            (Reach::All, _) | (Reach::OwnAndUnowned, None) => true,
            (Reach::Own, None) => false,
            (Reach::Own | Reach::OwnAndUnowned, Some(owner)) => *owner == *self.subject,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reaches_as_far_as_is_said_and_no_further() {
        for (reach, own, unowned, others) in [
            (Reach::Own, true, false, false),
            (Reach::OwnAndUnowned, true, true, false),
            (Reach::All, true, true, true),
        ] {
            let claimant = Claimant { subject: "ann".into(), reach };
            let reached = [Some("ann"), None, Some("bob")].map(|owner| claimant.reaches(owner));
            assert_eq!(reached, [own, unowned, others], "{reach:?}");
            for near in ["", "an", "ann ", "Ann"] {
                assert_eq!(claimant.reaches(Some(near)), others, "{near:?} for {reach:?}");
            }
        }
    }
}
