//! The API's description: from the handlers, with what all of them have in common.

use utoipa::Modify;
use utoipa::OpenApi;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};

use super::schema;

/// What is said once.
#[derive(OpenApi)]
#[openapi(
    info(title = "Fama", description = "Real-time feeds and notifications. Ids are strings, times RFC 3339 in UTC, errors `{\"error\",\"message\",\"details\"}`. Unknown fields and parameters are refused.", license(name = "Apache-2.0")),
    components(schemas(schema::Error)),
    tags(
        (name = "posts", description = "Posts and reactions"),
        (name = "users", description = "Profiles"),
        (name = "graph", description = "Follows, blocks, mutes"),
        (name = "feed", description = "The feed"),
        (name = "presence", description = "Who is online"),
        (name = "channels", description = "The app's own channels"),
        (name = "notifications", description = "The inbox"),
        (name = "operations", description = "Health"),
    ),
    security(("token" = []), ("api_key" = [])),
    modifiers(&Schemes),
)]
pub struct Description;

struct Schemes;

impl Modify for Schemes {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_default();
        let token = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .description(Some("Claims `sub` and `exp`; `role` is `user`, `service` or `admin`"))
            .build();
        components.add_security_scheme("token", SecurityScheme::Http(token));
        let key = ApiKeyValue::with_description(
            "X-API-Key",
            "Of a service, which names the user it acts for as `Fama-User`",
        );
        components.add_security_scheme("api_key", SecurityScheme::ApiKey(ApiKey::Header(key)));
    }
}

/// What any call of the API may be answered with.
const COMMON: [(&str, &str); 9] = [
    ("400", "Malformed or unknown: JSON, field, parameter, type, id, limit, cursor"),
    ("401", "No token or key, or one that is not believed"),
    ("403", "Not the caller's to do, such as acting for others with `Fama-User` without being a service"),
    ("408", "The body took too long to arrive"),
    ("413", "The body is too large"),
    ("429", "Too many requests; `Retry-After` says when to try again"),
    ("500", "Something went wrong here"),
    ("503", "Not at the moment; `Retry-After` says when to try again"),
    ("504", "No answer in time; what was asked for may have happened"),
];

/// Adds what all calls under `/v1` have in common, and the error's shape to every error.
pub fn complete(openapi: &mut utoipa::openapi::OpenApi) {
    for (path, item) in &mut openapi.paths.paths {
        let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
        for operation in operations.into_iter().flatten() {
            if path.starts_with("/v1/") {
                add_common(operation);
            }
        }
    }
}

fn add_common(operation: &mut Operation) {
    for (status, description) in COMMON {
        let responses = &mut operation.responses.responses;
        responses.entry(status.to_owned()).or_insert_with(|| RefOr::T(error(description)));
    }
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response
            && response.description.is_empty()
        {
            reason(status).clone_into(&mut response.description);
        }
    }
}

fn error(description: &str) -> Response {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Error"))).build();
    ResponseBuilder::new().description(description).content("application/json", content).build()
}

fn reason(status: &str) -> &str {
    match status {
        "200" => "As asked",
        "204" => "Done",
        "404" => "Unknown, or not for the caller to see",
        "413" => "The body is too large",
        "415" => "Not JSON",
        "422" => "Well formed but out of range: see `details.fields`",
        _ => "See `error`",
    }
}
