//! POST /reload, and what is told of a reading of the settings.

use std::net::SocketAddr;

use actix_web::HttpResponse;
use serde::Serialize;

use super::{
    Site,
    answer::{self, Problem},
};
use crate::{
    reload::{By, Failure},
    settings::{Changes, Problem as Refused, SettingsError},
};

/// What became of each key that differs.
#[derive(Debug, Serialize)]
pub(super) struct Reloaded {
    unchanged: bool,
    applied: Vec<String>,
    needs_restart: Vec<String>,
    overridden: Vec<Overridden>,
}

#[derive(Debug, Serialize)]
struct Overridden {
    key: String,
    by: String,
}

/// One mistake.
#[derive(Debug, Serialize)]
pub(super) struct Mistake {
    key: Option<String>,
    place: String,
    message: String,
}

#[derive(Serialize)]
struct Mistakes {
    error: &'static str,
    message: String,
    problems: Vec<Mistake>,
}

impl From<&Changes> for Reloaded {
    fn from(changes: &Changes) -> Self {
        let overridden = changes.overridden.iter();
        Self {
            unchanged: changes.is_empty(),
            applied: changes.applied.clone(),
            needs_restart: changes.needs_restart.clone(),
            overridden: overridden.map(|(key, by)| Overridden { key: key.clone(), by: by.to_string() }).collect(),
        }
    }
}

impl From<&Refused> for Mistake {
    fn from(problem: &Refused) -> Self {
        Self { key: problem.key.clone(), place: problem.origin.to_string(), message: problem.message.clone() }
    }
}

/// The mistakes in settings that were refused.
pub(super) fn mistakes(error: &SettingsError) -> Vec<Mistake> {
    error.problems.iter().map(Mistake::from).collect()
}

pub(super) async fn reload(site: &Site, peer: Option<SocketAddr>) -> Result<HttpResponse, Problem> {
    match site.reloader.reload(By::Request { peer }).await {
        Ok(changes) => Ok(answer::json(200, &Reloaded::from(&changes))),
        Err(Failure::Settings(error)) => {
            let problems = mistakes(&error);
            Ok(answer::json(422, &Mistakes { error: "invalid_settings", message: error.to_string(), problems }))
        }
        Err(failure @ (Failure::Unsettled | Failure::Unavailable)) => Err(Problem::unavailable(failure.to_string())),
    }
}
