//! Histories, by hand.
