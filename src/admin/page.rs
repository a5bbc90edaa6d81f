//! The dashboard's files, and the description of the endpoint. They are in the program: there is nothing to install.

use actix_web::HttpResponse;

use super::answer;

pub(super) fn page() -> HttpResponse {
    answer::text("text/html; charset=utf-8", include_str!("page/index.html"))
}

pub(super) fn script() -> HttpResponse {
    answer::text("text/javascript; charset=utf-8", include_str!("page/app.js"))
}

pub(super) fn style() -> HttpResponse {
    answer::text("text/css; charset=utf-8", include_str!("page/style.css"))
}

pub(super) fn description() -> HttpResponse {
    answer::text("application/json", include_str!("openapi.json"))
}
