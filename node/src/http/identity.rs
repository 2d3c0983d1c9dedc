//! Who asks, and what that one may see.

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::{FromRequest, HttpMessage, HttpRequest};

use crate::api::ApiError;
use crate::config::Role;

/// A signed-in person or program. The guard puts it into each request; handlers take it as an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    name: String,
    roles: Vec<Role>,
}

impl Identity {
    pub fn new(name: impl Into<String>, roles: Vec<Role>) -> Identity {
        Identity { name: name.into(), roles }
    }

    /// Whoever reaches the machine itself: the unix socket, or loopback where no users are configured.
    pub fn local() -> Identity {
        Identity::new("local", vec![Role::Admin])
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn roles(&self) -> &[Role] {
        &self.roles
    }

    fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    pub fn must_see_patients(&self) -> Result<(), ApiError> {
        self.must(&[Role::Care])
    }

    /// Entries of the ledger: an alert's evidence to the care team, traffic to the engineer.
    pub fn must_see_entries(&self) -> Result<(), ApiError> {
        self.must(&[Role::Care, Role::Engineer])
    }

    /// Feeds, metrics and the ledger.
    pub fn must_see_operations(&self) -> Result<(), ApiError> {
        self.must(&[Role::Engineer])
    }

    /// `POST /fhir` and `/hl7`.
    pub fn must_feed(&self) -> Result<(), ApiError> {
        self.must(&[Role::Feed, Role::Engineer])
    }

    pub fn must_administer(&self) -> Result<(), ApiError> {
        self.must(&[])
    }

    fn must(&self, any: &[Role]) -> Result<(), ApiError> {
        if self.has(Role::Admin) || any.iter().any(|role| self.has(*role)) {
            return Ok(());
        }
        let text = format!("{} does not have the role for this; ask the site's administrator", self.name);
        Err(ApiError::new(StatusCode::FORBIDDEN, "role-missing", text))
    }
}

/// One who may work on feeds and messages. What comes in a request is looked at after that.
#[derive(Clone, Debug)]
pub struct Operator(pub Identity);

impl FromRequest for Operator {
    type Error = ApiError;
    type Future = std::future::Ready<Result<Operator, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let identity = Identity::from_request(request, payload).into_inner();
        let operator = identity.and_then(|who| who.must_see_operations().map(|()| Operator(who)));
        std::future::ready(operator)
    }
}

impl FromRequest for Identity {
    type Error = ApiError;
    type Future = std::future::Ready<Result<Identity, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let identity = request.extensions().get::<Identity>().cloned();
        std::future::ready(identity.ok_or_else(|| {
            ApiError::new(
                StatusCode::UNAUTHORIZED,
                "sign-in-required",
                "sign in at /login or send a bearer token",
            )
        }))
    }
}
