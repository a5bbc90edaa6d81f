//! wharf: a resumable-upload (tus 1.0.0) web service in which every upload is owned by one actor.
//!
//! This crate speaks HTTP; `wharf-actors` owns the uploads and their store. [`service`] joins the two. The rooms, and
//! who may use whom, are listed in ARCHITECTURE.md and enforced by `tests/tidy.rs`.

mod admin;
mod auth;
#[cfg(feature = "doctor")]
pub mod doctor;
pub mod flags;
mod limits;
mod metrics;
pub mod notify;
mod page;
pub mod probe;
mod problem;
pub mod protocol;
pub mod reload;
mod routes;
pub mod server;
pub mod service;
pub mod settings;
pub mod telemetry;
