//! Where the web server finds the endpoint of the feed: feeds come, go and are exchanged while the server goes on.

use std::collections::VecDeque;
use std::future::{Ready, ready};
use std::sync::{Arc, PoisonError, RwLock};

use actix_web::dev::Payload;
use actix_web::error::InternalError;
use actix_web::http::StatusCode;
use actix_web::{Error, FromRequest, HttpRequest, web};

use super::answer;
use super::endpoint::Endpoint;
use super::pending::Answer;
use crate::Format;

/// Cheap to clone; one for all of the web server's workers.
#[derive(Clone, Default)]
pub struct Door(Arc<RwLock<Behind>>);

/// Exchanged feeds whose answers are kept.
const FORMER_MAX: usize = 16;

#[derive(Default)]
struct Behind {
    endpoint: Option<Endpoint>,
    /// Newest first. Their clients may still ask for answers that were to come later.
    former: VecDeque<Endpoint>,
}

impl Behind {
    fn exchange(&mut self, endpoint: Option<Endpoint>) {
        self.former.retain(|former| !former.pending().is_empty());
        self.former.truncate(FORMER_MAX - 1);
        let former = std::mem::replace(&mut self.endpoint, endpoint);
        former.into_iter().for_each(|former| self.former.push_front(former));
    }
}

impl Door {
    pub fn open(&self, endpoint: Endpoint) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).exchange(Some(endpoint));
    }

    /// There is no such feed any more.
    pub fn close(&self) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).exchange(None);
    }

    fn endpoint(&self) -> Option<Endpoint> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).endpoint.clone()
    }

    pub(super) fn answer(&self, id: &str) -> Answer {
        let behind = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut answers = behind.endpoint.iter().chain(&behind.former).map(|at| at.pending().get(id));
        answers.find(|answer| !matches!(answer, Answer::Unknown)).unwrap_or(Answer::Unknown)
    }
}

/// The feed's as it now is.
impl FromRequest for Endpoint {
    type Error = Error;
    type Future = Ready<Result<Endpoint, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let found = request.app_data::<web::Data<Door>>().and_then(|door| door.endpoint());
        ready(found.ok_or_else(|| {
            let format = if request.path() == "/hl7" { Format::Hl7v2 } else { Format::FhirJson };
            let text = "this site has no http feed; ask whoever configures it";
            let response = answer::refuse(format, StatusCode::NOT_FOUND, "not-found", text);
            InternalError::from_response("no http feed", response).into()
        }))
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::Reply;
    use crate::fhir_rest::{Config, Lookup, Source};

    struct Nothing;

    #[async_trait]
    impl Lookup for Nothing {
        async fn metadata(&self) -> Reply {
            Reply::default()
        }

        async fn read(&self, _: &str, _: &str, _: Option<&str>) -> Reply {
            Reply::default()
        }
    }

    #[test]
    fn an_answer_that_was_to_come_later_outlives_many_exchanges() {
        let door = Door::default();
        let endpoint = || Source::new(Config::default(), Arc::new(Nothing)).1;
        let first = endpoint();
        let id = first.pending().begin().expect("room");
        door.open(first);
        for _ in 0..3 * FORMER_MAX {
            door.open(endpoint());
        }
        assert!(matches!(door.answer(&id), Answer::Unfinished));
        door.close();
        assert!(matches!(door.answer(&id), Answer::Unfinished));
        assert!(door.0.read().expect("whole").former.len() <= 2, "those without an answer are gone");
    }
}
